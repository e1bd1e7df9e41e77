"""What the outside is told of us: logs on standard error, faults to Sentry.

Log names are event names (``submission.settled``) with key-values and no prose, so that a person greps and a machine
counts. The lines of Celery, kombu and SQLAlchemy go through the same formatter.

The failure to fear is a secret or a reviewer's comment in a place that many can read. So everything that leaves goes
through :func:`scrub`, local variables are never sent (a secret under an innocent name cannot be recognised), and no
tracing header is put on a request to an upstream. The limit: a secret that is written into a sentence, under no key and
in no known form, is not seen.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, TextIO, cast

import sentry_sdk
import structlog
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.scrubber import DEFAULT_DENYLIST, EventScrubber
from sentry_sdk.types import Event

from worker import __version__
from worker.settings import Settings

SCRUBBED = "[scrubbed]"
SECRET_KEYS = (
    "access_token",
    "assertion",
    "client_secret",
    "code_verifier",
    "comment",
    "encryption_keys",
    "id_token",
    "refresh_token",
    "responsecomment",
    "secrets",
)

# A key is secret when one of these is a part of it: `x-api-key` and `jane_client_secret` as much as `secret`.
_SECRET_KEY = re.compile(
    r"secret|passw|token|authori[sz]ation|api[_-]?key|private[_-]?key|credential|cookie|comment|encryption[_-]?key|"
    r"verifier|assertion|signature|query",
    re.IGNORECASE,
)
_PATTERNS = (
    # What stands behind the name of a scheme in a header.
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {SCRUBBED}"),
    # The user and password of an address, and its query, where tokens and ids of people stand.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"<>]+@", re.IGNORECASE), rf"\1{SCRUBBED}@"),
    (re.compile(r"(\bhttps?://[^\s?'\"<>]+)\?[^\s'\"<>]*", re.IGNORECASE), rf"\1?{SCRUBBED}"),
    # A form or a JSON object that was written into a text.
    (
        re.compile(
            r"((?:client_secret|code_verifier|assertion|refresh_token|access_token|id_token|password|\w*comment)[\"']?\s*[=:]\s*)"
            r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s&,;}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{SCRUBBED}",
    ),
)
_PLAIN = re.compile(r"[^\s:=]*")
"""A text without space, colon and equals sign fits none of the patterns above: most texts of a log line are such names and numbers."""

_DEEPEST = 12


def scrub(value: Any, depth: int = 0) -> Any:
    """Return *value* without what must not be read: by the names of keys, and by form where there is no key."""
    if depth > _DEEPEST:
        return SCRUBBED
    match value:
        case str() if _PLAIN.fullmatch(value):
            return value
        case str():
            for pattern, instead in _PATTERNS:
                value = pattern.sub(instead, value)
            return value
        case bytes():
            return SCRUBBED  # the only bytes here are bodies
        case Mapping():
            return {key: SCRUBBED if _secret(key) and inner not in (None, "") else scrub(inner, depth + 1) for key, inner in value.items()}
        case (str() as key, _) if _secret(key):  # a header as a pair
            return [key, SCRUBBED]
        case list() | tuple() | set() | frozenset():
            return [scrub(inner, depth + 1) for inner in value]
        case _:
            return value


def _secret(key: object) -> bool:
    return isinstance(key, str) and _secret_name(key)


@lru_cache(1024)
def _secret_name(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def configure(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Set up logs and Sentry for this process, named *process* (worker, beat, intake, …). Once, by the edges."""
    _configure_logs(settings, process, stream or sys.stderr)
    if settings.sentry.dsn:
        _configure_sentry(settings, process)


def tell(message: str, fingerprint: tuple[str, ...], **context: object) -> None:
    """Tell a person of something that no retry will put right, such as a parked submission.

    Celery's integration reports exceptions only, and a parked submission is none: without this nobody would see it.
    *message* is an event name; *fingerprint* says which cases are one case, so that a thousand parked submissions of
    one account are one alarm. *context* must not hold what a reader of Sentry may not read.
    """
    structlog.get_logger("worker").warning(message, **context)
    if not sentry_sdk.get_client().is_active():
        return
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = [message, *fingerprint]
        scope.set_context("case", scrub(context))
        sentry_sdk.capture_message(message, level="warning")


def report(exc: BaseException) -> None:
    """Tell Sentry of a fault that is caught and lived with, which no integration sees. The line in the log is the caller's."""
    sentry_sdk.capture_exception(exc)


def flush(timeout: float = 2.0) -> None:
    """Send what is still here, at shutdown. A soft shutdown must leave this much time."""
    sentry_sdk.flush(timeout=timeout)


def _configure_logs(settings: Settings, process: str, stream: TextIO) -> None:
    def process_name(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("process", process)
        return event

    # Both our own lines and those of libraries go through these, in this order; the scrubber is last, so that it sees
    # the traceback as well.
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        process_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _scrub_event,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a logger made at import would keep what stood before this was called
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
        if settings.log.format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level.upper())
    # httpx tells every request with its address, which is one line a request and holds ids.
    for noisy in ("httpx", "httpcore", "amqp", "kombu", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # structlog's own `_record` is no text and is taken out before anything is written.
    return {key: value if key.startswith("_") else scrub({key: value})[key] for key, value in event.items()}


def _configure_sentry(settings: Settings, process: str) -> None:
    # It imports Celery, which processes without a DSN need not pay for here.
    from sentry_sdk.integrations.celery import CeleryIntegration

    sentry_sdk.init(
        dsn=str(settings.sentry.dsn),
        environment=settings.sentry.environment,
        release=f"approval-worker@{__version__}",
        traces_sample_rate=settings.sentry.traces_sample_rate,
        # What else is installed does not decide what is sent.
        auto_enabling_integrations=False,
        integrations=[
            # A ring carries no fact, so there is nothing to trace across it.
            CeleryIntegration(propagate_traces=False, monitor_beat_tasks=False),
            # Lost connections are logged as errors and mended by themselves; what a person must see goes through
            # `tell`.
            LoggingIntegration(event_level=None),
        ],
        disabled_integrations=[ArgvIntegration()],  # a command line holds comments
        trace_propagation_targets=[],  # ids of ours are no business of an upstream
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        event_scrubber=EventScrubber(denylist=[*DEFAULT_DENYLIST, *SECRET_KEYS], recursive=True),
        before_send=_clean_event,
        before_send_transaction=_clean_event,
        before_breadcrumb=_clean_breadcrumb,
    )
    sentry_sdk.set_tag("process", process)
    sentry_sdk.set_tag("namespace", settings.namespace)


def _clean_event(event: Event, _hint: dict[str, Any]) -> Event:
    request = event.get("request")
    if request:
        for part in ("data", "query_string", "cookies", "env"):
            request.pop(part, None)
    return cast("Event", scrub(event))


def _clean_breadcrumb(crumb: dict[str, Any], _hint: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", scrub(crumb))
