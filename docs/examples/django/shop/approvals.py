"""The seam to the approval worker: decisions out, events in."""

import logging

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from shop.models import Decision, Seen
from worker.client import Approvals, ClientError  # or your copy of that one file

log = logging.getLogger(__name__)
approvals = Approvals(settings.APPROVALS_BROKER, settings.APPROVALS_NAMESPACE, timeout=5)


def decide(order: str, task: str, step: int, comment: str) -> Decision:
    """Write the decision down, and submit it once that is committed. A transaction that is rolled back submits nothing."""
    with transaction.atomic():
        given = {"task": task, "comment": comment}
        decision, _ = Decision.objects.get_or_create(order=order, step=step, defaults=given)
        transaction.on_commit(lambda: submit(decision))
    return decision


def submit(decision: Decision) -> bool:
    """Submit *decision*, for the first time or again: same key, same content, one effect.

    A process can end between the commit and this call, and a broker can be away. `submit_decisions` finds what was left behind.
    """
    try:
        approvals.submit(
            key=decision.key,
            account=settings.APPROVALS_ACCOUNT,
            task=decision.task,
            action="approve",
            step=decision.step,
            comment=decision.comment or None,
            issued_at=decision.made_at,
            labels={"order": decision.order},
        )
    except ClientError as exc:
        log.warning("%s is not submitted yet: %s", decision.key, exc)
        return False
    Decision.objects.filter(pk=decision.pk).update(submitted_at=timezone.now())
    return True


def handle(event: dict) -> bool:
    """Take in an event; whether it was new. Its id and what it changes are one transaction, so that a double changes nothing."""
    with transaction.atomic():
        _, new = Seen.objects.get_or_create(event=event["id"])
        if new and event["type"].startswith("submission."):
            key, state = event["data"]["submission"]["key"], event["type"].removeprefix("submission.")
            order, _, step = key.removeprefix("order-").rpartition("/")
            Decision.objects.filter(order=order, step=step).update(state=state)
    return new
