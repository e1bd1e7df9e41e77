"""Is a process getting on? A file that it touches while it is, for a probe that is another process on the same host.

The failure: a worker whose threads all hang answers no probe by itself, and one that only shows "I am running" goes on showing it. So the
heart stops beating when something has been at work for longer than it ever may. The limit: it sees this host only, and a process that was
killed is not missed here: whoever started it sees its end.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.settings import Settings

BEAT = 2.0
"""Seconds between two beats."""

LATE = 15.0
"""Seconds without a beat after which a process counts as stuck: several beats, so that a busy machine is not called dead."""

STUCK = 300.0
"""Seconds that one turn may be at work. A turn ends after a minute and one deadline; one that waits for a lost ledger, after two."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A process of this host, and how long ago it showed that it gets on, in seconds."""

    process: str
    pid: int
    age: float
    ok: bool


def place(settings: Settings) -> Path:
    """The directory of the beats: one for each user, namespace and ledger of this host."""
    url = str(settings.ledger.url)
    path = url.removeprefix("sqlite:///")
    url = f"sqlite:///{Path(path).absolute()}" if path != url else settings.ledger.url.redacted
    name = f"{settings.namespace}-{os.getuid()}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name


class Heart:
    """The heart of one process. Without `start` it beats only when it is told to."""

    def __init__(self, directory: Path, process: str, *, stuck: float = STUCK, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = directory / f"{process}-{os.getpid()}"
        self._stuck, self._clock = stuck, clock
        self._lock, self._over = threading.Lock(), threading.Event()
        self._at_work: dict[object, float] = {}

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Something is at work for as long as the block lasts; if that is too long, the heart stops until it ends."""
        token = object()
        with self._lock:
            self._at_work[token] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                del self._at_work[token]

    def beat(self) -> bool:
        """Show that this process gets on; False where it does not."""
        with self._lock:
            oldest = min(self._at_work.values(), default=None)
        if oldest is not None and self._clock() - oldest > self._stuck:
            return False
        with contextlib.suppress(OSError):  # a full disk is no reason to end a worker
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch()
        return True

    def start(self) -> None:
        """Beat in a thread until `stop`."""
        self.beat()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def stop(self) -> None:
        """The process ends, as it should."""
        self._over.set()
        self._file.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._over.wait(BEAT):
            self.beat()


def alive(settings: Settings, now: Callable[[], float] = time.time) -> list[Beat]:
    """The processes of this host that have not ended, and whether each gets on. Files of those that were killed are removed."""
    found = []
    for file in sorted(place(settings).glob("*-*")):
        process, _, pid = file.name.rpartition("-")
        with contextlib.suppress(FileNotFoundError):  # it ended while we looked
            if not pid.isdecimal():
                continue
            if not _runs(int(pid)):
                file.unlink()
                continue
            age = max(0.0, now() - file.stat().st_mtime)
            found.append(Beat(process, int(pid), age, age <= LATE))
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
