"""`POST /orders/ORDER/approve`. Whoever may do so is your program's to say: put it behind your login."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from shop.approvals import decide


@require_POST
def approve(request: HttpRequest, order: str) -> JsonResponse:
    """Approve a step of the order's task."""
    form = request.POST
    decision = decide(order, form["task"], int(form["step"]), form.get("comment", ""))
    decision.refresh_from_db()
    return JsonResponse({"key": decision.key, "state": decision.state, "submitted": decision.submitted_at is not None}, status=202)
