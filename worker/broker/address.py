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


def transport_options(url: str, namespace: str, *, patience: float = 10.0, visibility: float = VISIBILITY) -> dict[str, Any]:
    """For Celery: what keeps each of kombu's transports from waiting without an end, and apart from other programs on one broker."""
    if is_amqp(url):
        return {"read_timeout": patience, "write_timeout": patience}
    if is_redis(url):
        return {
            # kombu gives every program on a database the same keys for what is handed out, and the shortest visibility time-out of them
            # all wins. With keys of our own, ours does.
            "unacked_key": f"{namespace}.rings.unacked",
            "unacked_index_key": f"{namespace}.rings.unacked_index",
            "unacked_mutex_key": f"{namespace}.rings.unacked_mutex",
            "unacked_mutex_expire": 30,  # a worker killed with the mutex in hand holds up redelivery so long; by default 5 minutes
            "visibility_timeout": visibility,
            "unacked_restore_interval": 5,  # by default a killed worker's messages come back after 90 s
            "unacked_restore_throttle": 1,
            "socket_timeout": patience,  # must be longer than the wait of a BRPOP, which is 1 s
            "socket_connect_timeout": patience / 2,
            "socket_keepalive": True,
            "health_check_interval": 10,  # a connection that a firewall dropped without a word is found after two of them
        }
    return {"polling_interval": 0.01}  # kombu's default of 1 s gives 31 messages a second
