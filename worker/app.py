"""The Celery app: rings in, nothing else. With `tasks`, the only file that imports Celery.

It never becomes the current app of a program that imports us, and reads no settings until it is first used. Celery's own retry, ETA,
result and chain machinery stays unused: the ledger carries the state, a ring carries none. So a ring is acknowledged before it is heard
(losing one costs a tick), results are ignored, and nothing is prefetched that a neighbour could do.
"""

import atexit
import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog
from celery import Celery, signals
from celery.beat import EmbeddedService, Scheduler

from worker import bootstrap, telemetry
from worker.broker import Names, address, transport_options
from worker.errors import LedgerDown, SchemaMismatch, SettingsError
from worker.flows import Runtime
from worker.health import Heart, place
from worker.rings import Rings
from worker.settings import Settings, load

log = structlog.get_logger()

TICK = 1.0
"""Seconds between two ticks: the longest that a submission from another process waits for the embedded broker. A tick is three small
queries."""

CONCURRENCY = 16
"""Threads for turns, at least. A turn waits for the network most of its time."""


before_close: list[Callable[[], object]] = []
"""What is to be waited for before the runtime of this process is closed: whoever else works with it."""

_given: list[Settings] = []
_hearts: list[Heart] = []
_made: list[Runtime] = []
_making = threading.Lock()


def use(given: Settings) -> None:
    """These are the settings of this process: said once, before anything is used, by whoever has read them already."""
    _given[:] = [given]


@cache
def settings() -> Settings:
    """The settings of this process, read once, when first used. Raises SettingsError."""
    return _given[0] if _given else load()


def runtime() -> Runtime:
    """The one runtime of this process, made when first used: many threads hear their first ring at once. Raises LedgerDown,
    SchemaMismatch.
    """
    with _making:
        if not _made:
            rt = bootstrap.runtime(settings())
            for heart in _hearts:
                rt.working = heart.working
            rt.ledger.accounts.obey([name for name, a in rt.accounts.items() if not a.rules.hold])
            _made.append(rt)
        return _made[0]


def concurrency(s: Settings) -> int:
    """Threads for turns. A shard has one turn at a time in a process, so that with one for each, one for the tick and one for the tokens,
    no stalled endpoint and no slow upstream keeps another waiting.
    """
    return max(CONCURRENCY, 2 * len(s.accounts) + len(s.sinks) + 2)


def celery_settings() -> dict[str, Any]:
    """Read by Celery when it first needs a setting. The arguments for each are in docs/decisions/celery.md."""
    names = Names(settings().namespace)
    url = settings().broker.url
    rings = names.rings_queue()
    return {
        "broker_url": address(url),
        "imports": ("worker.tasks",),
        "task_queues": [rings],
        "task_default_queue": rings.name,
        "task_default_exchange": "",
        "task_default_routing_key": rings.name,
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "task_acks_late": False,
        "accept_content": ["json"],
        "task_serializer": "json",
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "worker_concurrency": concurrency(settings()),
        "worker_pool": "threads",
        "worker_enable_remote_control": False,
        "broker_transport_options": transport_options(url),
        "broker_connection_timeout": 10,
        "broker_heartbeat": 30,
        "broker_pool_acquire_timeout": 10,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # of those acknowledged late, which are none: it spares a warning
        "worker_enable_prefetch_count_reduction": False,
        "beat_scheduler": "worker.app:Bell",
        "beat_max_loop_interval": 1,
        "beat_schedule": {
            "tick": {
                "task": f"{names.namespace}.tick",
                "schedule": TICK,
            }
        },
    }


class Bell(Scheduler):
    """Beat's tick leaves by our own bell: by Celery's publisher a frozen broker holds up beat, and on Redis unheard ticks pile up without
    an end. In memory: a tick has no past worth a file.
    """

    producer = None  # asked for before each entry; Celery's would connect

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._rings = Rings(settings().broker.url, settings().namespace, telemetry.report)
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:  # noqa: ARG002  Celery's signature
        """It is due."""
        self._rings.ring(entry.name, "")

    def close(self) -> None:
        """Beat ends."""
        self._rings.close()


class Approvals(Celery):
    """A Celery app that minds its manners: Celery's signals belong to everybody in a process, so that ours are connected where a worker or
    beat of ours is made, and not where somebody merely imports us.
    """

    @property
    def Worker(self) -> Any:  # noqa: N802  Celery's name
        """What `celery worker` makes."""
        _starts("worker")
        signals.worker_init.connect(_open)
        signals.worker_shutting_down.connect(_hand_back)
        signals.worker_shutdown.connect(_close)
        return super().Worker

    @property
    def Beat(self) -> Any:  # noqa: N802  Celery's name
        """What `celery beat` makes."""
        _starts("beat")
        return super().Beat


app = Approvals("approvals", set_as_current=False)
app.add_defaults(celery_settings)


def _starts(process: str) -> None:
    signals.setup_logging.connect(_own_logging)
    if not _given:
        try:
            telemetry.configure(settings(), process)
        except SettingsError as exc:
            raise SystemExit(str(exc)) from exc
    show_life(process)


def show_life(process: str) -> None:
    """From now on this process shows that it gets on, for `approvals health --live`. Once: `up` is one process, whatever runs in it."""
    if not _hearts:
        _hearts.append(Heart(place(settings()), process))
        _hearts[0].start()
        atexit.register(_hearts[0].stop)


CHATTER = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
"""Two lines a ring and one a tick, which say nothing: what came of a ring is told by the flows."""


def _own_logging(**_: Any) -> None:
    """Being connected is enough: Celery leaves the root logger alone."""
    for name in CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)


def _open(**_: Any) -> None:
    """A worker that cannot work says so at once. A ledger that is merely away may come back: the first ring after that opens it."""
    try:
        runtime()
        bootstrap.at_work()
    except SchemaMismatch as exc:
        raise SystemExit(str(exc)) from exc
    except LedgerDown as exc:
        log.warning("ledger.down", error=str(exc))


def _hand_back(**_: Any) -> None:
    """SIGTERM: claim no more, let what is in flight come home."""
    for rt in _made:
        rt.stopping.set()


def _close(**_: Any) -> None:
    for each in before_close:
        each()
    while _made:
        bootstrap.close(_made.pop())
    telemetry.flush()


def worker() -> Any:
    """A Celery worker of this process, for `up`; `start` blocks until a signal ends it."""
    return app.Worker(
        loglevel=settings().log.level.upper(),
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
        quiet=True,
    )


def beat() -> Any:
    """Beat as a thread of this process, for `up`: on the in-process broker a beat process would tick for nobody.

    The setting `beat_scheduler` is read by `celery beat` only: here Celery's own scheduler would be made, which writes a file, and waits
    for a broker that is away, at the end of the process, too.
    """
    return EmbeddedService(app, thread=True, scheduler_cls=Bell)
