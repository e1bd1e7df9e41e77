"""Submit approvals and listen to events, from any Python program.

This file imports kombu and the standard library and nothing else, so it may be copied into a program that shall not install
approval-worker (`pip install kombu`, or `kombu[redis]`). Python 3.11 or later.

    approvals = Approvals("amqp://guest:guest@127.0.0.1:5672//")
    approvals.submit(account="finance", as_="jane", task="VGFzax41…", pin="WzEsIjY3…", action="approve", key="po-4711/2")

    for event in approvals.events("*.finance.step.*", queue="erp.approvals"):
        handle(event)  # acknowledged when the loop goes on to the next one

The failures. A publish to a queue that is not there is dropped without a word; one to a frozen broker hangs, or says "sent"; and a command
whose publish failed may have arrived all the same. So `submit` asks for a confirm, waits for it no longer than its time-out, and says which
it was: `NoSuchQueue` and `NotConnected`, nothing was submitted; or `NotConfirmed`, nobody knows. Submitting again **with the same key** is
right in each case: it is the same submission, and takes effect once.

The limits. A confirm says that the command is in the queue, not that it was accepted: what came of it is told by events (`submission.*`,
`command.rejected`). On Redis and in memory there are no confirms: a publish that returns is stored; a queue is made by the first message to
it, so that a misspelt namespace is not noticed; and what one listener gives back comes again to every other one that it matches. On Redis a
listener that is killed in the moment between taking an event and noting that it was taken loses it: kombu does that in two steps. Events
come at least once: drop doubles by `id`.
"""

import json
import logging
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Self

from kombu import Connection, Consumer, Exchange, Producer, Queue, binding
from kombu.exceptions import OperationalError

__all__ = ["Approvals", "ClientError", "Events", "NoSuchQueue", "NotConfirmed", "NotConnected"]

LONGEST_PAUSE = 10.0
"""Seconds between two tries of a listener to reach a broker that is away."""

AHEAD = 20
"""Events that a listener holds besides the one in hand. They go back to the queue when it ends."""

VISIBILITY = 600.0
"""Seconds that the handling of one event may take on Redis; then it is handed out again."""

LOST: tuple[type[Exception], ...] = (OSError, OperationalError, AttributeError, struct.error)
"""What a connection that is of no use looks like, besides what the transport has of its own. py-amqp answers one that was closed under it
with AttributeError now and then, and a cut frame with struct.error."""

log = logging.getLogger("approvals.client")


class ClientError(Exception):
    """The root of what is raised here for the broker's sake. What the caller did wrong is a ValueError or a TypeError."""


class NoSuchQueue(ClientError):
    """There is no intake, or the namespace is another one: nothing was submitted."""


class NotConfirmed(ClientError):
    """The broker did not confirm in time: the command may have arrived or not. Submit it again with the same key."""


class NotConnected(ClientError):
    """The broker cannot be reached, or does not let us in: nothing was submitted."""


class Approvals:
    """The door to the approval workers of *namespace*. Nothing is connected before it is used; threads may share one.

    *timeout*: seconds that a `submit` may take, lost connections included. It is kept by time-outs on each wait, so that a call can take
    half as long again.
    """

    def __init__(self, url: str, namespace: str = "approvals", *, timeout: float = 10.0) -> None:
        if not url.startswith(("amqp://", "amqps://", "redis://", "rediss://", "memory://")):
            raise ValueError("the broker's url must begin with amqp://, amqps://, redis://, rediss:// or memory://")
        self._url, self._timeout = url, timeout
        self._commands, self._exchange = f"{namespace}.commands", f"{namespace}.events"
        self._lock = threading.Lock()
        self._link: _Link | None = None

    def submit(
        self,
        *,
        account: str,
        task: str,
        action: str,
        key: str | None = None,
        as_: str | None = None,
        pin: str | None = None,
        step: int | None = None,
        response: str | None = None,
        state: str | None = None,
        fields: Mapping[str, str | float | bool | Sequence[str] | None] | None = None,
        comment: str | None = None,
        issued_at: datetime | str | None = None,
        not_before: datetime | str | None = None,
        not_after: datetime | str | None = None,
        wait_for_turn: bool = False,
        requested_by: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Publish one decision; its key. Raises NoSuchQueue, NotConnected, NotConfirmed; ValueError for what no intake would accept.

        *key* is your own name for the decision, for example `"po-4711/2"`; none is made up here: a retry would make up another one.
        *response* is the label or the id of one of the upstream's own responses, where it has such; *state* where a transition leads, and
        *fields* what that asks for. *issued_at* is when it was decided, else now: give it where you submit later than that, or again. Times
        are aware datetimes, or texts with an offset.
        """
        if not key:
            raise ValueError(
                "key: name the decision by something of yours that a retry has again, such as 'po-4711/2': the same key takes effect once"
            )
        for name, text in {"key": key, "account": account, "task": task, "action": action}.items():
            if not text.strip():
                raise ValueError(f"{name}: must say something")
        if step is not None and step < 1:
            raise ValueError("step: must be a number from 1")
        command = {
            "key": key,
            "account": account,
            "as": as_,
            "task": task,
            "action": action,
            "pin": pin,
            "step": step,
            "response": response,
            "state": state,
            "fields": dict(fields or {}),
            "comment": comment,
            "issued_at": _time("issued_at", issued_at or datetime.now(UTC)),
            "not_before": _time("not_before", not_before),
            "not_after": _time("not_after", not_after),
            "wait_for_turn": wait_for_turn,
            "requested_by": requested_by,
            "labels": dict(labels or {}),
        }
        body = json.dumps({name: value for name, value in command.items() if value is not None}, ensure_ascii=False, allow_nan=False)
        with self._lock:
            self._publish(body.encode(), key)
        return key

    def events(self, *patterns: str, queue: str | None = None, idle: float | None = None) -> "Events":
        """The events whose routing keys (`<upstream>.<account>.<type>`) match one of *patterns*, as CloudEvents; without one, all.

        *queue*: the name of a durable queue of your own. It keeps what comes while nobody listens; several listeners share it. One that is
        there already is taken as it is, and keeps the patterns that it was bound by before. Without a name the queue is for this listener
        alone: what is told before it listens and while it connects again is missed. *idle*: end after so many seconds without an event.

        The queue is bound when this returns. Raises NotConnected; connections that are lost later are made again, for as long as it takes.
        """
        return Events(self._url, self._exchange, patterns or ("#",), queue=queue, idle=idle, timeout=self._timeout)

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _publish(self, body: bytes, key: str) -> None:
        """Until it is confirmed, or time is up. Publishing twice is harmless: the key is the same."""
        end, sent = time.monotonic() + self._timeout, False
        if self._link and self._link.foreign:
            self._link = None
        while True:
            try:
                if self._link is None:
                    self._link = _Link(self._url, self._commands, self._timeout)
                with self._link.guarded():
                    sent = True
                    there = self._link.publish(body, self._commands, key, max(0.01, end - time.monotonic()))
                break
            except _Away as away:
                self._drop(lost=True)
                if time.monotonic() + 0.25 < end:
                    time.sleep(0.25)
                elif sent:
                    raise NotConfirmed(
                        f"the broker did not confirm {key!r} within {self._timeout:g} s ({away}). It may have arrived: "
                        "submit it again with the same key"
                    ) from away
                else:
                    raise NotConnected(f"the broker cannot be used, so {key!r} was not submitted: {away}") from away
            except BaseException:
                self._drop(lost=True)  # a confirm that is still to come must not be taken for another's
                raise
        if not there:
            raise NoSuchQueue(f"there is no queue {self._commands!r} on the broker, so {key!r} was not submitted: does an intake run?")

    def _drop(self, *, lost: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(lost=lost)


class Events(Iterator[dict[str, Any]]):
    """A listener: `for event in approvals.events(...)`. An event is acknowledged when the next one is asked for.

    Leave the loop and close it (it is a context manager), and what was not acknowledged goes back to the queue. Of one thread.
    """

    def __init__(
        self, url: str, exchange: str, patterns: tuple[str, ...], *, queue: str | None, idle: float | None, timeout: float
    ) -> None:
        self._url, self._exchange, self._patterns, self._timeout = url, exchange, patterns, timeout
        self._queue, self._idle = queue, idle
        self._link: _Link | None = None
        self._waiting: deque[Any] = deque()
        self._handed: Any = None
        self._closed = False
        try:
            self._open()
        except _Away as away:
            raise NotConnected(f"the broker cannot be used: {away}") from away

    def __next__(self) -> dict[str, Any]:
        end = float("inf") if self._idle is None else time.monotonic() + self._idle
        tries = 0
        while not self._closed:
            try:
                link = self._link or self._open()
                with link.guarded():
                    self._acknowledge()
                    message = self._take(link, end)
                tries = 0
            except _Away as away:
                log.warning("the broker is away, trying again: %s", away)
                self._drop(lost=True)
                time.sleep(max(0.0, min(0.1 * 2 ** min(tries, 10), LONGEST_PAUSE, end - time.monotonic())))
                tries += 1
                message = None
            event = None if message is None else self._event(message)
            if event is not None:
                return event
            if time.monotonic() >= end:
                break
        raise StopIteration

    def close(self) -> None:
        """Stop listening. What was handed out last counts as not handled, unless the loop went on after it."""
        self._closed = True
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _open(self) -> "_Link":
        link = _Link(self._url, self._queue or self._exchange, self._timeout)
        try:
            with link.guarded():
                link.listen(self._exchange, self._patterns, self._queue, self._waiting.append)
        except BaseException:
            link.close(lost=True)
            raise
        self._link = link
        return link

    def _take(self, link: "_Link", end: float) -> Any:
        """The next message; None where none came within a second."""
        if not self._waiting:
            link.drain(max(0.01, min(1.0, end - time.monotonic())))
        return self._waiting.popleft() if self._waiting else None

    def _event(self, message: Any) -> dict[str, Any] | None:
        self._handed = message
        try:
            event = json.loads(message.body)
        except ValueError:
            event = None
        if isinstance(event, dict):
            return event
        log.warning("a message that is no event is passed over: %s bytes", len(message.body or b""))
        return None

    def _acknowledge(self) -> None:
        message, self._handed = self._handed, None
        if message is not None:
            message.ack()

    def _drop(self, *, lost: bool = False) -> None:
        held = [message for message in (self._handed, *self._waiting) if message is not None]
        self._handed = None
        self._waiting.clear()
        link, self._link = self._link, None
        if link is not None:
            link.close(held, lost=lost)


class _Away(Exception):
    """The connection is of no use any more, or never was. What was on its way may have arrived."""


class _Link:
    """One connection and one channel, with an end to every wait. Opened when made."""

    def __init__(self, url: str, keys: str, timeout: float) -> None:
        self._amqp, self._memory = url.startswith(("amqp://", "amqps://", "pyamqp://")), url.startswith("memory:")
        self._connection = Connection(url, connect_timeout=timeout / 4, transport_options=_options(url, self._amqp, keys, timeout))
        client = self._connection
        self._lost = (*LOST, *client.connection_errors, *client.recoverable_connection_errors, *client.channel_errors)
        self._producer: Producer | None = None
        self._unwanted = False
        self._process = os.getpid()
        try:
            with self.guarded():
                # Once for each host that the address names: `amqp://one;amqp://two`.
                client.ensure_connection(max_retries=url.count(";"), interval_start=0, interval_step=0, interval_max=0)
                self._channel: Any = client.channel()
        except BaseException:
            self.close(lost=True)
            raise

    @property
    def foreign(self) -> bool:
        """From before a fork: it is the parent's, and not a word may be said on it."""
        return self._process != os.getpid()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """What the transport raises for a lost connection becomes `_Away`."""
        try:
            yield
        except self._lost as exc:
            raise _Away(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__) from exc

    def publish(self, body: bytes, queue: str, key: str, within: float) -> bool:
        """Publish and have it confirmed; whether there is such a queue."""
        self._connected()
        if self._producer is None:
            self._producer = Producer(self._channel, on_return=self._on_return if self._amqp else None)
        self._unwanted = False
        self._producer.publish(
            body,
            exchange="",
            routing_key=queue,
            delivery_mode=2,
            mandatory=True,
            content_type="application/json",
            content_encoding="utf-8",
            message_id=key,
            timeout=within,
            confirm_timeout=within,
        )
        return not self._unwanted  # the broker returns a message before it confirms it

    def listen(self, exchange: str, patterns: tuple[str, ...], queue: str | None, take: Any) -> None:
        """Hand each event to *take* while `drain` is called. A queue that is there is taken as it is; its bindings are added."""
        topic = Exchange(exchange, type="topic", durable=True)(self._channel)
        topic.declare()
        bindings = [binding(topic, routing_key=pattern) for pattern in patterns]
        own = {"durable": True} if queue else {"durable": False, "exclusive": True, "auto_delete": True}
        try:
            if queue:
                self._channel.queue_declare(queue, passive=True)
        except self._connection.channel_errors:
            self._channel, there = self._connection.channel(), False
        else:
            there = bool(queue)
        bound = Queue(queue or "", bindings=bindings, **own)(self._channel)
        if not there:
            bound.declare()
        else:
            for each in bindings:
                each.bind(bound)
        consumer = Consumer(self._channel, [bound], on_message=take, auto_declare=False, prefetch_count=AHEAD)
        consumer.consume()

    def drain(self, seconds: float) -> None:
        """Take in what comes within so many seconds."""
        self._connected()
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)

    def close(self, held: Sequence[Any] = (), *, lost: bool = False) -> None:
        """Leave; without a word where it is *lost*. *held* goes back: by itself, but in memory."""
        if self.foreign:
            return
        for message in held if self._memory else ():
            with suppress(Exception):
                message.requeue()
        with suppress(Exception):
            if lost and self._amqp:
                self._connection.collect()
            else:
                self._connection.release()

    def _connected(self) -> None:
        """Merely looked at, kombu opens a lost connection again, without its channels."""
        if not self._connection.connected:
            raise ConnectionError("the connection was lost")

    def _on_return(self, *_: Any) -> None:
        self._unwanted = True


def _options(url: str, amqp: bool, keys: str, timeout: float) -> dict[str, Any]:
    """What keeps a transport from waiting without an end."""
    if amqp:
        return {"confirm_publish": True, "read_timeout": timeout / 2, "write_timeout": timeout / 2}
    if url.startswith(("redis://", "rediss://")):
        return {
            # kombu gives every program on a database the same keys for what is handed out, and the shortest visibility time-out wins
            "unacked_key": f"{keys}.unacked",
            "unacked_index_key": f"{keys}.unacked_index",
            "unacked_mutex_key": f"{keys}.unacked_mutex",
            "unacked_mutex_expire": 30,
            "visibility_timeout": VISIBILITY,
            "unacked_restore_interval": 5,  # by default what a killed listener held comes back after 90 s
            "unacked_restore_throttle": 1,
            "socket_timeout": max(timeout / 2, 1.5),  # a command is tried twice; longer than the wait of a BRPOP, which is 1 s
            "socket_connect_timeout": timeout / 4,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
    return {"polling_interval": 0.01}


def _time(name: str, value: datetime | str | None) -> str | None:
    """As the wire has it."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError(f"{name}: must be a datetime, or a text such as 2026-11-22T09:00:00Z") from None
    if moment.utcoffset() is None:
        raise ValueError(f"{name}: must have an offset: a time without one is another moment to each reader")
    return moment.isoformat()
