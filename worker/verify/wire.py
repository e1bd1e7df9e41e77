"""Requests out, as one of the account's grants: through the engine and the connector's credentials, but with bodies of our own making."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, TypeVar

import httpx

from worker.core.outcomes import Fact
from worker.core.renewal import Answer, Lost, Unsent
from worker.engine import Engine, Errand
from worker.upstreams.autodesk import Autodesk
from worker.upstreams.base import Flow
from worker.upstreams.workiva import Workiva

T = TypeVar("T")

LARGE_DEADLINE: Final = 120.0
"""Seconds for a body of ten megabytes, or one that is sent slowly."""


def _nothing(grant: str, requests: int) -> None:
    """Nobody counts, and the engine sees to the tokens of this grant itself."""


class Wire:
    """The way to one account's upstream. `wait` lets seconds pass; `ready` sees to it that a grant has a token, and that so many requests
    as it are paid for, before they leave.
    """

    def __init__(
        self,
        engine: Engine,
        connector: Workiva | Autodesk,
        deadline: float,
        wait: Callable[[float], None] = time.sleep,
        ready: Callable[[str, int], None] = _nothing,
    ) -> None:
        self._engine = engine
        self.connector = connector
        self._deadline = deadline
        self.wait = wait
        self._ready = ready
        self.base = connector.base_url.rstrip("/")

    def send(self, request: httpx.Request, grant: str | None, *, patient: bool = False) -> httpx.Response | Fact:
        """One exchange. A fact: there is no answer, or no token."""
        if grant is not None:
            self._ready(grant, 1)
        return self._asked(_once(request), grant, LARGE_DEADLINE if patient else self._deadline)

    def burst(self, requests: Iterable[httpx.Request], grant: str) -> list[httpx.Response | Fact]:
        """Many at once."""
        answers: list[httpx.Response | Fact] = []
        together = list(requests)
        self._ready(grant, len(together))
        with self._engine.bag() as bag:
            for request in together:
                bag.put(None, self._errand(_once(request), grant, self._deadline))
            while len(bag):
                answers += [answer for _, answer in bag.take()]
        return answers

    def slowly(self, request: httpx.Request, grant: str, seconds: float) -> httpx.Response | Fact:
        """One exchange whose last byte leaves so many seconds after its head. Not through the engine, which sends a body in one piece."""
        self._ready(grant, 1)
        token = self._asked(self.connector.credentials(grant).fetch(), None, self._deadline)
        if isinstance(token, Fact):
            return token
        body = request.content

        def parts() -> Iterator[bytes]:
            yield body[:-1]
            self.wait(seconds)
            yield body[-1:]

        headers = {**request.headers, "Authorization": f"Bearer {token.value}", "Content-Length": str(len(body))}
        try:
            with httpx.Client(trust_env=False, timeout=LARGE_DEADLINE) as client:
                return client.request(request.method, request.url, headers=headers, content=parts())
        except httpx.HTTPError:
            return Fact("answer lost")

    def renew(self, grant: str, refresh: str) -> Answer:
        """Use a refresh token of that grant: once, and nobody repeats it."""
        renewal = self.connector.renewal(grant)
        assert renewal is not None
        with self._engine.bag() as bag:
            bag.put(None, Errand(renewal.ask(refresh), None, self._deadline, lost=Lost, unsent=Unsent))
            answer: Answer = bag.take()[0][1]
        return answer

    def _errand(self, flow: Flow[T], grant: str | None, deadline: float) -> Errand[T | Fact]:
        credentials = None if grant is None else self.connector.credentials(grant)
        return Errand(_wider(flow), credentials, deadline, lost=_as_it_is, unsent=_as_it_is)

    def _asked(self, flow: Flow[T], grant: str | None, deadline: float) -> T | Fact:
        with self._engine.bag() as bag:
            bag.put(None, self._errand(flow, grant, deadline))
            answer: T | Fact = bag.take()[0][1]
            return answer


def _once(request: httpx.Request) -> Flow[httpx.Response]:
    answer = yield request
    return answer


def _wider(flow: Flow[T]) -> Generator[httpx.Request, httpx.Response, T | Fact]:
    return (yield from flow)


def _as_it_is(fact: Fact) -> Fact:
    return fact
