"""Holds events against the catalogue: PyPI `jsonschema` on the published schemas, closed, so that a field nobody wrote down is a fault; and
PyPI `cloudevents`, which has to read each from the body that leaves.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from jsonschema import Draft202012Validator, FormatChecker

from worker.catalogue import schema
from worker.core.times import parse
from worker.ledger import Ledger
from worker.sinks.webhook import CONTENT_TYPE

FORMATS = FormatChecker(["date"])
FORMATS.checks("date-time", ValueError)(lambda value: not isinstance(value, str) or bool(parse(value)))


@cache
def validator(type_: str) -> Draft202012Validator:
    """What judges events of a type. Formats (times) are judged too."""
    made = schema(type_, closed=True)
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made, format_checker=FORMATS)


def faults(event: Mapping[str, Any]) -> list[str]:
    """What the catalogue has against an event."""
    found = validator(event["type"]).iter_errors(dict(event))
    return [f"{event['type']} {'/'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in found]


def misread(event: Mapping[str, Any]) -> list[str]:
    """What the SDK reads otherwise than it is written. It makes a datetime of the time."""
    read = from_http_event(HTTPMessage({"content-type": CONTENT_TYPE}, orjson.dumps(event)))
    other = [name for name, value in read.get_attributes().items() if name != "time" and value != event.get(name)]
    return [f"{event['type']}: the SDK reads another {name}" for name in [*other, *["data"] * (read.get_data() != event["data"])]]


def hold(ledger: Ledger) -> None:
    """Every event that was written to *ledger* is as the catalogue says, and can be read."""
    wrong = [fault for _, event in ledger.queries.events(limit=100_000) for fault in faults(event) + misread(event)]
    assert not wrong, wrong[:5]
