"""`POST /api/submissions` and `GET /api/submissions/ID`: the same door as intake's, with the answer in hand; `GET /api/sinks`.

    POST   202 accepted, 200 the same key and content stand already, 409 the key was used with other content
           400 no JSON, 413 too large, 415 another kind of content, 422 no command, or none of these accounts
    GET    200 the JSON of `approvals show --json`, 404 nothing of that id or key
    all    401 no token of ours, 503 the ledger is away or too many wait: again after `Retry-After`, with the same key

Errors are problem details (RFC 9457): `detail` names all that is wrong. The key is in the body or, where the body has none, in the header
`Idempotency-Key`; never made up here, because a retry would make up another one.

The limit: 202 says that it is written down, not that it takes effect. What comes of it is told by events and by GET.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import web

from worker.broker import Incoming
from worker.core.command import Command
from worker.core.delivery import in_words
from worker.errors import LedgerDown
from worker.flows import Runtime
from worker.flows.accept import Accepted, Conflict, Existing, Outcome, Rejected, accept
from worker.ledger.story import read, standstill, whole
from worker.wire import Door, Refused, parse

T = TypeVar("T")

THREADS = 8
"""Flows at a time. Each takes some milliseconds, and up to 5 s where the upstream is asked for the steps."""

MOST = 64
"""Requests at work or waiting for a thread; whoever comes then is told to come again. Beyond this they would only wait longer."""

BODY_WITHIN = 10.0
"""Seconds for a body to come in."""

LONGEST_NAME = 255
"""Characters of an id or a key."""

_STATUS = {"type": 415, "size": 413, "syntax": 400, "content": 422}


class Api:
    """The handlers. Of one event loop; the flows run in threads."""

    def __init__(self, rt: Runtime, door: Door, *, body_within: float = BODY_WITHIN, clock: Callable[[], float] = time.time) -> None:
        self._rt, self._door, self._clock, self._body_within = rt, door, clock, body_within
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="console")
        self._at_work = 0

    def routes(self) -> list[web.AbstractRouteDef]:
        """What is served."""
        return [
            web.post("/api/submissions", self.submit),
            web.get("/api/submissions/{name:.+}", self.show),
            web.get("/api/sinks", self.sinks),
        ]

    def close(self) -> None:
        """Wait for the flows that are at work."""
        self._pool.shutdown()

    async def submit(self, request: web.Request) -> web.Response:
        """One command in."""
        properties = {"content_type": request.headers.get("Content-Type"), "content_encoding": request.headers.get("Content-Encoding")}
        if (request.content_length or 0) > self._door.max_bytes:
            return problem(413, f"{request.content_length} bytes are too many: at most {self._door.max_bytes} (intake.max_bytes)")
        try:
            async with asyncio.timeout(self._body_within):
                body = await request.read()
        except TimeoutError:
            return problem(408, f"the body did not come within {self._body_within:g} s")
        except web.HTTPRequestEntityTooLarge:
            return problem(413, f"too many bytes: at most {self._door.max_bytes} (intake.max_bytes)")
        key = request.headers.get("Idempotency-Key")
        if key is not None and len(key) > 1 and key[0] == key[-1] == '"':  # a string of RFC 8941, as the header's draft has it
            key = key[1:-1]
        found = parse(Incoming(body, {}, properties), self._door, self._clock(), key)
        if isinstance(found, Refused):
            return problem(_STATUS[found.what], found.reason)
        return await self._run(lambda: self._accepted(found))

    async def show(self, request: web.Request) -> web.Response:
        """One submission with its whole story. `?account=` where a key stands in several."""
        name, account = request.match_info["name"], request.query.get("account")
        if len(name) > LONGEST_NAME or not name.isprintable() or not (account or "a").isprintable():
            return problem(404, "there is no submission with that id or key")
        return await self._run(lambda: self._shown(name, account))

    async def sinks(self, _: web.Request) -> web.Response:
        """Every configured way out for events: its state in words, and how many deliveries are due, delivered, unbound, dead."""
        return await self._run(self._ways_out)

    def _ways_out(self) -> web.Response:
        ledger = self._rt.ledger
        counts, standings, now = ledger.queries.deliveries(), ledger.outbox.standings(), ledger.queries.now()
        of = {name: {left: n for sink, left, n in counts if sink == name} for name in self._rt.sinks}
        zero = {"due": 0, "delivered": 0, "unbound": 0, "dead": 0}
        return answer(200, {"sinks": [{"name": n, "state": in_words(standings.get(n), now), **zero, **of[n]} for n in sorted(of)]})

    def _accepted(self, command: Command) -> web.Response:
        outcome: Outcome = accept(self._rt, [command])[0]
        match outcome:
            case Accepted(id_, key, state):
                return _standing(202, id_, key, state)
            case Existing(id_, key, state):
                return _standing(200, id_, key, state)
            case Conflict(id_, key, reason):
                return problem(409, reason, id=id_, key=key, url=_url(id_))
            case Rejected(reason):
                return problem(422, reason)

    def _shown(self, name: str, account: str | None) -> web.Response:
        queries = self._rt.ledger.queries
        found = queries.find(name, account)
        if not found:
            return problem(404, f"there is no submission with the id or key {name!r}")
        if len(found) > 1:
            where = {s.account: _url(s.id) for s in found}
            return problem(400, f"{name!r} is a key of several accounts: add ?account=, or ask by id", urls=where)
        held = standstill(self._rt.ledger, {name for name, account in self._rt.accounts.items() if account.rules.hold})
        return answer(200, whole(read(queries, found[0]), held(found[0].account)))

    async def _run(self, work: Callable[[], T]) -> T | web.Response:
        if self._at_work >= MOST:
            return problem(503, f"{MOST} requests are at work: try again", headers={"Retry-After": "1"})
        self._at_work += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except LedgerDown:
            detail = "the ledger is away, and it is not known whether this was written: try again, with the same key"
            return problem(503, detail, headers={"Retry-After": "5"})
        finally:
            self._at_work -= 1


def answer(status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None, kind: str = "application/json") -> web.Response:
    """JSON, for one reader at one moment."""
    body = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
    return web.Response(status=status, body=body, content_type=kind, headers={"Cache-Control": "no-store", **(headers or {})})


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> web.Response:
    """Problem details (RFC 9457)."""
    title = web.Response(status=status).reason
    return answer(status, {"title": title, "status": status, "detail": detail, **more}, headers, "application/problem+json")


def _standing(status: int, id_: str, key: str, state: str) -> web.Response:
    return answer(status, {"id": id_, "key": key, "state": state, "url": _url(id_)}, {"Location": _url(id_)})


def _url(id_: str) -> str:
    return f"/api/submissions/{id_}"
