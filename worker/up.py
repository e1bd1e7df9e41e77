"""Everything in one process: the Celery worker, beat as a thread, intake as a thread. On the embedded default and on real servers alike."""

import threading

from worker import app, intake, telemetry
from worker.settings import Settings


def up(settings: Settings) -> int:
    """Run until a signal says stop, then claim no more and let what is in flight come home. Returns the exit status."""
    telemetry.configure(settings, "up")
    app.use(settings)
    app.show_life("up")
    rt = app.runtime()
    beat, worker = app.beat(), app.worker()
    taking = threading.Thread(target=intake.serve, args=(settings, rt, rt.stopping), name="intake", daemon=True)
    taking.start()
    beat.start()
    try:
        worker.start()
    finally:
        rt.stopping.set()
        beat.stop()
        taking.join(10.0)
    return int(worker.exitcode or 0)
