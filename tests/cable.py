"""A cable between a client and its server that can be cut, and go silent: what a network does, without stopping a server others share."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class Cable:
    """Between a client and the server at *url*; `url` is its own end. Leaving it cuts it for good."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._to = parts.hostname, parts.port or {"amqp": 5672}.get(parts.scheme, 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(parts.netloc.rpartition("@")[2], f"127.0.0.1:{self._listener.getsockname()[1]}")
        self._passing = threading.Event()
        self._passing.set()
        self._ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(self._to)
                self._ends += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        with suppress(OSError):
            while data := a.recv(65536):
                self._passing.wait()
                b.sendall(data)

    def freeze(self):
        self._passing.clear()

    def thaw(self):
        self._passing.set()

    def cut(self):
        """Every connection there is."""
        while self._ends:
            end = self._ends.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def break_(self):
        """For good."""
        self.thaw()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # whoever waits in accept would keep it open
        self._listener.close()
        self.cut()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.break_()
