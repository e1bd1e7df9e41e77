"""What is tried of each upstream: one line each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.verify.autodesk.begin import prepare as prepare_autodesk
from worker.verify.autodesk.table import CHECKS as OF_AUTODESK
from worker.verify.autodesk.trial import Trial as AutodeskTrial
from worker.verify.verdict import Verdict
from worker.verify.workiva.begin import prepare as prepare_workiva
from worker.verify.workiva.table import CHECKS as OF_WORKIVA
from worker.verify.workiva.trial import Trial as WorkivaTrial

Trial = WorkivaTrial | AutodeskTrial
"""One run."""


@dataclass(frozen=True, slots=True)
class Tried:
    """`prepare`: raises CannotBegin where no check can be made; `checks`: by the number of the assumption, in the order of the run."""

    prepare: Callable[[Any], None]
    checks: Mapping[int, Callable[[Any], Verdict]]


KNOWN: Final[Mapping[str, Tried]] = {
    "autodesk": Tried(prepare_autodesk, OF_AUTODESK),
    "workiva": Tried(prepare_workiva, OF_WORKIVA),
}
"""By the kind of the account."""
