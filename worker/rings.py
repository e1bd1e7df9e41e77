"""Rings: the Celery messages that say "there is work for this verb and shard", sent without Celery.

A ring carries no fact, so that losing, doubling or delaying one is harmless: the next tick rings again. That is why it leaves by a thread
of its own, without a word to whoever rang: a frozen broker must not hold up a flow that has an answer in hand. Rings for the same verb and
shard that wait at the same time are one. The wire is Celery's message protocol 2 (docs.celeryq.dev, "Message Protocol").
"""

import json
import threading
import uuid
from collections.abc import Callable, Sequence

import structlog

from worker.broker import RINGS_KEPT, Fate, Names, Outgoing, Publisher

log = structlog.get_logger()

PAUSE = 0.02
"""Seconds between two volleys. Fifty rings a second for one shard are plenty; each costs Celery 0.4 ms."""


def message(names: Names, verb: str, shard: str) -> Outgoing:
    """A ring as Celery reads it. The tick has no shard."""
    id_ = str(uuid.uuid4())
    args = [shard] if shard else []
    headers = {
        "lang": "py",
        "task": f"{names.namespace}.{verb}",
        "id": id_,
        "root_id": id_,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,  # an instant of ours on the clock of another host: the queue's own limit drops what nobody hears
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": repr(tuple(args)),
        "kwargsrepr": "{}",
        "ignore_result": True,
    }
    body = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    properties = {"content_type": "application/json", "content_encoding": "utf-8", "correlation_id": id_}
    return Outgoing(names.rings, body, headers=headers, properties=properties, newest=RINGS_KEPT)


def _no_report(exc: Exception) -> None:
    """Nobody to tell but the log."""


class Rings:
    """The bell of one process. `ring` never blocks and never raises. *report* is told, once, of what no lost connection explains."""

    def __init__(self, url: str, namespace: str, report: Callable[[Exception], None] = _no_report) -> None:
        self._report = report
        self._names = Names(namespace)
        # The doors for commands, too: a command that is published before its queue exists is dropped without a word.
        doors = [self._names.rings_queue(), self._names.dead_queue(), self._names.commands_queue()]
        self._publisher = Publisher(url, deadline=5.0, declares=doors)
        self._waiting: dict[tuple[str, str], None] = {}
        self._bell, self._over = threading.Condition(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    def ring(self, verb: str, shard: str) -> None:
        """Ask for a turn of *verb* for *shard*, soon, somewhere."""
        with self._bell:
            self._waiting[verb, shard] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rings", daemon=True)
                self._thread.start()
            self._bell.notify()

    def close(self, patience: float = 2.0) -> None:
        """Let what waits go out, for *patience* seconds at most."""
        self._over.set()
        with self._bell:
            self._bell.notify()
        if self._thread is not None:
            self._thread.join(patience)
        self._publisher.close()

    def _run(self) -> None:
        while True:
            with self._bell:
                while not self._waiting and not self._over.is_set():
                    self._bell.wait()
                volley, self._waiting = list(self._waiting), {}
            if not volley:
                return  # over, and nothing waits
            self._out(volley)
            self._over.wait(PAUSE)

    def _out(self, volley: Sequence[tuple[str, str]]) -> None:
        """Nothing that goes wrong here may take the house down: the tick rings, too. Beat rings every second, so a loss is told once."""
        try:
            fates = self._publisher.publish([message(self._names, verb, shard) for verb, shard in volley])
            lost, why = any(fate is Fate.FAILED for fate in fates), self._publisher.trouble
        except Exception as exc:  # noqa: BLE001  see above
            lost, why = True, str(exc)
            if not self._lost:
                self._report(exc)
        if lost and not self._lost:
            log.warning("rings.lost", error=why)
        elif self._lost and not lost:
            log.info("rings.heard")
        self._lost = lost
