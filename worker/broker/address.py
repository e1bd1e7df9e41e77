"""Where the broker is, of which kind, and how long each wait for it may be."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

VISIBILITY = 60.0
"""Seconds after which a broker without connections of its own kind (Redis) takes a message for lost that was handed out and not answered
for. Whoever still works on it says so in time."""


def is_amqp(url: str) -> bool:
    """RabbitMQ: it confirms what it took."""
    return url.startswith(("amqp://", "amqps://"))


def is_redis(url: str) -> bool:
    """Redis: a publish that returns is in its memory."""
    return url.startswith(("redis://", "rediss://"))


def address(url: str) -> str:
    """*url* as kombu and Celery are to be given it: they warn of `memory://` without a host, and verify no certificate of a `rediss://`
    that does not ask for it.
    """
    if url == "memory://":
        return "memory://localhost//"
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        return parts._replace(query="&".join(filter(None, (parts.query, "ssl_cert_reqs=required")))).geturl()
    return str(url)


def transport_options(url: str, *, patience: float = 10.0) -> dict[str, Any]:
    """For Celery: what keeps each of kombu's transports from waiting without an end."""
    if is_amqp(url):
        return {"read_timeout": patience, "write_timeout": patience}
    if is_redis(url):
        return {
            # Rings are acknowledged before they are heard: no notes of what is handed out, and so no visibility time-out, of which the
            # shortest of all programs on a database would hold.
            "ack_emulation": False,
            "socket_timeout": patience / 2,  # must be longer than the wait of a BRPOP, which is 1 s
            "socket_connect_timeout": patience / 2,
            "socket_keepalive": True,
            "health_check_interval": 5,  # a BRPOP without an answer is given up after 6 to 11 s
        }
    return {"polling_interval": 0.01}  # kombu's default of 1 s gives 31 messages a second
