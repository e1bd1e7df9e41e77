"""Connectors driven by hand: no network, no engine."""

from typing import Any

import httpx

from worker.core import times
from worker.upstreams.base import Flow

NOW = {"date": "Sun, 22 Nov 2026 09:00:00 GMT"}
AT = times.parse("2026-11-22T09:00:00Z")


def drive(flow: Flow[Any], *answers: httpx.Response) -> tuple[Any, list[httpx.Request]]:
    """The outcome of *flow* when it gets *answers*, and the requests it made: exactly as many."""
    requests = []
    left = list(answers)
    try:
        request = next(flow)
        while True:
            requests.append(request)
            request = flow.send(left.pop(0))
    except StopIteration as end:
        assert not left
        return end.value, requests


def ok(value: Any, **headers: str) -> httpx.Response:
    """A success, at AT by the upstream's clock."""
    return httpx.Response(200, json=value, headers=NOW | headers)
