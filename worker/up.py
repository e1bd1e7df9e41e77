"""Everything in one process: the Celery worker, beat as a thread, intake as a thread. On the embedded default and on real servers alike.

The failure: one part ends and the process goes on as if it were whole. So whichever part ends, for whatever reason, ends the process: what
starts it can start it again. The parts stop in the order that loses nothing: no more is claimed and taken, the worker's turns come home,
the intake finishes its batch, and only then is the runtime closed that they share.
"""

import os
import signal
import threading

import structlog

from worker import app, intake, telemetry
from worker.settings import Settings

log = structlog.get_logger()


def up(settings: Settings) -> int:
    """Run until a signal says stop, then claim no more and let what is in flight come home. Returns the exit status."""
    telemetry.configure(settings, "up")
    app.use(settings)
    app.show_life("up")
    rt = app.runtime()
    broken = threading.Event()

    def take() -> None:
        try:
            intake.serve(settings, rt, rt.stopping)
        except Exception as exc:
            log.exception("intake.broken")
            telemetry.report(exc)
            broken.set()
            os.kill(os.getpid(), signal.SIGTERM)

    beat, worker = app.beat(), app.worker()
    taking = threading.Thread(target=take, name="intake", daemon=True)
    app.before_close.append(lambda: taking.join(10.0))
    taking.start()
    beat.start()
    try:
        worker.start()
    finally:
        rt.stopping.set()
        beat.stop()
        taking.join(10.0)
    return 1 if broken.is_set() else int(worker.exitcode or 0)
