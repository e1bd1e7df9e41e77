"""The engine against a server that has acted and then breaks the answer in every way, and against transports that fail on both sides of
the mark.

Whoever sorts failures by exception class fails here, whichever way he maps them: httpx-aiohttp 0.2.0 raises `httpx.ConnectTimeout` for RST,
FIN and half a header *after* the effect (must be InDoubt) and for a gate that closed *before* it (must be Unsent); a garbage status line
comes as a raw aiohttp exception. See `test_broken_answer` with `test_nothing_left`, and `test_only_the_mark_decides` for both sides of one
class.
"""

import asyncio
import gzip
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.core.gate import may_leave
from worker.core.outcomes import Applied, Fact, InDoubt, Unknown, Unsent
from worker.core.task import Snapshot
from worker.engine import LARGEST_ANSWER, Engine, Errand
from worker.upstreams.auth import ClientCredentials, Grant
from worker.upstreams.base import Order, Token
from worker.upstreams.workiva import Workiva

TASK = b'{"id": "t1", "status": "Awaiting Approval", "approvalSteps": []}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(TASK), TASK)
SECRET = "s3cr3t-t0ken"  # what must be seen nowhere


class Upstream:
    """A server on a raw socket. It reads whole requests, counts the POSTs, and answers GETs well and POSTs with *break_*."""

    def __init__(self, break_: Callable[[socket.socket], None]) -> None:
        self._break = break_
        self.well = GOOD
        self.posts = 0
        self.connections = 0
        self.bytes = b""
        self.over = threading.Event()
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def speak(self, words: bytes) -> None:
        """Say something that nobody asked for, on every connection."""
        for one in self._open:
            one.sendall(words)

    def close(self) -> None:
        self.over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._socket.close()
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(one)
            self._threads.append(threading.Thread(target=self._serve, args=(one,)))
            self._threads[-1].start()

    def _serve(self, one: socket.socket) -> None:
        held = b""
        with one:
            while True:
                try:
                    got = one.recv(65536)
                except OSError:
                    return
                if not got:
                    return
                self.bytes += got
                held += got
                while (end := held.find(b"\r\n\r\n")) >= 0:
                    head = held[:end].lower()
                    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                    if len(held) < end + 4 + length:
                        break
                    held = held[end + 4 + length :]
                    if not head.startswith(b"post"):
                        one.sendall(self.well)
                        continue
                    self.posts += 1  # the effect has happened
                    self._break(one)


def reset(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def says(*parts: bytes) -> Callable[[socket.socket], None]:
    """Answer so, then close."""

    def act(one: socket.socket) -> None:
        with suppress(OSError):  # whoever has heard enough may be gone before us
            for part in parts:
                one.sendall(part)
            one.shutdown(socket.SHUT_RDWR)

    return act


def stall(_: socket.socket) -> None:
    """Say nothing and keep the connection."""


BROKEN: dict[str, Callable[[socket.socket], None]] = {
    "reset": reset,
    "fin": says(),
    "half a status line": says(b"HTTP/1.1 2"),
    "half a header": says(b"HTTP/1.1 200 OK\r\ncont"),
    "half a body": says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"),
    "half a chunk": says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"),
    "garbage": says(b"\x00\x01garbage\r\n\r\n"),
    "bad gzip": says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd"),
    "bad length": says(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
    "a redirect": says(b"HTTP/1.1 307 Go\r\nlocation: /tasks/t1/actionSubmission\r\ncontent-length: 0\r\n\r\n"),
    "503": says(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
    "408": says(b"HTTP/1.1 408 Slow\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    "a success without a task": says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    "silence": stall,
}


@contextmanager
def upstream(break_: Callable[[socket.socket], None]) -> Iterator[Upstream]:
    with closing(Upstream(break_)) as server:
        yield server


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(Engine()) as one:
        yield one


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """Made once, because loading the roots takes longer than a test."""
    return httpx.create_ssl_context()


class Fixed:
    """Credentials that have their token already; *meanwhile* is what happens while they are asked."""

    name = "fixed"

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._meanwhile = meanwhile

    def fetch(self):
        yield from ()
        self._meanwhile()
        return Token(SECRET, 600.0)

    def held(self):
        return None

    def refused(self, token):
        pass


SEEN = Snapshot("t1", "", "Awaiting Approval", awaiting=True, done=False, steps=())


def sending(url: str, *, deadline: float = 10.0, credentials: Any = None, leave_by: float | None = None) -> Errand[Any]:
    flow = Workiva(url).send(Order("t1", "approve", "fine [aw:7f3k9q]"), SEEN)
    return Errand(flow, credentials, deadline, InDoubt, Unsent, leave_by)


def looking(url: str, *, deadline: float = 10.0, credentials: Any = None) -> Errand[Any]:
    return Errand(Workiva(url).read("t1"), credentials, deadline, Unknown, Unknown)


def outcome(engine: Engine, errand: Errand[Any]) -> Any:
    """The outcome of one errand."""
    with engine.bag() as bag:
        bag.put("x", errand)
        ((tag, got),) = bag.take()
        assert tag == "x"
        return got


# ---------------------------------------------------------------- after the effect


@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept alive"])
@pytest.mark.parametrize("how", BROKEN)
def test_broken_answer(engine: Engine, how: str, kept: bool) -> None:
    """The server has acted, and the answer is lost: in doubt, and nobody below us repeated the POST."""
    with upstream(BROKEN[how]) as server:
        if kept:
            assert isinstance(outcome(engine, looking(server.url)), Snapshot)
        got = outcome(engine, sending(server.url, deadline=0.3 if how == "silence" else 10.0))
        assert isinstance(got, InDoubt), got
        assert (server.posts, server.connections) == (1, 1)


@pytest.mark.parametrize("status", [401, 429, 400])
def test_words_that_nobody_asked_for(engine: Engine, status: int) -> None:
    """What a server says on an idle connection is not the answer to the next POST: it would "prove" that this had no effect."""
    with upstream(lambda one: one.sendall(GOOD)) as server, upstream(stall) as other:
        assert isinstance(outcome(engine, looking(server.url)), Snapshot)
        server.speak(b"HTTP/1.1 %d Words\r\ncontent-length: 0\r\n\r\n" % status)
        assert isinstance(outcome(engine, looking(other.url)), Snapshot)  # by now the loop has heard them
        assert isinstance(outcome(engine, sending(server.url)), Applied)
        assert (server.posts, server.connections) == (1, 2)


def test_silence_names_the_deadline(engine: Engine) -> None:
    with upstream(stall) as server:
        assert outcome(engine, sending(server.url, deadline=0.2)) == InDoubt(Fact("deadline"))


def test_answer_without_end(engine: Engine) -> None:
    """An answer larger than anything we ask for is given up, not held in memory."""
    block = b"x" * 65536

    def flood(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (10 * LARGEST_ANSWER))
        try:
            for _ in range(10 * LARGEST_ANSWER // len(block)):
                one.sendall(block)
        except OSError:
            pass  # they hung up on us, as they should

    with upstream(flood) as server:
        got = outcome(engine, sending(server.url))
        assert isinstance(got, InDoubt)
        assert "TooLarge" in str(got.fact)
        assert server.posts == 1


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip\r\ncontent-encoding: gzip", "br"])
def test_an_encoding_that_we_did_not_ask_for(engine: Engine, encoding: str) -> None:
    """Compressed twice, 2 KiB are 1 GiB, and the whole of it in one piece: no such answer is decoded."""
    body = gzip.compress(gzip.compress(TASK))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (encoding.encode(), len(body))
    with upstream(lambda one: one.sendall(head + body)) as server:
        got = outcome(engine, sending(server.url))
        assert isinstance(got, InDoubt)
        assert "gzip was asked for" in str(got.fact)


def test_clean_answer(engine: Engine) -> None:
    with upstream(lambda one: one.sendall(GOOD)) as server:
        got = outcome(engine, sending(server.url, credentials=Fixed()))
        assert isinstance(got, Applied)
        assert got.snapshot.task == "t1"
        assert server.posts == 1
        assert b'\r\n\r\n{"action":"APPROVE","comment":"fine [aw:7f3k9q]"}' in server.bytes
        assert b"content-length: 49" in server.bytes.lower()
        assert b"transfer-encoding" not in server.bytes.lower()
        assert f"authorization: bearer {SECRET}".encode() in server.bytes.lower()


# ---------------------------------------------------------------- before the effect


def nobody_listens() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def test_refused_port(engine: Engine) -> None:
    got = outcome(engine, sending(nobody_listens()))
    assert isinstance(got, Unsent)
    assert got.fact.what == "connect"
    assert not got.token


def test_unknown_host(engine: Engine) -> None:
    assert isinstance(outcome(engine, sending("http://nobody.invalid", deadline=5.0)), Unsent)


def test_no_tls_spoken(engine: Engine) -> None:
    """The handshake fails: what the server got of us is a ClientHello."""
    with upstream(stall) as server, closing(socket.create_server(("127.0.0.1", 0))) as plain:

        def answer() -> None:
            one, _ = plain.accept()
            with one:
                server.bytes += one.recv(65536)
                one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        got = outcome(engine, sending(f"https://127.0.0.1:{plain.getsockname()[1]}"))
        thread.join()
        assert isinstance(got, Unsent)
        assert b"APPROVE" not in server.bytes


def test_certificates_are_verified(engine: Engine) -> None:
    assert (engine._ssl.verify_mode, engine._ssl.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_waiting_for_a_connection(tls: ssl.SSLContext) -> None:
    """The deadline counts the wait for the pool, and a POST that never got a connection was not sent."""
    with closing(Engine(connections=1, verify=tls)) as engine, upstream(stall) as server, engine.bag() as bag:
        bag.put("holds the connection", sending(server.url, deadline=5.0))
        bag.put("waits", sending(server.url, deadline=0.2))
        assert bag.take() == [("waits", Unsent(Fact("deadline")))]
        assert len(bag) == 1
    assert server.posts <= 1


def test_a_bag_holds_no_more_than_it_leaves_free_for_the_others(tls: ssl.SSLContext) -> None:
    """Without: one account that stalls holds all connections, and everybody else waits for its deadline."""
    with closing(Engine(connections=36, verify=tls)) as engine, upstream(stall) as server, ExitStack() as stack:
        bags = [stack.enter_context(engine.bag()) for _ in range(7)]
        held = []
        for bag in bags:
            while bag.room(128):
                bag.put(None, looking(server.url, deadline=30.0))
            held.append(len(bag))
        assert held == [16, 8, 4, 2, 1, 1, 1]
        assert bags[0].room(16) == 0
    with closing(Engine(connections=36, verify=tls)) as engine, engine.bag() as bag:
        assert (bag.room(128), bag.room(5)) == (16, 5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """The machine sleeps, or the process is stopped."""
        self.now += seconds


@pytest.mark.parametrize(
    ("pause", "leave_by", "fact"),
    [(0.0, 999.0, "gate closed"), (6.0, 1005.0, "gate closed"), (11.0, None, "deadline"), (11.0, 2000.0, "deadline")],
)
def test_nothing_left(tls: ssl.SSLContext, pause: float, leave_by: float | None, fact: str) -> None:
    """Stopped between the claim and the body, and gone on after the lease: the body does not leave, and that is known."""
    clock = Clock()
    with closing(Engine(clock=clock, verify=tls)) as engine, upstream(stall) as server:
        errand = sending(server.url, credentials=Fixed(lambda: clock.sleep(pause)), leave_by=leave_by)
        got = outcome(engine, errand)
        assert isinstance(got, Unsent)
        assert got.fact.what == fact
        assert server.posts == 0
        assert b"APPROVE" not in server.bytes


def test_leaves_in_time(tls: ssl.SSLContext) -> None:
    clock = Clock()
    with closing(Engine(clock=clock, verify=tls)) as engine, upstream(lambda one: one.sendall(GOOD)) as server:
        errand = sending(server.url, credentials=Fixed(lambda: clock.sleep(5.0)), leave_by=1005.0)
        assert isinstance(outcome(engine, errand), Applied)
        assert server.posts == 1


def test_gate() -> None:
    assert may_leave(1.0, 1.0)
    assert not may_leave(1.1, 1.0)
    assert not may_leave(float("nan"), 1.0)


# ---------------------------------------------------------------- the mark, whatever is raised

FAILURES: list[Callable[[], BaseException]] = [
    lambda: httpx.ConnectTimeout("x"),
    lambda: httpx.ConnectError("x"),
    lambda: httpx.PoolTimeout("x"),
    lambda: httpx.ReadTimeout("x"),
    lambda: httpx.ReadError("x"),
    lambda: httpx.WriteError("x"),
    lambda: httpx.RemoteProtocolError("x"),
    lambda: httpx.UnsupportedProtocol("x"),
    lambda: httpx.DecodingError("x"),
    lambda: aiohttp.ServerDisconnectedError("x"),
    lambda: aiohttp.ClientPayloadError("x"),
    lambda: aiohttp.ClientError("x"),
    lambda: ConnectionRefusedError(111, "x"),
    lambda: ConnectionResetError(104, "x"),
    lambda: socket.gaierror(-2, "x"),
    lambda: ssl.SSLError("x"),
    lambda: TimeoutError("x"),
    lambda: asyncio.CancelledError("from below"),
    lambda: asyncio.InvalidStateError("x"),
    lambda: RuntimeError("x"),
    StopAsyncIteration,
    MemoryError,
    RecursionError,
    AssertionError,
    lambda: KeyError("x"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
]


class Failing(httpx.AsyncBaseTransport):
    """Asks for the body *asks* times, keeps what it got, and raises."""

    def __init__(self) -> None:
        self.asks = 0
        self.failure: Callable[[], BaseException] = RuntimeError
        self.got: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        for _ in range(self.asks):
            async for part in request.stream:
                self.got.append(part)  # what it got counts, also when the next ask is refused
        raise self.failure()


@pytest.fixture(scope="module")
def failing(tls: ssl.SSLContext) -> Iterator[tuple[Engine, Failing]]:
    transport = Failing()
    with closing(Engine(transport=transport, verify=tls)) as engine:
        yield engine, transport


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failure=st.sampled_from(FAILURES), asked=st.booleans(), token=st.booleans())
def test_only_the_mark_decides(failing: tuple[Engine, Failing], failure: Callable[[], BaseException], asked: bool, token: bool) -> None:
    """One exception, raised before and after the body was asked for, is two outcomes."""
    engine, transport = failing
    transport.asks, transport.failure, transport.got = int(asked), failure, []
    got = outcome(engine, sending("http://x", credentials=Fixed() if token else None))
    assert isinstance(got, InDoubt if asked else Unsent), got
    assert len(transport.got) == asked


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failure=st.sampled_from(FAILURES), asks=st.integers(2, 4))
def test_a_body_is_given_once(failing: tuple[Engine, Failing], failure: Callable[[], BaseException], asks: int) -> None:
    """A transport that repeats a request gets no second body, and the errand is in doubt because of the first."""
    engine, transport = failing
    transport.asks, transport.failure, transport.got = asks, failure, []
    assert isinstance(outcome(engine, sending("http://x")), InDoubt)
    assert len(transport.got) == 1


class Dawdling(httpx.AsyncBaseTransport):
    """Keeps a writer of its own, which asks for the body when the exchange is over: `late` holds what it got."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.late: list[object] = []
        self.over = threading.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        try:
            if not self.fails:
                await asyncio.Event().wait()
        finally:
            self.writer = asyncio.get_running_loop().create_task(self._write(request.stream))
        raise httpx.ConnectError("x")

    async def _write(self, stream: httpx.AsyncByteStream) -> None:
        for _ in range(5):  # let the verdict be given first
            await asyncio.sleep(0)
        try:
            self.late += [part async for part in stream]
        except Exception as exc:
            self.late.append(type(exc).__name__)
        self.over.set()


@pytest.mark.parametrize("fails", [False, True], ids=["deadline", "failure"])
def test_a_verdict_shuts_the_gate(tls: ssl.SSLContext, fails: bool) -> None:
    """We said "unsent": a writer that the transport left behind must not prove us wrong."""
    transport = Dawdling(fails=fails)
    with closing(Engine(transport=transport, verify=tls)) as engine:
        with engine.bag() as bag:
            bag.put("x", sending("http://x", deadline=5.0 if fails else 0.05))
            ((_, got),) = bag.take()
            assert isinstance(got, Unsent)
            assert got.fact.what == ("connect" if fails else "deadline")
            assert transport.over.wait(5)
        assert transport.late == ["_Closed"]


def test_leaving_the_bag_shuts_the_gate(tls: ssl.SSLContext) -> None:
    """Whoever leaves a bag gets no answers any more, and nothing leaves after him."""
    transport = Dawdling()
    with closing(Engine(transport=transport, verify=tls)) as engine:
        with engine.bag() as bag:
            bag.put(1, sending("http://x"))
            assert bag.take(timeout=0.05) == []
            assert len(bag) == 1
        assert bag.take() == []
        assert transport.over.wait(5)
        assert transport.late == ["_Closed"]


@pytest.mark.parametrize("after", [0, 1])
def test_connector_bug(tls: ssl.SSLContext, after: int) -> None:
    """A bug in a connector ends in an outcome by the same rule, with the place in the fact."""

    def flow():
        for _ in range(after):
            yield httpx.Request("POST", "http://x", json={})
        raise ZeroDivisionError("oops")

    with closing(Engine(transport=httpx.MockTransport(lambda _: httpx.Response(200)), verify=tls)) as engine:
        got = outcome(engine, Errand(flow(), None, 5.0, InDoubt, Unsent))
        assert isinstance(got, InDoubt if after else Unsent)
        assert "ZeroDivisionError: oops (test_engine.py:" in str(got.fact)


def test_post_without_a_body(tls: ssl.SSLContext) -> None:
    """There is no body to wait for, so from the start it may have happened; a closed gate still holds it back."""

    def flow():
        yield httpx.Request("POST", "http://x")

    with closing(Engine(transport=Failing(), verify=tls)) as engine:
        assert isinstance(outcome(engine, Errand(flow(), None, 5.0, InDoubt, Unsent)), InDoubt)
        assert isinstance(outcome(engine, Errand(flow(), None, 5.0, InDoubt, Unsent, leave_by=0.0)), Unsent)


# ---------------------------------------------------------------- tokens


class App:
    """An upstream with a token endpoint, in memory. Tokens are `s3cr3t-t0ken-1`, `-2` and so on; those in *refused* get a 401."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.fetched = 0
        self.used: list[str] = []
        self.refused: set[str] = set()
        self.fault: httpx.Response | None = None
        self.hold: asyncio.Event | None = None
        self.holding = threading.Event()
        self.engine = Engine(transport=httpx.MockTransport(self), clock=clock, verify=ssl.create_default_context())
        grants = {"jane": Grant("me", "s3cr3t-cl1ent")}
        self.workiva = Workiva("http://x", grants=grants)
        self.credentials = self.workiva.credentials("jane")

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            self.fetched += 1
            for _ in range(3):
                await asyncio.sleep(0)
            if self.fault:
                return self.fault
            return httpx.Response(200, json={"access_token": f"{SECRET}-{self.fetched}", "expires_in": 599, "token_type": "bearer"})
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.used.append(token[-1])
        await request.aread()
        if hold := self.hold:
            self.hold = None
            self.holding.set()
            await hold.wait()
        return httpx.Response(401 if token[-1] in self.refused else 200, content=TASK)

    def look(self) -> Any:
        return outcome(self.engine, Errand(self.workiva.read("t1"), self.credentials, 5.0, Unknown, Unknown))

    def send(self) -> Any:
        return outcome(self.engine, Errand(self.workiva.send(Order("t1", "approve"), SEEN), self.credentials, 5.0, InDoubt, Unsent))

    def settle(self) -> None:
        """Wait until the loop has nothing in hand."""

        async def idle() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest)

        asyncio.run_coroutine_threadsafe(idle(), self.engine.loop).result(5)

    def close(self) -> None:
        self.engine.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Iterator[App]:
    with closing(App(clock)) as one:
        yield one


def test_one_fetch_for_a_hundred(app: App) -> None:
    with app.engine.bag() as bag:
        for n in range(100):
            bag.put(n, Errand(app.workiva.read("t1"), app.credentials, 5.0, Unknown, Unknown))
        answers: list[tuple[Any, Any]] = []
        while wave := bag.take():
            answers += wave
        assert bag.take() == []
    assert sorted(tag for tag, _ in answers) == list(range(100))
    assert all(isinstance(got, Snapshot) for _, got in answers)
    assert app.fetched == 1


def test_renewal(app: App, clock: Clock) -> None:
    """Renewed in the background from 80 % of its life on; waited for only when it is over."""
    app.look()
    clock.now += 470
    app.look()
    assert (app.fetched, app.used) == (1, ["1", "1"])
    clock.now += 10
    app.look()
    app.settle()
    app.look()
    assert (app.fetched, app.used) == (2, ["1", "1", "1", "2"])
    clock.now += 599
    app.look()
    assert (app.fetched, app.used[-1]) == (3, "3")


def test_renewal_fails(app: App, clock: Clock) -> None:
    """As long as the old token lives, nobody notices."""
    app.look()
    clock.now += 500
    app.fault = httpx.Response(503)
    assert isinstance(app.look(), Snapshot)
    app.settle()
    assert isinstance(app.look(), Snapshot)
    assert (app.fetched, app.used) == (2, ["1", "1", "1"])


def test_401_on_a_look(app: App) -> None:
    """The token is dropped, and the look asked once more with a new one."""
    app.refused = {"1"}
    assert isinstance(app.look(), Snapshot)
    assert (app.fetched, app.used) == (2, ["1", "2"])


def test_401_on_a_send(app: App) -> None:
    """It ends the attempt; the next one brings a new token."""
    app.refused = {"1"}
    got = app.send()
    assert isinstance(got, Unsent)
    assert got.token
    assert isinstance(app.send(), Applied)
    assert (app.fetched, app.used) == (2, ["1", "2"])


def test_401_of_a_wave(app: App) -> None:
    """Twenty answers speak against one token: it is dropped once."""
    app.look()
    app.refused = {"1"}
    with app.engine.bag() as bag:
        for n in range(20):
            bag.put(n, Errand(app.workiva.read("t1"), app.credentials, 5.0, Unknown, Unknown))
        answers: list[tuple[Any, Any]] = []
        while wave := bag.take():
            answers += wave
    assert all(isinstance(got, Snapshot) for _, got in answers)
    assert app.fetched == 2


def test_late_401(app: App) -> None:
    """It speaks against a token that is replaced already: the new one stays."""
    app.refused = {"1"}
    app.hold = hold = asyncio.Event()
    with app.engine.bag() as bag:
        bag.put("late", Errand(app.workiva.read("t1"), app.credentials, 5.0, Unknown, Unknown))
        assert app.holding.wait(5)
        assert isinstance(app.look(), Snapshot)
        app.engine.loop.call_soon_threadsafe(hold.set)
        ((_, got),) = bag.take()
    assert isinstance(got, Snapshot)
    assert (app.fetched, app.used) == (2, ["1", "1", "2", "2"])


def test_new_tokens_do_not_help(app: App, clock: Clock) -> None:
    """Two fresh tokens refused: the endpoint is left alone for a moment, and then asked again."""
    app.refused = set("123456789")
    for _ in range(5):
        assert isinstance(app.look(), Unknown)
    assert app.fetched == 2
    clock.now += 1.1
    app.refused = set()
    assert isinstance(app.look(), Snapshot)


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(503),
        httpx.Response(400, json={"error": "invalid_client", "error_description": "no s3cr3t-cl1ent here"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={"access_token": ""}),
        httpx.Response(200, json={"access_token": "a\r\nb"}),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
    ],
)
def test_broken_token_endpoint(app: App, clock: Clock, fault: httpx.Response) -> None:
    """No token, nothing sent, and the endpoint is asked once a second."""
    app.fault = fault
    for _ in range(5):
        got = app.send()
        assert isinstance(got, Unsent)
        assert (got.fact.what, got.fact.status) == ("token", fault.status_code)
        assert "s3cr3t" not in repr(got)
    assert (app.fetched, app.used) == (1, [])
    clock.now += 1.1
    app.fault = None
    assert isinstance(app.send(), Applied)


def test_throttled_token_endpoint(app: App, clock: Clock) -> None:
    app.fault = httpx.Response(429, headers={"retry-after": "30"})
    assert app.send().fact.retry_after == 30.0
    clock.now += 29
    assert app.send().fact.retry_after == 1.0
    assert app.fetched == 1
    clock.now += 1.1
    app.fault = None
    assert isinstance(app.send(), Applied)


def test_token_endpoint_unreachable(engine: Engine) -> None:
    """The upstream would answer; its token endpoint does not."""
    with upstream(stall) as server:
        away = ClientCredentials(nobody_listens() + "/oauth2/token", Grant("me", "s3cr3t"))
        got = outcome(engine, sending(server.url, credentials=away))
        assert isinstance(got, Unsent)
        assert got.fact.what == "token unanswered"
        assert server.posts == 0


def test_token_endpoint_stalls(engine: Engine) -> None:
    """The POST for a token is not the POST with the effect: a deadline meanwhile is proof, not doubt."""
    with upstream(stall) as server:
        slow = ClientCredentials(server.url + "/oauth2/token", Grant("me", "s3cr3t"))
        assert outcome(engine, sending(server.url, credentials=slow, deadline=0.2)) == Unsent(Fact("deadline"))


def test_secrets_show_nowhere(caplog: pytest.LogCaptureFixture, tls: ssl.SSLContext) -> None:
    """Not in a repr, not in a log, not in a fact, not even where a library quotes the header it stumbles over."""

    def stumble(request: httpx.Request) -> httpx.Response:
        raise ValueError(f"cannot send {request.headers!s} {request.headers['authorization']}")

    with caplog.at_level(logging.DEBUG), closing(Engine(transport=httpx.MockTransport(stumble), verify=tls)) as engine:
        for errand in (sending("http://x", credentials=Fixed()), looking("http://x", credentials=Fixed())):
            got = outcome(engine, errand)
            assert "ValueError: cannot send" in got.fact.text
            shown = f"{engine!r} {engine.bag()!r} {errand!r} {got!r} {got.fact} {engine._tokens!r} {caplog.text}"
            assert SECRET not in shown
    grant = Grant("me", "s3cr3t-cl1ent")
    workiva = Workiva("http://x", grants={"jane": grant})
    assert "s3cr3t" not in f"{grant!r} {workiva!r} {workiva.credentials('jane')!r} {Token(SECRET, 1.0)!r}"


def test_an_answer_that_quotes_our_token_is_blotted(tls: ssl.SSLContext) -> None:
    """Gateways quote what they refuse; a fact goes into reasons, events and logs."""

    def echo(request: httpx.Request) -> httpx.Response:
        said = f"not taken: {request.headers['authorization']}".encode()
        body = {"application/json": b'{"developerMessage": "%s"}' % said, "text/plain": gzip.compress(b"x" * 277 + said)}
        kind = "application/json" if request.method == "GET" else "text/plain"
        packed = {"content-encoding": "gzip"} if kind == "text/plain" else {}
        return httpx.Response(403, headers={"content-type": kind, "retry-after": "7", **packed}, content=body[kind])

    with closing(Engine(transport=httpx.MockTransport(echo), verify=tls)) as engine:
        for errand in (sending("http://x", credentials=Fixed()), looking("http://x", credentials=Fixed())):
            got = outcome(engine, errand)
            assert (got.fact.status, got.fact.retry_after) == (403, 7.0)
            assert "not taken: Bearer …" in got.fact.text or "x" * 277 in got.fact.text
            assert SECRET[:4] not in got.fact.text


TOKEN_ANSWER = b'{"access_token": "%s"}' % SECRET.encode()


@pytest.mark.parametrize(
    "words",
    {
        "a length that is too short": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + TOKEN_ANSWER,
        "no chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + TOKEN_ANSWER,
        "no head": TOKEN_ANSWER,
        "half a head": b"HTTP/1.1 200 OK\r\nset-cookie: " + TOKEN_ANSWER + b"\x00\r\n\r\n",
        "a head without an end": b"HTTP/1.1 200 OK\r\nset-cookie: " + TOKEN_ANSWER * 1000,
    }.items(),
    ids=lambda case: case[0],
)
def test_an_answer_that_cannot_be_parsed_is_not_quoted(engine: Engine, words: tuple[str, bytes]) -> None:
    """aiohttp quotes what it stumbles over: of a token's answer that is the token, and a fact goes into reasons, events and logs."""
    with upstream(says(words[1])) as server:
        got = outcome(engine, looking("http://x", credentials=ClientCredentials(f"{server.url}/token", Grant("me", "s3cr3t"))))
        assert got.fact.what == "token unanswered"
        assert got.fact.text
        assert SECRET not in str(got)


def test_a_proxys_password_is_not_told(tls: ssl.SSLContext) -> None:
    with upstream(says()) as server, closing(Engine(verify=tls, proxy=server.url.replace("://", f"://me:{SECRET}@"))) as engine:
        server.well = b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n"
        got = outcome(engine, sending("https://api.example.com"))
        assert isinstance(got, Unsent)
        assert "ClientHttpProxyError: 407, Who are you" in str(got.fact)
        assert SECRET not in str(got)


# ---------------------------------------------------------------- the bag


def test_waves(tls: ssl.SSLContext) -> None:
    """`take` waits for one answer and brings all there are; an empty bag answers at once."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=TASK))
    with closing(Engine(transport=transport, verify=tls)) as engine, engine.bag() as bag:
        assert bag.take() == []
        assert len(bag) == 0
        for n in range(50):
            bag.put(n, looking("http://x"))
        assert len(bag) == 50
        seen: set[int] = set()
        while wave := bag.take():
            seen |= {tag for tag, _ in wave}
        assert seen == set(range(50))
        assert len(bag) == 0


def test_close_answers_what_is_in_flight(tls: ssl.SSLContext) -> None:
    """Nobody waits for ever on an engine that is no more."""
    engine = Engine(transport=Dawdling(), verify=tls)
    bag = engine.bag()
    bag.put("in flight", sending("http://x"))
    assert bag.take(timeout=0.05) == []
    engine.close()
    bag.put("too late", sending("http://x"))
    answers = dict(bag.take() + bag.take())
    assert answers == {"in flight": Unsent(Fact("cancelled")), "too late": Unsent(Fact("engine closed"))}
    engine.close()


def test_no_cookies(engine: Engine) -> None:
    """A session cookie set for one grant must not go out with the next."""
    good = GOOD.replace(b"\r\n\r\n", b"\r\nset-cookie: who=jane; path=/\r\n\r\n", 1)
    with upstream(lambda one: one.sendall(good)) as server:
        for _ in range(2):
            assert isinstance(outcome(engine, sending(server.url)), Applied)
        assert b"cookie" not in server.bytes.lower()
