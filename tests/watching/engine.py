"""The interface of `worker.engine`, on the caller's own thread: a request is a call of the sandbox, its answer is there at once."""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Self

import httpx

from tests.faults.simulated import answered, asked
from worker.core.outcomes import Fact
from worker.engine import Errand
from worker.sandbox.exchange import Request, Response, Upstream

Shown = Callable[[str, Request, Response], None]
"""(operation, request, answer): what a look was shown."""


class Direct:
    """One process's engine. `requests`: of each operation, how many."""

    def __init__(self, upstream: Upstream, clock: Callable[[], float], shown: Shown) -> None:
        self.clock = clock
        self.requests: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self._upstream, self._shown = upstream, shown
        self._tokens: dict[str, tuple[str, float]] = {}

    def bag(self) -> "Bag":
        return Bag(self)

    def carry(self, errand: Errand[Any]) -> Any:
        """One errand to its end."""
        flow = errand.flow
        try:
            request = next(flow)
            while True:
                token = self._token(errand.credentials)
                if isinstance(token, Fact):
                    return errand.unsent(token)
                request.headers["authorization"] = f"Bearer {token}"
                request = flow.send(self._exchange(request))
        except StopIteration as end:
            return end.value
        finally:
            flow.close()

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        arrived = asked(request)
        operation = self._upstream.route(arrived)
        self.requests[operation] += 1
        answer = self._upstream(arrived)
        self.answers[answer.status] += 1
        if answer.status == 200:
            self._shown(operation, arrived, answer)
        return answered(answer, request)

    def _token(self, credentials: Any) -> str | Fact:
        """The grant's, fetched anew when the old one ends."""
        token, until = self._tokens.get(credentials.name, ("", 0.0))
        if self.clock() < until:
            return token
        flow = credentials.fetch()
        try:
            flow.send(self._exchange(next(flow)))
        except StopIteration as end:
            if isinstance(end.value, Fact):
                return end.value
            self._tokens[credentials.name] = end.value.value, self.clock() + 0.8 * end.value.lifetime
        return self._tokens[credentials.name][0]


class Bag:
    """See `worker.engine.Bag`."""

    def __init__(self, engine: Direct) -> None:
        self._engine = engine
        self._ready: list[tuple[Hashable, Any]] = []

    def __len__(self) -> int:
        return len(self._ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ready = []

    def room(self, most: int) -> int:
        return most - len(self)

    def put(self, tag: Hashable, errand: Errand[Any]) -> None:
        self._ready.append((tag, self._engine.carry(errand)))

    def take(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        wave, self._ready = self._ready, []
        return wave
