"""The upstreams we can speak to: one file each, and one line in this table.

A connector turns an order into requests and answers into outcomes; it does no input or output (`base`).
"""

from collections.abc import Callable
from typing import Final

from worker.upstreams.autodesk import Autodesk
from worker.upstreams.base import Connector
from worker.upstreams.workiva import Workiva

KNOWN: Final[dict[str, Callable[..., Connector]]] = {
    "autodesk": Autodesk,
    "workiva": Workiva,
}
"""An account's `kind` -> what makes its connector."""
