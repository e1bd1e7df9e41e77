"""Listen to the approval worker: a process of its own, as many as you like."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from shop.approvals import approvals, handle


class Command(BaseCommand):
    """`manage.py listen`."""

    def add_arguments(self, parser: CommandParser) -> None:
        """For a run that ends."""
        parser.add_argument("--idle", type=float, help="End after so many seconds without an event.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """An event is acknowledged when the loop goes on to the next one: a crash in the middle brings it again."""
        patterns = [f"*.{settings.APPROVALS_ACCOUNT}.{kind}" for kind in ("submission.*", "step.completed")]
        with approvals.events(*patterns, queue=f"{settings.APPROVALS_NAMESPACE}.shop", idle=options["idle"]) as events:
            for event in events:
                new = handle(event)
                self.stdout.write(f"{event['type']} {'handled' if new else 'was handled before'}")
