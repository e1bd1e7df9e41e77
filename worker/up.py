"""Everything in one process: the Celery worker, and as threads of it beat, intake, and the console where a token opens it. On the embedded
default and on real servers alike.

The failure: one part ends and the process goes on as if it were whole. So whichever part ends, for whatever reason, ends the process: what
starts it can start it again. The parts stop in the order that loses nothing: no more is claimed and taken, the worker's turns come home,
the intake finishes its batch, the console its requests, and only then is the runtime closed that they share.
"""

import os
import signal
import threading
from collections.abc import Callable

import structlog

from worker import app, intake, telemetry
from worker.flows import Runtime
from worker.settings import Settings

log = structlog.get_logger()

COMING_HOME = 10.0
"""Seconds that each part may take to end: a batch and a request take less than one, unless a server is away."""


def up(settings: Settings) -> int:
    """Run until a signal says stop, then claim no more and let what is in flight come home. Returns the exit status."""
    telemetry.configure(settings, "up")
    app.use(settings)
    app.show_life("up")
    rt = app.runtime()
    broken = threading.Event()

    def part(name: str, serve: Callable[[Settings, Runtime, threading.Event], None]) -> threading.Thread:
        broke = f"{name}.broken"

        def run() -> None:
            try:
                serve(settings, rt, rt.stopping)
            except Exception as exc:
                log.exception(broke)
                telemetry.report(exc)
                broken.set()
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=run, name=name, daemon=True)
        app.before_close.append(lambda: thread.join(COMING_HOME))
        thread.start()
        return thread

    beat, worker = app.beat(), app.worker()
    parts = [part("intake", intake.serve)]
    if settings.console.tokens:
        from worker.console.server import serve  # a web server, which only those with a token pay for

        parts.append(part("console", serve))
    beat.start()
    try:
        worker.start()
    finally:
        rt.stopping.set()
        beat.stop()
        for each in parts:
            each.join(COMING_HOME)
    return 1 if broken.is_set() else int(worker.exitcode or 0)
