"""The loopback end of a consent (RFC 8252 §7.3): one address on this machine that the browser is sent back to, and the page it gets.

Anybody's web page can make a browser call 127.0.0.1, so an answer to another question is turned away and the right one still waited for.
The page is told only when all is done: it says how it ended, not that something arrived.
"""

import html
import queue
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

PATH: Final = "/callback"

IDLE: Final = 10.0
"""Seconds that a connection may say nothing: browsers open some in advance."""

ANSWERED_WITHIN: Final = 60.0
"""Seconds that the browser waits for its page, while the code is exchanged."""


def redirect(port: int) -> str:
    """The address that the app has to know."""
    return f"http://127.0.0.1:{port}{PATH}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a login ended, as its page tells it. `well`: whether something was stored."""

    well: bool
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Back:
    """A browser that came back with this query, and waits for its page."""

    query: Mapping[str, str]
    page: "queue.SimpleQueue[bytes]" = field(default_factory=queue.SimpleQueue, repr=False)
    written: threading.Event = field(default_factory=threading.Event, repr=False)

    def show(self, ended: Ended) -> None:
        """Send the page, and wait until it has left: the process may end after this."""
        self.page.put(page(ended))
        self.written.wait(IDLE)


class Loopback:
    """Listens on 127.0.0.1 from the moment it is made. Raises OSError where the port cannot be had."""

    def __init__(self, port: int) -> None:
        arrivals: queue.SimpleQueue[Back] = queue.SimpleQueue()

        class Handler(_Handler):
            back = arrivals

        self._arrivals = arrivals
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def wait(self, state: str, within: float) -> Back | None:
        """The browser that brings *state*; whoever called must show it a page. None: nobody came back in time."""
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            try:
                back = self._arrivals.get(timeout=left)
            except queue.Empty:
                break
            if secrets.compare_digest(back.query.get("state", "").encode(), state.encode()):
                return back
            back.show(STRANGER)
        return None

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


STRANGER: Final = Ended(
    False, "This is another login's answer", ("It was begun elsewhere, or earlier. The terminal still waits for its own.",)
)
FAILED: Final = Ended(False, "Not logged in", ("The terminal says why.",))


class _Handler(BaseHTTPRequestHandler):
    """One GET; everything else is not found."""

    back: "queue.SimpleQueue[Back]"
    timeout = IDLE

    def do_GET(self) -> None:  # the library's name
        """The way back, or whatever browsers ask for besides."""
        parts = urlsplit(self.path)
        if parts.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        back = Back(dict(parse_qsl(parts.query, keep_blank_values=True)))
        self.back.put(back)
        try:
            body = back.page.get(timeout=ANSWERED_WITHIN)
        except queue.Empty:
            body = page(FAILED)
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        back.written.set()

    def log_message(self, *_: Any) -> None:
        """Nothing: the request's line holds the code."""


HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the page's address holds the code
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; font-weight: 600; margin: 0 0 .75rem; padding-left: .8rem; border-left: .35rem solid {colour}; }}
p {{ margin: 0 0 .6rem; padding-left: 1.15rem; overflow-wrap: anywhere; }}
footer {{ margin-top: 2rem; padding-left: 1.15rem; opacity: .65; font-size: .9rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{lines}
</main>
<footer>approvals login &middot; you can close this window</footer>
</body>
</html>
"""


def page(ended: Ended) -> bytes:
    """How it ended, for whoever looks at the browser and not at the terminal. Nothing in it comes from elsewhere."""
    lines = "\n".join(f"<p>{html.escape(line)}</p>" for line in ended.lines)
    return _PAGE.format(title=html.escape(ended.title), colour="#1a7f37" if ended.well else "#cf222e", lines=lines).encode()
