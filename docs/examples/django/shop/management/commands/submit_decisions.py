"""Submit what was left behind. For a timer: every minute is plenty."""

from typing import Any

from django.core.management.base import BaseCommand

from shop.approvals import submit
from shop.models import Decision


class Command(BaseCommand):
    """`manage.py submit_decisions`."""

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Each under the key it always had, so that one which did arrive is no second one."""
        waiting = list(Decision.objects.filter(submitted_at=None).order_by("made_at"))
        done = sum(submit(decision) for decision in waiting)
        self.stdout.write(f"{done} of {len(waiting)} submitted")
