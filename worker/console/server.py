"""The console as a process, or as a thread of `up`: who may come in, what is told of it, and how it ends.

The failure: an HTTP port that submits approvals for whoever finds it. So there is none without a token in the settings; a token is compared
in constant time; neither it nor a body reaches a log. It speaks plain HTTP: whoever is not on this machine belongs behind a proxy that
speaks TLS.

The limits: a head must come within `IDLE` seconds, a body within `api.BODY_WITHIN` and `intake.max_bytes`. Connections are not counted:
that is the proxy's work.
"""

import asyncio
import hashlib
import hmac
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import structlog
from aiohttp import web

from worker import bootstrap, telemetry
from worker.console.api import BODY_WITHIN, Api, answer, problem
from worker.flows import Runtime
from worker.health import Heart, place
from worker.settings import Settings
from worker.wire import Door

log = structlog.get_logger("worker.console")

IDLE = 30.0
"""Seconds for a whole head to come, from the connection or from the last answer on. Longer than a proxy keeps its connections."""

COMING_HOME = 15.0
"""Seconds that requests may take to end when the process is asked to: an acceptance that asks the upstream takes 5."""

OPEN = "/healthz"
"""What is answered without a token: whether the process answers at all."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tokens:
    """The tokens of the settings, as digests: comparing them tells neither their lengths nor their beginnings."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._known = [self._digest(token) for token in tokens]

    def opens(self, header: str) -> bool:
        """Whether an `Authorization` header brings one of them."""
        scheme, _, given = header.partition(" ")
        digest = self._digest(given.strip())
        found = [hmac.compare_digest(digest, known) for known in self._known]  # every one, whichever fits
        return scheme.lower() == "bearer" and any(found)

    @staticmethod
    def _digest(token: str) -> bytes:
        return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def application(api: Api, tokens: Tokens, max_bytes: int) -> web.Application:
    """The routes behind the door."""

    @web.middleware
    async def told(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """A line for each request, and an answer in our form, whatever happens."""
        begun = monotonic()
        try:
            response = await handler(request)
        except web.HTTPException as exc:  # no such path, no such method
            headers = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else None
            response = problem(exc.status, exc.reason, headers=headers)
        except Exception as exc:
            log.exception("console.broken")
            telemetry.report(exc)
            response = problem(500, "a fault of ours: it is in the log")
        route = request.match_info.route.resource
        log.info(
            "console.request",
            method=request.method,
            route=route.canonical if route else "",
            status=response.status,
            ms=round(1000 * (monotonic() - begun), 1),
            peer=request.remote,
        )
        return response

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Nobody learns what there is without a token."""
        header = request.headers.get("Authorization", "")
        if request.path == OPEN or tokens.opens(header):
            return await handler(request)
        challenge = 'Bearer realm="approvals"' + (', error="invalid_token"' if header else "")
        what = "this token opens nothing" if header else "send `Authorization: Bearer TOKEN`"
        return problem(401, f"{what}: see console.tokens in the settings", headers={"WWW-Authenticate": challenge})

    async def alive(_: web.Request) -> web.Response:
        return answer(200, {"ok": True})

    async def nameless(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "approvals"

    app = web.Application(middlewares=[told, guarded], client_max_size=max_bytes)
    app.on_response_prepare.append(nameless)
    app.add_routes([web.get(OPEN, alive), *api.routes()])
    return app


def _listening(addresses: Sequence[str]) -> None:
    log.info("console.started", addresses=addresses)


def serve(
    settings: Settings,
    rt: Runtime,
    stop: threading.Event,
    *,
    listening: Callable[[Sequence[str]], None] = _listening,
    idle: float = IDLE,
    body_within: float = BODY_WITHIN,
) -> None:
    """Answer until *stop*; what is at work comes home first. *listening* is told where. Raises OSError where nothing can be had."""
    api = Api(rt, Door(settings.namespace, settings.intake.max_bytes), body_within=body_within)
    with asyncio.Runner() as runner:
        runner.run(_serve(settings, api, stop, listening, idle))


async def _serve(settings: Settings, api: Api, stop: threading.Event, listening: Callable[[Sequence[str]], None], idle: float) -> None:
    tokens = Tokens(tuple(token.get_secret_value() for token in settings.console.tokens))
    host, _, port = settings.console.bind.rpartition(":")
    runner = web.AppRunner(
        application(api, tokens, settings.intake.max_bytes),
        access_log=None,
        shutdown_timeout=COMING_HOME,
        keepalive_timeout=idle,
        auto_decompress=False,  # a small body may be a large one inside: compressed ones are refused
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        listening([f"{address[0]}:{address[1]}" for address in runner.addresses])
        await asyncio.to_thread(stop.wait)
    finally:
        await runner.cleanup()
        api.close()


def run(settings: Settings) -> None:
    """The process: until SIGTERM or SIGINT. Raises OSError as `serve`, and what `bootstrap.runtime` raises."""
    telemetry.configure(settings, "console")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    rt = bootstrap.runtime(settings)
    heart = Heart(place(settings), "console")
    heart.start()
    try:
        serve(settings, rt, stop)
    finally:
        heart.stop()
        bootstrap.close(rt)
        telemetry.flush()
