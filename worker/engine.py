"""The one event loop of a process, and the only asynchronous file there is: requests go in, answers come out in waves.

The failure it is written against: a transport that reports "could not connect" after the server has acted. aiohttp raises
`ClientOSError` for a refused port and for RST after the effect alike; httpx-aiohttp 0.2.0 `httpx.ConnectTimeout` for both. Whoever sorts
failures by exception class sends the next approval to a step that nobody reviewed.

E1  The proof is a mark, not an exception (A3). A request body is an iterator; in the moment the transport asks it for the bytes it checks
    the gate and sets `handed`. Whatever fails before that is `errand.unsent`, whatever fails after is `errand.lost`.
E2  A verdict shuts the gate first: a writer that the transport still has in hand cannot let a body go after we have said `Unsent`.
E3  The gate (A11): past `leave_by`, or past the deadline, on a clock that goes on while the machine sleeps, no body leaves.
E4  A body is given once. A transport that asks again (aiohttp repeats idempotent methods on a dead keep-alive; POST is not among them) gets
    an exception, and the first time counts.
E5  One deadline for the whole exchange: token, pool, connection, body, answer, decoding. It counts from `Bag.put`.
E6  Tokens are fetched before the request, one fetch at a time for each grant. A fetch that fails is `unsent`. A token that is held
    elsewhere is asked for at each request and never kept here: who holds it hears of a 401.
E7  Every errand is answered once, whatever is raised, unless its bag was left.

The limit: a pause between the gate and `send(2)` cannot be fenced by any client. That is what `slack` in A4 is for.

Each exchange is one asyncio task over one aiohttp connection; httpx gives the values that connectors speak, and none of its client, whose
redirects, cookies, environment proxies and netrc we would only have to switch off (`docs/decisions/transport.md`).
"""

import asyncio
import re
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from yarl import URL

from worker import __version__
from worker.core.gate import may_leave
from worker.core.outcomes import Fact
from worker.core.pace import LONGEST_THROTTLE

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # it is not there on every platform
    from asyncio import new_event_loop

T = TypeVar("T")
Guard = Callable[[str], str | None]
"""An address -> what speaks against connecting to it; None: nothing."""

Resolver = Callable[[], AbstractResolver]
"""Makes a resolver, on the loop."""

Flow = Generator[httpx.Request, httpx.Response, T]

LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes after decoding. A page of 500 tasks is below 3 MiB; what is larger is a mistake, or a compressed bomb."""

CONNECTIONS: Final = 288
"""At a time. An eighth is left for what asks for no room: tokens, the first errand of each bag. With 252 to share, one bag that stalls may
hold 126, all that a shard may have in flight; the files that a process may open, often 1024, are enough for a few such engines."""

NAMES: Final = 32
"""Host names that are looked up at a time. The system's resolver takes a thread for half a minute at worst, and the loop's own executor has
six on a small machine."""

KEEPALIVE: Final = 5.0
"""Seconds an idle connection is kept. A server that closes one just as we write costs an `InDoubt` and its quiet period, so it is short;
look and send of one submission run back to back and share it all the same."""

TOKEN_DEADLINE: Final = 10.0
"""Seconds for one token fetch. It is shared by all who wait, so it cannot be the deadline of one of them."""

TOKEN_PAUSE: Final = 1.0
"""Seconds after a failed fetch before the endpoint is asked again, unless it names a time itself."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that have no effect (RFC 9110 §9.2.1): they need no gate and leave no mark."""

PIECE: Final = 16 * 1024
"""Bytes that are decompressed at a time: at most 16 MiB at gzip's best."""

DECODED: Final = frozenset({"gzip", "deflate", "identity"})
"""Encodings whose pieces stay that small. gzip is what we ask for; twice gzip makes 1 GiB of 2 KiB in one piece."""

QUOTED: Final = re.compile(r"""\n|\\n|\bb\\*['"]|\s\\*['"]""")
"""Where a message of aiohttp goes over to quoting what it has read; it may stand in another's repr."""

OF_THE_WIRE: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""Headers that speak of the bytes on the wire; a connector gets the decoded ones."""


def boottime() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps (`CLOCK_BOOTTIME`); monotonic where there is none."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Token(Protocol):
    """A bearer token and for how many seconds it is good."""

    @property
    def value(self) -> str:
        """What goes into the header, and nowhere else."""
        ...

    @property
    def lifetime(self) -> float:
        """Seconds from the moment it was asked for."""
        ...


class Credentials(Protocol):
    """How a grant gets its token: what `upstreams.base.Credentials` is, seen from here (the two rooms do not see each other)."""

    @property
    def name(self) -> str:
        """What its token is kept under."""
        ...

    def fetch(self) -> Flow[Any]:
        """Returns a `Token`, or the `Fact` that speaks against it."""
        ...

    def held(self) -> Token | Fact | None:
        """The token, or what speaks against it, where it is held elsewhere; None where it is to be fetched, and kept here."""
        ...

    def refused(self, token: Any) -> None:
        """The upstream answered 401 to *token*, which is held elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Errand(Generic[T]):
    """One exchange. `flow` yields requests, is sent answers and returns the outcome.

    `deadline`: seconds for all of it (E5). `lost`: the outcome when it cannot be known what happened (InDoubt for a send, Unknown for a
    look). `unsent`: the outcome when it is proven that no byte of the body left. `leave_by`: the boot-time instant after which the body
    must not leave (A11); None for looks.
    """

    flow: Flow[T]
    credentials: Credentials | None
    deadline: float
    lost: Callable[[Fact], T]
    unsent: Callable[[Fact], T]
    leave_by: float | None = None


class _Closed(Exception):  # it is raised into the transport, which wraps it; nobody catches it by name
    """The gate did not let the body go."""


class _TooLarge(Exception):  # told in a fact, like any other failure
    """The answer is larger than anything we ask for."""


class Gate:
    """One errand's gate and mark (E1 to E3). Lives on the loop's thread."""

    __slots__ = ("_clock", "_leave_by", "_until", "handed", "why")

    def __init__(self, clock: Callable[[], float], deadline: float, leave_by: float | None) -> None:
        self._clock = clock
        self._until = clock() + deadline
        self._leave_by = leave_by
        self.handed = False
        self.why: Fact | None = None

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._until - self._clock()

    def pass_(self) -> None:
        """Let a body go, now, or raise. The mark is set before the first byte can be in anyone else's hands."""
        if self.why is None:
            now = self._clock()
            if not may_leave(now, self._until):
                self.why = Fact("deadline", text="passed before the body could leave")
            elif self._leave_by is not None and not may_leave(now, self._leave_by):
                self.why = Fact("gate closed", text="the lease does not cover the deadline any more")
        if self.why is not None:
            raise _Closed(str(self.why))
        self.handed = True

    def fact(self, exc: BaseException) -> Fact:
        """An exception as a fact. Where it happened gives the name; its class only shows in the text."""
        return Fact("answer lost" if self.handed else "connect", text=_told(exc))

    def verdict(self, errand: Errand[T], fact: Fact) -> T:
        """What a failure means: the gate is shut first, so that the mark cannot change any more."""
        fact = self.why or fact
        self.why = fact
        return errand.lost(fact) if self.handed else errand.unsent(fact)


class _Body(httpx.AsyncByteStream):
    """A request's body, as the transport pulls it: in one piece, through the gate, once (E1, E4)."""

    def __init__(self, gate: Gate, content: bytes) -> None:
        self._gate, self._content, self._asked = gate, content, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._asked += 1
        if self._asked == 1:
            self._gate.pass_()
            return self._content
        if self._asked == 2:
            raise StopAsyncIteration
        raise _Closed("the transport asked for a body twice")


class _Grant:
    """What is known about one grant's token."""

    __slots__ = ("failed", "fetching", "pause_until", "renew_at", "strikes", "token", "usable_until", "used")

    def __init__(self) -> None:
        self.token: Token | None = None
        self.renew_at = self.usable_until = self.pause_until = float("-inf")
        self.failed = Fact("token")
        self.fetching: asyncio.Task[Token | Fact] | None = None
        self.used = False
        self.strikes = 0


class _Tokens:
    """One token for all requests of a grant: single flight, renewed in the background before it ends, dropped on a 401 (E6)."""

    def __init__(self, converse: Callable[[Flow[Any]], Any], clock: Callable[[], float]) -> None:
        self._converse, self._clock = converse, clock
        self._grants: dict[str, _Grant] = {}

    async def get(self, credentials: Credentials) -> Token | Fact:
        grant = self._grants.setdefault(credentials.name, _Grant())
        now = self._clock()
        if grant.token is not None and now < grant.renew_at:
            return grant.token
        paused = now < grant.pause_until
        if grant.fetching is None and not paused:
            grant.fetching = asyncio.get_running_loop().create_task(self._fetch(grant, credentials))
        if grant.token is not None and now < grant.usable_until:
            return grant.token
        if grant.fetching is not None:
            return await asyncio.shield(grant.fetching)
        waits = grant.failed.retry_after is not None
        return replace(grant.failed, retry_after=grant.pause_until - now) if waits else grant.failed

    async def _fetch(self, grant: _Grant, credentials: Credentials) -> Token | Fact:
        """Never raises but when cancelled: what went wrong is a fact, for all who wait."""
        began = self._clock()
        try:
            async with asyncio.timeout(TOKEN_DEADLINE):
                got: Token | Fact = await self._converse(credentials.fetch())
        except TimeoutError:
            got = Fact("token unanswered", text=f"not within {TOKEN_DEADLINE:g} s")
        except Exception as exc:  # noqa: BLE001  # E7
            got = Fact("token unanswered", text=_told(exc))
        finally:
            grant.fetching = None
        if isinstance(got, Fact):
            grant.failed = got
            asked = TOKEN_PAUSE if got.retry_after is None else min(got.retry_after, LONGEST_THROTTLE)
            grant.pause_until = self._clock() + asked
            return got
        grant.token, grant.used = got, False
        # At 80 % of its life, or a minute before its end if that is sooner, but never in its first half: a renewal in time costs nobody a
        # wait, and a short-lived token must not be renewed at each request. The last 5 % are not used: an exchange takes its time too.
        grant.renew_at = began + max(0.5 * got.lifetime, min(0.8 * got.lifetime, got.lifetime - 60.0))
        grant.usable_until = began + 0.95 * got.lifetime
        return got

    def answered(self, credentials: Credentials, token: Token, status: int) -> None:
        """A 401 drops the token, but only if it is still the same one: the answers of a whole wave may say it.

        Two tokens in a row refused before either was ever accepted: then new ones do not help, and the endpoint is left alone for a moment.
        """
        grant = self._grants[credentials.name]
        if grant.token is not token:
            return
        if status != 401:
            grant.used, grant.strikes = True, 0
            return
        grant.strikes = 0 if grant.used else grant.strikes + 1
        grant.token = None
        if grant.strikes >= 2:
            grant.failed = Fact("token", 401, text="a fresh token was refused")
            grant.pause_until = self._clock() + TOKEN_PAUSE


class _Failed(Exception):  # carries a fact from where it is known to where the verdict is given
    """A failure that has been told already, without a token in it."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(str(fact))
        self.fact = fact


class _Connector(aiohttp.TCPConnector):
    """Connections, none of which is used again when the server has said something on it that nobody asked for.

    aiohttp would take that for the answer to the next request, and a 429 for the proof that an approval had no effect.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        for protocol, _ in self._conns.get(key, ()):
            if protocol.should_close:
                protocol.close()
        return await super()._get(key, traces)


class _Forbidden(OSError):
    """The guard refuses an address. An OSError, so that a name's other addresses are tried."""


class _Wire(httpx.AsyncBaseTransport):
    """aiohttp's connections under httpx's values. An answer comes back read to its end and decoded, and the connection is free again.

    With a *guard* each address is asked about in the moment a socket for it is made, and the socket connects to just that address: a name
    that leads elsewhere the second time is met by the same question. With *excerpt* only so many bytes of an answer are read, as they are.
    """

    def __init__(
        self,
        connections: int,
        verify: ssl.SSLContext,
        proxy: str | None,
        guard: Guard | None,
        resolver: Resolver | None,
        excerpt: int | None,
    ) -> None:
        self._connections, self._ssl, self._proxy = connections, verify, proxy
        self._guard, self._resolver, self._excerpt = guard, resolver, excerpt
        self._made: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, one answer. Raises whatever aiohttp does."""
        body = request.stream if isinstance(request.stream, _Body) else request.content or None
        url = URL(str(request.url), encoded=True)  # as the connector wrote it: yarl would turn %2E%2E in a path into ..
        try:
            async with self._session().request(
                request.method, url, headers=request.headers, data=body, allow_redirects=False, proxy=self._proxy
            ) as answer:
                content = await self._read(answer)
        except aiohttp.ClientConnectorError as exc:
            if isinstance(exc.os_error, _Forbidden):
                raise _Failed(Fact("address refused", text=str(exc.os_error))) from exc
            raise
        if "content-encoding" in answer.headers and self._excerpt is None:
            content = _decoded(answer.raw_headers, content)
        headers = [(name, value) for name, value in answer.raw_headers if name.lower() not in OF_THE_WIRE]
        return httpx.Response(answer.status, headers=headers, content=bytes(content), request=request)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytearray:
        """The body, or its beginning: then the connection is not used again."""
        content, most = bytearray(), LARGEST_ANSWER if self._excerpt is None else self._excerpt
        async for part in answer.content.iter_any():
            content += part
            if len(content) > most:
                if self._excerpt is None:
                    raise _TooLarge(f"more than {LARGEST_ANSWER} bytes")
                answer.close()
                return content[:most]
        return content

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address that the guard has nothing against."""
        family, kind, protocol, _, address = info
        if self._guard is not None and (why := self._guard(str(address[0]))):
            raise _Forbidden(why)
        return socket.socket(family, kind, protocol)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._made is not None:
            await self._made.close()

    def _session(self) -> aiohttp.ClientSession:
        """Made on the loop, when it is first used."""
        if self._made is None:
            connector = _Connector(
                limit=self._connections,
                keepalive_timeout=KEEPALIVE,
                ssl=self._ssl,
                resolver=self._resolver() if self._resolver else None,
                socket_factory=self._socket if self._guard else None,
                use_dns_cache=self._guard is None,  # who moves an endpoint is followed at once
            )
            # No cookies: one that was set for one grant would go out with the next. No environment: no proxy, no netrc. No time-outs but
            # the errand's deadline.
            self._made = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            )
        return self._made


def _decoded(headers: Sequence[tuple[bytes, bytes]], content: bytearray) -> bytearray:
    """A compressed answer, decoded piece by piece: a small one may become anything (a bomb). Raises what httpx's decoders do."""
    pieces = (bytes(content[at : at + PIECE]) for at in range(0, len(content), PIECE))
    answer = httpx.Response(200, headers=list(headers), content=pieces)
    encodings = answer.headers.get_list("content-encoding", split_commas=True)
    if len(encodings) > 1 or encodings[0].strip().lower() not in DECODED:
        raise httpx.DecodingError(f"content-encoding {', '.join(encodings)[:80]}: gzip was asked for")
    out = bytearray()
    for part in answer.iter_bytes():
        out += part
        if len(out) > LARGEST_ANSWER:
            raise _TooLarge(f"more than {LARGEST_ANSWER} bytes")
    return out


class Engine:
    """One event loop in one daemon thread, one pool of connections, one TLS context, one cache of tokens.

    `connections`: at most so many at a time, all upstreams together. `verify`: a TLS context with roots of one's own. `proxy`: used for
    everything, and only if given; the environment is never asked. `guard`: asked about each address before it is connected to; `resolver`:
    one's own, made on the loop; `excerpt`: bytes of an answer that are read, the rest is left. `transport`: one's own instead of aiohttp's,
    as long as it pulls each body from the request's stream and never repeats one.
    """

    def __init__(
        self,
        *,
        connections: int = CONNECTIONS,
        clock: Callable[[], float] = boottime,
        verify: ssl.SSLContext | None = None,
        proxy: str | None = None,
        guard: Guard | None = None,
        resolver: Resolver | None = None,
        excerpt: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.clock = clock
        self.closed = False
        self.loop = new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(NAMES, "names"))
        self._connections = connections
        self._ssl = verify or httpx.create_ssl_context()  # once: loading the roots costs 19 ms
        self._transport = transport or _Wire(connections, self._ssl, proxy, guard, resolver, excerpt)
        self._tokens = _Tokens(lambda flow: _converse(flow, self._exchange), clock)
        self._bags: weakref.WeakSet[Bag] = weakref.WeakSet()
        self._shared = connections - connections // 8
        self._inside, self._counting = 0, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Engine(connections={self._connections}, closed={self.closed})"

    def bag(self) -> "Bag":
        """A new bag, for one flow."""
        bag = Bag(self)
        self._bags.add(bag)
        return bag

    def count(self, more: int) -> None:
        """So many more are in flight, all bags together."""
        with self._counting:
            self._inside += more

    def free(self) -> int:
        """Connections that nobody holds, of those that are shared."""
        return self._shared - self._inside

    def close(self) -> None:
        """End everything. What is still in flight is answered by E1, so that nobody waits for ever; then the connections are closed."""
        if self.closed:
            return
        self.closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        for bag in list(self._bags):
            bag.start()  # answers what was put while we closed

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _end(self) -> None:
        while running := asyncio.all_tasks() - {asyncio.current_task()}:  # what is cancelled may start something to tidy up
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        await self._transport.aclose()
        await self.loop.shutdown_asyncgens()
        await self.loop.shutdown_default_executor()

    async def drive(self, errand: Errand[T], gate: Gate, left: Callable[[], bool]) -> T:
        """Carry one errand through, and translate whatever is raised (E1, E7). *left*: whether nobody waits for the answer any more."""
        exchange = partial(self._exchange, gate=gate)
        if errand.credentials is not None:
            exchange = partial(self._authorised, gate=gate, credentials=errand.credentials)
        limit = asyncio.timeout(gate.left())
        try:
            async with limit:
                return await _converse(errand.flow, exchange)
        except asyncio.CancelledError:
            if left():
                raise
            return gate.verdict(errand, Fact("cancelled"))
        except _Failed as exc:
            return gate.verdict(errand, exc.fact)
        except Exception as exc:  # noqa: BLE001  # E7: the class says nothing, the mark does
            return gate.verdict(errand, Fact("deadline") if limit.expired() else gate.fact(exc))
        finally:
            errand.flow.close()

    async def _authorised(self, request: httpx.Request, gate: Gate, credentials: Credentials) -> httpx.Response:
        """One exchange with the grant's token in the header (E6)."""
        held = credentials.held()
        token = await self._tokens.get(credentials) if held is None else held
        if isinstance(token, Fact):
            raise _Failed(token)
        request.headers["authorization"] = f"Bearer {token.value}"
        try:
            answer = await self._exchange(request, gate)
        except Exception as exc:  # noqa: BLE001  # E7
            # A library may quote the header that it dislikes.
            fact = gate.fact(exc)
            raise _Failed(replace(fact, text=fact.text and fact.text.replace(token.value, "…"))) from None
        if held is None:
            self._tokens.answered(credentials, token, answer.status_code)
        elif answer.status_code == 401:
            credentials.refused(token)
        return answer if answer.is_success else _blotted(answer, token.value)

    async def _exchange(self, request: httpx.Request, gate: Gate | None = None) -> httpx.Response:
        """One request, one answer, read to its end. Nothing here or below repeats it, follows it elsewhere or adds to it."""
        request.headers.setdefault("user-agent", f"approval-worker/{__version__}")
        request.headers.setdefault("accept-encoding", "gzip")
        if gate is not None and request.method not in SAFE:
            if request.content:
                # Another request, without the content: no transport can have it but through the gate. Content-Length stands in the headers
                # already: nothing is chunked.
                request = httpx.Request(request.method, request.url, headers=request.headers, stream=_Body(gate, request.content))
            else:
                gate.pass_()  # no body to wait for: from here on it may have happened
        return await self._transport.handle_async_request(request)


def _blotted(answer: httpx.Response, secret: str) -> httpx.Response:
    """*answer* without *secret*: some gateways quote the token that they refuse, and what an answer says goes into reasons and events."""
    if secret.encode() not in answer.content:
        return answer
    headers = httpx.Headers([(n, v) for n, v in answer.headers.multi_items() if n not in {"content-encoding", "content-length"}])
    body = answer.content.replace(secret.encode(), "…".encode())
    return httpx.Response(answer.status_code, headers=headers, content=body)


async def _converse(flow: Flow[T], exchange: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> T:
    """Hand the answers of *exchange* to *flow* until it returns."""
    answer: httpx.Response | None = None
    while True:
        try:
            request = next(flow) if answer is None else flow.send(answer)
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        answer = await exchange(request)


def _told(exc: BaseException) -> str:
    """What an exception says and where it was raised, because a connector's bug shows nowhere else. Without what aiohttp quotes: the piece
    of an answer that it cannot parse may be a token or a task, a proxy's address may hold its password.
    """
    text = str(exc)
    if type(exc).__module__.startswith("aiohttp."):
        text = f"{exc.status}, {exc.message}" if isinstance(exc, aiohttp.ClientResponseError) else text
        text = QUOTED.split(text, maxsplit=1)[0]
    trace, place = exc.__traceback__, ""
    while trace is not None:
        place = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
        trace = trace.tb_next
    said = f"{type(exc).__name__}: {text}"[:250].replace("\x00", "\ufffd")  # neither NUL nor half a surrogate pair: no ledger holds them
    return said.encode("utf-8", "replace").decode("utf-8") + place


class Bag:
    """Questions go in, answers come out in waves. For one thread.

    `with engine.bag() as bag`: whoever leaves the block leaves what is still running. It is cancelled and not answered, and once the block
    is left no body leaves any more.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._new: deque[tuple[Hashable, Errand[Any], Gate]] = deque()
        self._out: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        self._running: dict[asyncio.Task[None], Gate] = {}
        self._inside = 0
        self._woken = False
        self._left = False

    def __len__(self) -> int:
        """How many are in flight, or answered and not yet taken."""
        return self._inside

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._left = True
        self._engine.count(-self._inside)
        self._inside = 0
        done = threading.Event()
        if self._on_loop(self._abandon, done):
            while not done.wait(1.0) and not self._engine.closed:
                pass

    def room(self, most: int) -> int:
        """How many more may be put now, of *most* in all. A bag holds no more than it leaves free for the others: whoever stalls delays
        them by no more than that share, and one errand each may always be on its way.
        """
        share = (self._engine.free() - self._inside) // 2
        return max(0, min(most - self._inside, share if self._inside else max(1, share)))

    def put(self, tag: Hashable, errand: Errand[Any]) -> None:
        """Start an errand; its answer comes out with *tag*. Its deadline counts from now."""
        self._inside += 1
        self._engine.count(1)
        self._new.append((tag, errand, Gate(self._engine.clock, errand.deadline, errand.leave_by)))
        if not self._woken:  # one wake-up of the loop for a whole row of puts
            self._woken = True
            if not self._on_loop(self.start):
                self.start()

    def take(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        """Wait for one answer, at most *timeout* seconds, and return all there are. Nothing in flight: an empty list, at once."""
        wave: list[tuple[Any, Any]] = []
        try:
            if self._inside:
                wave.append(self._out.get(timeout=timeout))
            while len(wave) < self._inside:
                wave.append(self._out.get_nowait())
        except Empty:
            pass  # no more are ready
        self._inside -= len(wave)
        self._engine.count(-len(wave))
        return wave

    def start(self) -> None:
        """What `put` asks of the loop's thread. After the engine has closed it only answers."""
        self._woken = False  # before the deque is emptied: who puts later wakes us again
        while self._new:
            tag, errand, gate = self._new.popleft()
            if self._engine.closed:
                self._out.put((tag, gate.verdict(errand, Fact("engine closed"))))
            elif not self._left:
                task = self._engine.loop.create_task(self._carry(tag, errand, gate))
                self._running[task] = gate
                task.add_done_callback(self._running.pop)

    async def _carry(self, tag: Hashable, errand: Errand[Any], gate: Gate) -> None:
        self._out.put((tag, await self._engine.drive(errand, gate, lambda: self._left)))

    def _abandon(self, done: threading.Event) -> None:
        for task, gate in self._running.items():
            gate.why = Fact("cancelled")
            task.cancel()
        done.set()

    def _on_loop(self, call: Callable[..., object], *args: object) -> bool:
        """Whether the loop still takes calls; it does not once the engine is closed."""
        try:
            self._engine.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True
