"""Commands in: messages of the broker become submissions of the ledger, a batch a transaction (PROTOCOL D).

    collect -> parse -> accept (commits) -> reject (commits) -> copies to the dead, confirmed -> acknowledge

The failures. A message acknowledged before the commit is lost with the process; one bad message in a batch holds back or takes down the
others; a poison message comes back for ever; and a ledger that is away for a minute makes every message look like poison.

The guarantees. A message is acknowledged after all that it came to has been committed or confirmed, so whatever breaks on the way, it comes
again, and accepting it again changes nothing (A16). What cannot be accepted lies among the dead, whole, with the reason in a header.
An error of the data bisects the batch until the one that carries it is alone. An error of the connection never marks poison: the batch is
kept, and tried again.

The limits. A crash between the copy and the acknowledgement leaves two copies among the dead. Whatever kills the process each time is put
among the dead by the broker itself after a number of deliveries, without an event. An error of our own that no list names as transient is
taken for one of the data.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import TypeVar

import structlog

from worker import settings, telemetry
from worker.broker import HEARTBEAT, VISIBILITY, BrokerLost, Fate, Incoming, Link, Names, Outgoing, Publisher, connect
from worker.core.command import Command
from worker.core.events import command_rejected
from worker.core.times import iso
from worker.errors import LedgerDown, SettingsError
from worker.flows import Runtime
from worker.flows.accept import Accepted, Conflict, Existing, Outcome, Rejected, accept
from worker.health import Heart, place
from worker.wire import REASON, REJECTED_AT, REQUEUED, Door, Refused, RejectedMessage, parse, rejected, safe

_R = TypeVar("_R")
Accept = Callable[[Sequence[Command]], Sequence[Outcome]]
Reject = Callable[[Sequence[RejectedMessage]], None]
Wait = Callable[[threading.Event, float], bool]

IDLE = 0.01
"""Seconds without a new message after which a batch is as full as it gets."""

LINGER = 0.1
"""Seconds that the first message of a batch waits for others at most: a trickle must not hold it back."""

LONGEST_WAIT = 5.0
"""Seconds between two tries while the ledger or the broker is away. Far below the heartbeat, which is kept up in between."""

_ROUTED = frozenset({"CC", "BCC"})
"""Headers that make RabbitMQ send copies elsewhere."""

_OURS = frozenset(
    {REASON, REJECTED_AT, "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason", "x-delivery-count"}
)
"""Headers that tell of a death. They go when a person puts the message back."""

log = structlog.get_logger("worker.intake")


class _Stopping(Exception):
    """Asked to stop while waiting: nothing is acknowledged, and the batch comes again."""


class Intake:
    """Takes the commands of a namespace. Of one thread.

    *accept* and *reject* commit what they are given; *transient*: what they raise when the ledger is away. *wait* waits for so many seconds
    or for the event, and says whether the event is set.
    """

    def __init__(
        self,
        url: str,
        door: Door,
        accept: Accept,
        reject: Reject,
        *,
        transient: tuple[type[Exception], ...] = (LedgerDown,),
        batch: int = 200,
        clock: Callable[[], float] = time.time,
        wait: Wait = threading.Event.wait,
        patience: float = 10.0,
        visibility: float = VISIBILITY,
    ) -> None:
        self._url, self._door, self._names = url, door, Names(door.namespace)
        self._accept, self._reject, self._transient = accept, reject, transient
        self._batch, self._clock, self._wait = batch, clock, wait
        self._patience, self._visibility = patience, visibility
        self._stop = threading.Event()
        self._link: Link | None = None
        self._waiting: deque[Incoming] = deque()
        self._dead = Publisher(url, deadline=patience, declares=[self._names.dead_queue()])
        self.progress = monotonic()
        """When the loop last turned: what a liveness probe asks for."""

    def open(self) -> None:
        """Connect, declare the queues, and begin to consume. Raises `BrokerLost`."""
        self._waiting.clear()
        link = self._link = connect(self._url, patience=self._patience, heartbeat=HEARTBEAT, visibility=self._visibility)
        link.declare(self._names.dead_queue(), self._names.commands_queue())
        # Not more than one batch ahead: what we hold comes back, and counts as delivered once more, whenever we are restarted.
        link.consume(self._names.commands, self._batch, self._waiting.append)

    def close(self) -> None:
        """Leave. What was not acknowledged goes back to the queue."""
        if self._link:
            self._link.close()
            self._link = None
        self._waiting.clear()
        self._dead.close()

    def run_once(self, timeout: float) -> int:
        """Handle one batch, waiting *timeout* seconds for its first message; how many messages it had. Raises `BrokerLost`."""
        if self._link is None:
            self.open()
        batch = self._collect(timeout)
        if batch:
            self._handle(batch)
        self.progress = monotonic()
        return len(batch)

    def run(self, stop: threading.Event) -> None:
        """Take commands until *stop*, through every loss of the broker. The batch in hand is finished first."""
        self._stop = stop
        tries = 0
        try:
            while not stop.is_set():
                try:
                    self.run_once(1.0)
                    tries = 0
                except BrokerLost as exc:
                    log.warning("intake.disconnected", reason=str(exc), tries=tries)
                    if self._link:
                        self._link.drop()
                        self._link = None
                    self.progress = monotonic()
                    self._wait(stop, _pause(tries))
                    tries += 1
        except _Stopping:
            pass
        finally:
            self.close()

    def _collect(self, timeout: float) -> list[Incoming]:
        link = self._here()
        link.beat()
        if not self._waiting and not link.drain(timeout):
            return []
        end = monotonic() + LINGER
        while len(self._waiting) < self._batch and monotonic() < end and link.drain(IDLE):
            pass
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch))]

    def _handle(self, batch: Sequence[Incoming]) -> None:
        now = self._clock()
        parsed = [parse(message, self._door, now) for message in batch]
        outcomes = iter(self._accepted([p for p in parsed if isinstance(p, Command)]))
        refused = [
            (message, why)
            for message, found in zip(batch, parsed, strict=True)
            if (why := found if isinstance(found, Refused) else _refusal(next(outcomes), found))
        ]
        if refused:
            told = [rejected(message, why) for message, why in refused]
            if isinstance(wrong := self._patiently(lambda: self._reject(told)), Exception):
                raise wrong
            self._bury([_corpse(self._names.dead, message, why, now) for message, why in refused])
        self._here().ack(batch)
        log.info("intake.batch", messages=len(batch), refused=len(refused))
        for one in told if refused else ():
            log.warning("command.rejected", key=one.key, message_id=one.message_id, reason=one.reason)

    def _accepted(self, commands: Sequence[Command]) -> list[Outcome]:
        """What became of each. The halves of a batch are accepted in order, so of two commands with one key the first still wins."""
        if not commands:
            return []
        done = self._patiently(lambda: self._accept(commands))
        if not isinstance(done, Exception):
            return list(done)
        if len(commands) == 1:
            log.error("intake.poison", key=commands[0].key, exc_info=done)
            telemetry.report(done)
            return [Rejected(f"the ledger cannot take it: {type(done).__name__}: {_words(done)}")]
        half = len(commands) // 2
        return self._accepted(commands[:half]) + self._accepted(commands[half:])

    def _patiently(self, commit: Callable[[], _R]) -> _R | Exception:
        """*commit*, again and again while the ledger is away; any other error of it is given back, so that none is taken for the broker's.

        The broker sees that we live meanwhile.
        """
        tries = 0
        while True:
            try:
                return commit()
            except self._transient as exc:
                log.warning("intake.ledger_away", error=type(exc).__name__, tries=tries)
            except Exception as exc:  # noqa: BLE001 - the caller says what it means: an error of the data, or a bug
                return exc
            if self._wait(self._stop, _pause(tries)):
                raise _Stopping
            tries += 1
            link = self._here()
            while link.drain(0):
                pass
            link.beat()
            self.progress = monotonic()

    def _bury(self, corpses: Sequence[Outgoing]) -> None:
        fates = self._dead.publish(corpses)
        if any(fate is not Fate.CONFIRMED for fate in fates):
            raise BrokerLost(f"no confirm for the copies in {self._names.dead}: {self._dead.trouble or 'the queue is not there'}")

    def _here(self) -> Link:
        if self._link is None:
            raise BrokerLost("not connected")
        return self._link


def _pause(tries: int) -> float:
    return float(min(0.25 * 2 ** min(tries, 10), LONGEST_WAIT))


def _words(exc: Exception) -> str:
    """What *exc* says, without values: the database's own first line. Below it stands the row, around it the statement's parameters."""
    told = getattr(exc, "orig", None) or exc
    return safe(str(told).partition("\n")[0].encode("utf-8", "replace"), 300)


def _refusal(outcome: Outcome, command: Command) -> Refused | None:
    match outcome:
        case Accepted() | Existing():
            return None
        case Conflict():
            return Refused(outcome.reason, outcome.key)
        case Rejected():
            return Refused(outcome.reason, command.key)


def _corpse(queue: str, message: Incoming, why: Refused, now: float) -> Outgoing:
    headers = {name: value for name, value in message.headers.items() if name not in _ROUTED}
    return Outgoing(queue, message.body, headers={**headers, REASON: why.reason, REJECTED_AT: iso(now)}, properties=message.kept())


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A command that could not be accepted, as `approvals dead list` shows it. `rejected_at`: empty where the broker gave it up."""

    reason: str
    rejected_at: str
    message_id: str | None
    content_type: str
    size: int
    excerpt: str


def dead_list(url: str, namespace: str, limit: int = 100) -> list[DeadMessage]:
    """The oldest of the dead. All are put back. Raises `BrokerLost`."""
    link, names = connect(url), Names(namespace)
    try:
        link.declare(names.dead_queue())
        return [_dead(message) for message in islice(iter(lambda: link.get(names.dead), None), limit)]
    finally:
        link.close()


def dead_requeue(url: str, namespace: str, wanted: Callable[[DeadMessage], bool] = lambda _: True, *, limit: int = 10_000) -> int:
    """Give the *wanted* among the oldest *limit* back to the commands, each confirmed before it is taken from here; how many were.

    They are all in hand before the first is given back, so that one which is refused again meanwhile is not given back a second time.
    Raises `BrokerLost`.
    """
    names, done = Names(namespace), 0
    link = connect(url)
    publisher = Publisher(url, declares=[names.dead_queue(), names.commands_queue()])
    try:
        link.declare(names.dead_queue())
        found = list(islice(iter(lambda: link.get(names.dead), None), limit))
        chosen = [message for message in found if wanted(_dead(message))]
        for start in range(0, len(chosen), 200):
            part = chosen[start : start + 200]
            fates = publisher.publish([_alive(names.commands, message) for message in part])
            there = [message for message, fate in zip(part, fates, strict=True) if fate is Fate.CONFIRMED]
            link.ack(there)
            done += len(there)
            if len(there) < len(part):
                raise BrokerLost(f"{done} given back, then: {publisher.trouble or 'the queue is not there'}")
        return done
    finally:
        link.close()
        publisher.close()


def _alive(queue: str, message: Incoming) -> Outgoing:
    before = message.headers.get(REQUEUED)
    headers = {name: value for name, value in message.headers.items() if name not in _OURS | _ROUTED}
    headers[REQUEUED] = (before if isinstance(before, int) else 0) + 1
    return Outgoing(queue, message.body, headers=headers, properties=message.kept())


def _dead(message: Incoming) -> DeadMessage:
    reason = message.headers.get(REASON)
    if reason is None:
        deaths = message.headers.get("x-death")
        # RabbitMQ says which limit it was. On Redis there is one only.
        why = deaths[0].get("reason") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else "handed out too often"
        reason = f"given up by the broker: {why}"
    told = rejected(message, Refused(str(reason)))
    content_type = str(message.properties.get("content_type") or "")
    return DeadMessage(told.reason, str(message.headers.get(REJECTED_AT, "")), told.message_id, content_type, told.size, told.excerpt)


def tell(runtime: Runtime, namespace: str, messages: Sequence[RejectedMessage], now: float) -> None:
    """Write `command.rejected` for each; the ledger keeps the event of a message that is delivered again once."""
    runtime.ledger.outbox.tell(
        [
            command_rejected(
                f"/{namespace}/intake",
                m.reason,
                {"key": m.key, "message_id": m.message_id, "size": m.size, "digest": m.digest, "excerpt": m.excerpt},
                m.evidence,
                now,
            )
            for m in messages
        ]
    )


def serve(configured: settings.Settings, runtime: Runtime, stop: threading.Event) -> None:
    """Take commands until *stop*; the batch in hand is finished first."""
    log.info("intake.started", queue=Names(configured.namespace).commands)
    of(configured, runtime).run(stop)


def of(configured: settings.Settings, runtime: Runtime) -> Intake:
    """The intake that the settings ask for, on the ledger of *runtime*. Connects when it is run."""
    namespace = configured.namespace
    return Intake(
        configured.broker.url,
        Door(namespace, configured.intake.max_bytes),
        lambda commands: accept(runtime, commands),
        lambda messages: tell(runtime, namespace, messages, time.time()),
        batch=configured.intake.batch,
        visibility=configured.broker.visibility_timeout,
    )


def main() -> None:
    """`python -m worker.intake`: take commands until SIGTERM or SIGINT, finish the batch in hand, leave."""
    from worker import bootstrap  # brings every connector and sink: not needed by those who only look at the dead

    try:
        configured = settings.load()
    except SettingsError as exc:
        raise SystemExit(str(exc)) from exc
    telemetry.configure(configured, "intake")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runtime = bootstrap.runtime(configured)
    bootstrap.at_work()
    heart = Heart(place(configured), "intake")
    heart.start()
    try:
        serve(configured, runtime, stop)
    finally:
        heart.stop()
        bootstrap.close(runtime)
        telemetry.flush()


if __name__ == "__main__":
    main()
