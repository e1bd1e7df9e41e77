"""The flows: plain synchronous functions, one file a flow, the same sandwich every time.

Read rows, decide, do the I/O between two transactions and never inside one, write down what came of it together with the events. What a
flow needs comes in a `Runtime`; `worker.bootstrap` makes it of settings, tests make it of what they like.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from worker.core.breaker import Breaker
from worker.core.events import Event
from worker.core.submission import Rules, Submission
from worker.engine import Engine, boottime
from worker.ledger import Ledger
from worker.sinks.base import Sink
from worker.upstreams.base import Connector
from worker.upstreams.vault import Vault


@dataclass(frozen=True, slots=True)
class Account:
    """One account as flows see it. `grants`: name -> the upstream user it acts as. `expires_after`: seconds, the default of `not_after`;
    `due_soon`: seconds before a due date at which it is told of, 0 for never.
    """

    name: str
    kind: str
    connector: Connector
    rules: Rules
    grants: Mapping[str, str]
    expires_after: float
    actions: frozenset[str]
    due_soon: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Known:
    """An account's breaker as this process read it. `ahead`: the ledger's clock against the monotonic one; `until`: believed so long;
    `mine`: the probe that this process took last.
    """

    breaker: Breaker
    ahead: float
    until: float
    mine: str | None = None

    def now(self) -> float:
        """The ledger's time."""
        return time.monotonic() + self.ahead


class Owed:
    """Requests that were made beyond what was paid for, by account and grant. Counted on the engine's thread, paid on another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed: Counter[tuple[str, str]] = Counter()

    def add(self, account: str, grant: str) -> None:
        """One more."""
        with self._lock:
            self._owed[account, grant] += 1

    def take(self, account: str) -> dict[str, int]:
        """Grant -> requests, which are paid now."""
        if not self._owed:
            return {}
        with self._lock:
            return {grant: self._owed.pop((name, grant)) for name, grant in list(self._owed) if name == account}


class Busy:
    """Which shards are at work in this process. A ring for one of them goes home, and is not forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung: dict[tuple[str, str], bool] = {}

    def enter(self, verb: str, shard: str) -> bool:
        """True for the one that works; a ring that comes meanwhile gets False and goes home."""
        with self._lock:
            mine = (verb, shard) not in self._rung
            self._rung[verb, shard] = not mine
            return mine

    def leave(self, verb: str, shard: str) -> bool:
        """The work is done; returns whether somebody rang meanwhile: for something younger, perhaps, than our last look at the ledger."""
        with self._lock:
            return self._rung.pop((verb, shard), False)


def _no_ring(verb: str, shard: str) -> None:
    """Nobody to ring for: the tick will find what is due."""


def _no_notice(submission: Submission) -> None:
    """Nobody to tell but the events."""


def _no_alarm(event: Event) -> None:
    """As above, for what is wrong with a grant or an API version."""


@dataclass(slots=True)
class Runtime:
    """What flows work with. `ring`: ask for another turn of a verb and shard; `notice`: a submission came to an end, for logs and alarms;
    `working`: around each turn, for the liveness probe; `turn`: seconds a flow carries on before it rings again; `room`: exchanges in
    flight for one shard. `hour`: in which it was last looked for sunsets, `minute`: for due dates. `vault`: the access tokens of grants
    whose tokens live in the ledger, by the engine's clock; the connectors' credentials show them to requests. `outside`: for each sink
    that is called over HTTP an engine of its own, which knows what addresses it may call; one that stalls has nobody's connections but
    its own. `namespace`: what our own events have in their source. `known`: breakers as they were last read, by account; `owed`: requests
    that are to be paid for.
    """

    ledger: Ledger
    engine: Engine
    accounts: Mapping[str, Account]
    sinks: Mapping[str, Sink]
    ring: Callable[[str, str], None] = _no_ring
    notice: Callable[[Submission], None] = _no_notice
    alarm: Callable[[Event], None] = _no_alarm
    stopping: threading.Event = field(default_factory=threading.Event)
    busy: Busy = field(default_factory=Busy)
    working: Callable[[], AbstractContextManager[None]] = nullcontext
    dice: Callable[[], float] = random.random
    on_close: list[Callable[[], None]] = field(default_factory=list)
    turn: float = 3.0
    room: int = 128
    hour: int = 0
    minute: int = 0
    outside: Mapping[str, Engine] = field(default_factory=dict)
    namespace: str = "approvals"
    vault: Vault = field(default_factory=lambda: Vault(boottime))
    known: dict[str, Known] = field(default_factory=dict)
    owed: Owed = field(default_factory=Owed)
