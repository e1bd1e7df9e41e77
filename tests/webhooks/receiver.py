"""Five endpoints in one process of their own: one takes everything, one answers 500, one never answers, one asks for patience for a while,
one is gone. They know nothing of ours: PyPI `standardwebhooks` verifies, the `cloudevents` SDK reads.

    python -m tests.webhooks.receiver OLD_SECRET NEW_SECRET BUSY_SECONDS RETRY_AFTER

Prints its port; `GET /report` tells each call as [path, when it came, event id, subject, sequence, type, when it was told], and how many
were refused for their signature. It knows the old secret, and after `GET /change` the new one.
"""

import asyncio
import json
import sys
import time
from typing import Any

from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

ENDPOINTS = ("healthy", "failing", "stalling", "busy", "gone")


async def serve(old: str, new: str, busy: float, retry_after: str) -> None:
    """Until it is killed."""
    calls: list[list[Any]] = []
    verifiers = [Webhook(new), Webhook(old)]
    refused: list[str] = []
    began: list[float] = []

    async def called(request: web.Request) -> web.Response:
        now, path = time.time(), request.match_info["path"]
        body = await request.read()
        try:
            verifiers[-1].verify(body, dict(request.headers))
        except WebhookVerificationError:
            refused.append(path)
            return web.Response(status=401)
        event = from_http_event(HTTPMessage({k.lower(): v for k, v in request.headers.items()}, body))
        told = event.get_time()
        assert told is not None
        sequence = int(str(event.get_extension("sequence") or 0))
        calls.append([path, now, event.get_id(), event.get_subject(), sequence, event.get_type(), told.timestamp()])
        match path:
            case "failing":
                return web.Response(status=500, text="no")
            case "stalling":
                await asyncio.sleep(3600)
            case "busy":
                began.append(now)
                if now - began[0] < busy:
                    return web.Response(status=429, headers={"retry-after": retry_after})
            case "gone":
                return web.Response(status=410)
        return web.Response(status=204)

    async def report(_: web.Request) -> web.Response:
        return web.json_response({"calls": calls, "refused": len(refused)})

    async def change(_: web.Request) -> web.Response:
        verifiers.pop()
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/{path}", called), web.get("/report", report), web.get("/change", change)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    sys.stdout.write(json.dumps(runner.addresses[0][1]) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
