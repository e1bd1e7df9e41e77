"""A receiver of webhooks that knows nothing of ours: a plain HTTP server, PyPI `standardwebhooks` and the `cloudevents` SDK."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

Answer = tuple[int, Mapping[str, str], bytes]
FINE: Answer = (204, {}, b"")


@dataclass
class Call:
    """One request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        """As the `cloudevents` SDK reads it."""
        return from_http_event(HTTPMessage(dict(self.headers), self.body))

    def signed_by(self, secret: str) -> dict:
        """The body, where the signature is good; raises `WebhookVerificationError`."""
        return dict(Webhook(secret).verify(self.body, dict(self.headers)))


@dataclass
class Receiver:
    """`answer`: what it says to a call. `calls`: all that came, in their order."""

    url: str = ""
    answer: Callable[[Call], Answer] = lambda _: FINE
    calls: list[Call] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def stall(self, _: Call) -> Answer:
        """An `answer` that does not come before the end."""
        self.over.wait(60)
        return FINE

    def told(self, task: str) -> list[str]:
        """The types of the events about *task*, repeats included."""
        return [c.event.get_type() for c in self.calls if c.event.get_subject() == task]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            call = Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            receiver.calls.append(call)
            status, headers, content = receiver.answer(call)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

        def handle(self):
            try:
                super().handle()
            except OSError:
                pass  # whoever called has gone

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
