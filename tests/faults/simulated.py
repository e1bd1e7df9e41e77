"""A simulated engine: the interface of `worker.engine`, in virtual time, on one thread, against the sandbox as a function.

It keeps the engine's promises with the product's own predicate: no body leaves past `leave_by` or the deadline, `unsent` only while no byte
of the body has left, every errand answered once, one token for a grant. Between any two of its steps the world may do something else:
people act, time passes, another worker runs, this one dies.
"""

from collections.abc import Hashable
from typing import Any, Self

import httpx

from tests.faults.scene import Look
from worker.core.gate import may_leave
from worker.core.outcomes import Fact
from worker.engine import Errand
from worker.sandbox.exchange import Request
from worker.sandbox.faults import Fault


class Broken(Exception):
    """The exchange came to no answer."""


class Simulated:
    """One process's engine."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.clock = world.boot
        self.tokens: dict[str, str] = {}

    def bag(self) -> "Bag":
        return Bag(self)

    def close(self) -> None:
        """Nothing is open."""


class Bag:
    """See `worker.engine.Bag`."""

    def __init__(self, engine: Simulated) -> None:
        self.engine, self.world = engine, engine.world
        self.waiting: list[tuple[Any, Errand[Any], float]] = []
        self.ready: list[tuple[Any, Any]] = []
        self.looks: dict[str, Look] = {}

    def __len__(self) -> int:
        return len(self.waiting) + len(self.ready)

    def room(self, most: int) -> int:
        return most - len(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for _, errand, _ in self.waiting:
            errand.flow.close()
        self.waiting, self.ready = [], []

    def put(self, tag: Hashable, errand: Errand[Any]) -> None:
        self.waiting.append((tag, errand, self.engine.clock() + errand.deadline))
        if self.world.tape.happens(self.world.options.eager):  # the loop's thread is quicker than the flow's
            self.carry()

    def take(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        if not len(self):
            return []
        tape = self.world.tape
        self.world.moment()
        while self.waiting and (not self.ready or tape.happens(0.4)):
            self.carry()
        if timeout is not None and tape.happens(0.06):  # nothing in time
            self.world.pass_time(timeout)
            return []
        cut = len(self.ready) if not tape.happens(0.2) else 1
        wave, self.ready = self.ready[:cut], self.ready[cut:]
        return wave

    def carry(self) -> None:
        """One errand to its end."""
        at = 0 if len(self.waiting) == 1 else self.world.tape.byte() % len(self.waiting)
        tag, errand, until = self.waiting.pop(at)
        self.ready.append((tag, _Exchange(self, tag, errand, until).outcome()))


class _Exchange:
    """One errand under way."""

    def __init__(self, bag: Bag, tag: Any, errand: Errand[Any], until: float) -> None:
        self.bag, self.tag, self.errand, self.until = bag, tag, errand, until
        self.world, self.engine = bag.world, bag.engine
        self.handed = False
        self.look: Look | None = None
        self.behind = float("inf")

    def outcome(self) -> Any:
        flow = self.errand.flow
        try:
            request = next(flow)
            while True:
                request = flow.send(self.exchange(request))
        except StopIteration as end:
            return end.value
        except Broken as broken:
            fact = Fact(str(broken))
            return self.errand.lost(fact) if self.handed else self.errand.unsent(fact)
        finally:
            flow.close()

    def exchange(self, request: httpx.Request) -> httpx.Response:
        credentials = self.errand.credentials
        token = self.token(credentials) if credentials else None
        if token:
            request.headers["authorization"] = f"Bearer {token}"
        if request.method == "POST":
            self.gate(request)
        elif self.engine.clock() > self.until:
            raise Broken("deadline")
        answer: httpx.Response = self.world.exchange(self, request)
        if answer.status_code == 401 and credentials and self.engine.tokens.get(credentials.name) == token:
            del self.engine.tokens[credentials.name]
        return answer

    def gate(self, request: httpx.Request) -> None:
        """The body leaves, or it does not (A11)."""
        self.world.moment()
        now = self.engine.clock()
        if not may_leave(now, self.until):
            raise Broken("deadline")
        if self.errand.leave_by is not None and not may_leave(now, self.errand.leave_by):
            self.world.say(f"{self.world.text(request)}: the gate is closed")
            raise Broken("gate closed")
        self.handed = True
        self.world.moment(bounded=True)  # a pause between the gate and the write: below slack

    def token(self, credentials: Any) -> str:
        """The grant's, fetched when there is none."""
        if credentials.name not in self.engine.tokens:
            flow = credentials.fetch()
            request = next(flow)
            if self.world.tape.happens(self.world.options.faults / 8):
                self.world.script.add(Fault("token", "status", status=503))
            delivery = self.world.upstream(asked(request))
            self.world.script.clear()
            self.world.pass_time(0.02)
            try:
                flow.send(answered(delivery.answer(), request))
            except StopIteration as end:
                if isinstance(end.value, Fact):
                    self.world.unread.add(self.world.asker(self.tag) or "")
                    raise Broken("token") from None
                self.engine.tokens[credentials.name] = end.value.value
        return self.engine.tokens[credentials.name]


def asked(request: httpx.Request) -> Request:
    """As the sandbox reads it."""
    return Request.of(request.method, str(request.url), request.headers.items(), request.content)


def answered(response: Any, request: httpx.Request) -> httpx.Response:
    """As a connector reads it."""
    return httpx.Response(response.status, headers=dict(response.headers), content=response.body, request=request)
