"""A sandbox on a port. HTTP/1.1 by hand, because what it is for is to break HTTP: resets, half answers, bytes that are no answer at all.

No web framework lets go of a connection in the middle of a head, and a raw `asyncio.Protocol` also answers several times faster than one,
which the benchmarks need. It understands what clients send: Content-Length, chunked bodies, keep-alive, pipelining, `Expect: 100-continue`.
It has no TLS, limits or defences: it is for tests on the loopback interface.
"""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar, cast

from worker.sandbox.control import ROOT, Sandbox, read_faults
from worker.sandbox.exchange import Request, Response, answer
from worker.sandbox.faults import Delivery, Fault, Faulty


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop of uvloop where there is one (there is none on Windows): it answers about twice as fast."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


T = TypeVar("T")

LARGEST_HEAD = 65_536
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Server:
    """One listening port. Everything runs on its event loop."""

    def __init__(self, sandbox: Sandbox, host: str, port: int, *, latency: float = 0.0) -> None:
        self.sandbox = sandbox
        self.host = host
        self.port = port
        self.latency = latency
        self.connections: set[_Connection] = set()
        self.closed = False
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Listens. Port 0: a free one, then told by `port`."""
        self._loop = asyncio.get_running_loop()
        self._listener = await self._loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.closed = False
        self.sandbox.shut = self.shut

    async def stop(self) -> None:
        """Closes the port and every connection."""
        self.sandbox.shut = None
        if self._reopening is not None:
            self._reopening.cancel()
            with suppress(asyncio.CancelledError):
                await self._reopening
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # connection_lost of each

    async def renew(self, sandbox: Sandbox) -> None:
        """Another sandbox behind the same port. Whoever is connected is let go; a port that is shut opens."""
        self.sandbox.shut = None
        if self._reopening is not None:
            self._reopening.cancel()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # connection_lost of each, which counts for the old one
        self.sandbox = sandbox
        if self.closed:
            await self.start()
        else:
            sandbox.shut = self.shut

    def shut(self, seconds: float) -> None:
        """Refuses connections for so many seconds. Those that are idle are closed now, those at work after their answer."""
        if self._listener is None or self.closed:
            return
        self.closed = True
        self._listener.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    def later(self, upstream: Faulty, delivery: Delivery) -> None:
        """Sees to an effect that is still to come, whatever becomes of the connection."""
        if delivery.pending is not None and self._loop is not None:
            seconds = max(0.0, delivery.pending.due - upstream.upstream.now())
            self._loop.call_later(seconds, upstream.land, delivery.pending)


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, further ones wait in the buffer."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._busy = False
        self._continued = False
        self._began: float | None = None
        """When the head of a request came in whose body did not come with it."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._busy:
            self._busy = False
            self._server.sandbox.stats.ended()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._next()

    def close_if_idle(self) -> None:
        """Lets go, but not of a request."""
        if not self._busy:
            self.transport.close()

    def _next(self) -> None:
        """Serves what is whole in the buffer."""
        while self._buffer and not self._busy and not self.transport.is_closing():
            try:
                request = self._read()
            except (ValueError, IndexError):
                self._write(answer(400, {"error": "this is no HTTP request"}), head_only=False)
                self.transport.close()
                return
            if request is None:
                return
            took = 0.0 if self._began is None else self._server.sandbox.clock() - self._began
            self._began = None
            self._serve(request, took)

    def _read(self) -> Request | None:
        """The next request, if it is whole; it leaves the buffer."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                raise ValueError("the head has no end")
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body: bytes
        if headers.get("transfer-encoding", "").lower() == "chunked":
            found = _chunks(self._buffer, end + 4)
            if found is None:
                self._more(headers)
                return None
            body, end = found
        else:
            length = int(headers.get("content-length", 0))
            if len(self._buffer) < end + 4 + length:
                self._more(headers)
                return None
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            end += 4 + length
        del self._buffer[:end]
        self._continued = False
        return Request.of(method, target, headers, body)

    def _more(self, headers: dict[str, str]) -> None:
        if self._began is None:
            self._began = self._server.sandbox.clock()
        if headers.get("expect", "").lower() == "100-continue" and not self._continued:
            self._continued = True
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, request: Request, took: float) -> None:
        sandbox, server = self._server.sandbox, self._server
        closing = request.headers.get("connection", "").lower() == "close"
        head_only = request.method == "HEAD"
        if request.path.startswith(ROOT):
            self._busy = True  # so that a fault that shuts the port lets this answer out
            response = sandbox.control(request)
            self._busy = False
            self._write(response, head_only=head_only)
            if closing or server.closed:
                self.transport.close()
            return
        upstream = sandbox.mounted(request.path)
        if upstream is None:
            self._write(answer(404, {"error": f"nothing is mounted at {request.path}"}), head_only=head_only)
            if closing:
                self.transport.close()
            return
        self._busy = True
        sandbox.stats.begun(f"{upstream.upstream.name}.{upstream.upstream.route(request)}", sandbox.clock())
        # What a slow body would be answered at the cut-off, it is answered here when it is whole.
        delivery = upstream.outlasted(request) if took > upstream.cutoff else upstream(request)
        server.later(upstream, delivery)
        wait = server.latency + (0.0 if delivery.how == "refuse" else delivery.wait)
        if wait:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait, self._waited, upstream, delivery, closing, head_only)
        else:
            self._deliver(upstream, delivery, closing, head_only)

    def _waited(self, upstream: Faulty, delivery: Delivery, closing: bool, head_only: bool) -> None:
        self._timer = None
        self._deliver(upstream, delivery, closing, head_only)
        self._next()

    def _deliver(self, upstream: Faulty, delivery: Delivery, closing: bool, head_only: bool) -> None:
        self._busy = False
        self._server.sandbox.stats.ended()
        if delivery.how == "answer" and delivery.response is None and delivery.pending is not None:
            upstream.land(delivery.pending)  # its own timer is due at the same instant
        response = delivery.answer()
        match delivery.how:
            case "answer":
                assert response is not None
                self._server.sandbox.stats.answers[upstream.upstream.name][response.status] += 1
                self._write(response, head_only=head_only)
                if closing or self._server.closed:
                    self.transport.close()
            case "refuse":
                self._reset()
                self._server.shut(delivery.wait)
            case "reset":
                self._reset()
            case "half_body" | "half_head":
                whole = _bytes(response or answer(200, {}), head_only=False)
                head = whole.index(b"\r\n\r\n") + 4
                cut = head // 2 if delivery.how == "half_head" else head + (len(whole) - head) // 2
                self.transport.write(whole[:cut])
                self.transport.close()
            case "garbage":
                self.transport.write(b"\x00\x01\x02 no answer at all\r\n\r\n")
                self.transport.close()
            case "close" | "stall":
                self.transport.close()

    def _write(self, response: Response, *, head_only: bool) -> None:
        self.transport.write(_bytes(response, head_only=head_only))

    def _reset(self) -> None:
        """RST instead of FIN: no lingering, and what is unsent is thrown away."""
        wrapped = self.transport.get_extra_info("socket")
        # A duplicate of the descriptor, because uvloop hands out no real socket; the option belongs to what both refer to.
        with socket.socket(fileno=os.dup(wrapped.fileno())) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _chunks(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """A chunked body and where it ends, if it is whole."""
    parts: list[bytes] = []
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(bytes(buffer[at:line]).split(b";")[0], 16)
        at = line + 2 + size + 2
        if len(buffer) < at:
            return None
        if size == 0:
            return b"".join(parts), at
        parts.append(bytes(buffer[line + 2 : line + 2 + size]))


def _bytes(response: Response, *, head_only: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status != 204:  # no body and no length [RFC 9110]
        lines.append(f"Content-Length: {len(response.body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if head_only or response.status == 204 else head + response.body


async def serve(
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    latency: float = 0.0,
    faults: Iterable[Fault] = (),
    sandbox: Sandbox | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until cancelled. `latency`: seconds before each answer. `ready` is told the URL once it listens."""
    sandbox = sandbox or Sandbox()
    server = Server(sandbox, host, port, latency=latency)
    await server.start()
    for fault in faults:
        sandbox.fault(fault)
    if ready is not None:
        ready(f"http://{host}:{server.port}")
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


def run(
    port: int = 8765, *, host: str = "127.0.0.1", latency_ms: float = 0.0, faults: str = "", ready: Callable[[str], None] | None = None
) -> None:
    """Serves until interrupted (Ctrl-C). `faults`: a file's path, or what `read_faults` reads, which raises ValueError if it cannot."""
    text = Path(faults).read_text(encoding="utf-8") if faults and Path(faults).is_file() else faults
    script = read_faults(text)
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(host, port, latency=latency_ms / 1000, faults=script, ready=ready))


class RunningSandbox:
    """A sandbox that runs in a thread, seen from a test. Every method is done on its event loop, between two requests."""

    def __init__(self, sandbox: Sandbox, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.sandbox = sandbox
        self._server = server
        self._loop = loop
        self.url = f"http://{server.host}:{server.port}"
        self.workiva_url = f"{self.url}{sandbox.workiva.prefix}"
        self.autodesk_url = f"{self.url}{sandbox.autodesk.prefix}"

    def renew(self) -> None:
        """As new, behind the same port: no tasks, journal, faults, clients of a test's own; the machine's clock; nobody connected."""
        self.sandbox = Sandbox()
        asyncio.run_coroutine_threadsafe(self._server.renew(self.sandbox), self._loop).result(timeout=30)

    def task(self, **spec: Any) -> dict[str, Any]:
        """Makes a task (`shapes.made`); its truth, with `id`."""
        return dict(self.control("POST", "/tasks", spec))

    def item(self, **spec: Any) -> dict[str, Any]:
        """Makes a submittal item (`Project.make`); its truth, with `id` and `tasks`, the references of its tasks."""
        return dict(self.control("POST", "/autodesk/items", spec))

    def truth(self, task: str) -> dict[str, Any]:
        """The truth of a task, or of the item that a reference names: its round and active step included."""
        item = task.partition("/")[0]
        return dict(self.control("GET", f"/autodesk/items/{item}" if item in self.sandbox.project.items else f"/tasks/{task}"))

    def fault(self, route: str, what: str, **how: Any) -> int:
        """One more fault (`faults.Fault`)."""
        return int(self.control("POST", "/faults", {"route": route, "what": what, **how})["ids"][0])

    def journal(self, task: str | None = None) -> list[dict[str, Any]]:
        """Every effect that took place, in order."""
        return self.do(lambda: self.sandbox.journal(task))

    def person(self, task: str, user: str | None, action: str, comment: str | None = None) -> dict[str, Any]:
        """A person acts in the upstream's own pages; no user: someone who may."""
        return dict(self.control("POST", "/person", {"task": task, "user": user, "action": action, "comment": comment}))

    def assume(self, **switches: Any) -> None:
        """Turns switches (`assumptions.ASSUMPTIONS`)."""
        self.control("POST", "/assumptions", switches)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Any request of the control API, without its way through the port. Raises ValueError if it is refused."""
        raw = b"" if body is None else answer(200, body).body
        response = self.do(lambda: self.sandbox.control(Request.of(method, ROOT + path, {}, raw)))
        if response.status >= 400:
            raise ValueError(f"{method} {path}: {response.status} {response.body.decode()}")
        return response.json() if response.body else None

    def do(self, act: Callable[[], T]) -> T:
        """Anything, on the sandbox's loop."""

        async def inside() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(timeout=30)


@contextmanager
def running_sandbox(
    *, port: int = 0, latency: float = 0.0, faults: Iterable[Fault] = (), sandbox: Sandbox | None = None
) -> Iterator[RunningSandbox]:
    """A sandbox in a thread, on a free port, for as long as the block lasts. As a fixture:

    @pytest.fixture
    def approvals_sandbox():
        with running_sandbox() as running:
            yield running
    """
    sandbox = sandbox or Sandbox()
    server = Server(sandbox, "127.0.0.1", port, latency=latency)
    loop = new_event_loop()
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    try:
        running = RunningSandbox(sandbox, server, loop)
        for each in faults:
            running.do(lambda each=each: sandbox.fault(each))  # type: ignore[misc]
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()
