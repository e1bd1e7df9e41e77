"""What somebody decided, and which events were handled."""

from django.db import models
from django.utils import timezone


class Decision(models.Model):
    """One decision about one step. The row is the truth of this program: it is there before anything is submitted."""

    order = models.CharField(max_length=40)
    step = models.PositiveIntegerField()
    task = models.CharField(max_length=255)
    comment = models.TextField(blank=True)
    made_at = models.DateTimeField(default=timezone.now)
    submitted_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=20, default="decided")

    class Meta:
        """One decision a step: the key below is made of these two."""

        constraints = [models.UniqueConstraint(fields=["order", "step"], name="one_decision_a_step")]

    def __str__(self) -> str:
        return f"{self.key} {self.state}"

    @property
    def key(self) -> str:
        """The same whenever this decision is submitted, so that it takes effect once."""
        return f"order-{self.order}/{self.step}"


class Seen(models.Model):
    """An event that was handled: events come at least once."""

    event = models.CharField(max_length=64, primary_key=True)

    def __str__(self) -> str:
        return self.event
