"""What a command looks like on the wire, and why one is refused. Pure: bytes in, a `Command` or a reason out.

Three shapes come in by one door: a plain JSON object, a CloudEvent in structured JSON, and Celery's JSON message. The failure to fear is a
command that is *nearly* understood: an unknown field that was meant to say "not before", a time without an offset, a name given twice, a
serialisation that runs code when it is read. So everything that is not understood is refused, with words that say what is wrong and what to
do; JSON only, and nothing is ever unpickled or decompressed.

The limit: whether there is such an account, grant, action or task is not known here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from worker.broker import Incoming
from worker.core import times
from worker.core.command import Command
from worker.core.keys import digest

JSON = "application/json"
CLOUDEVENT = "application/cloudevents+json"
EVENT_TYPE = "approval.requested"
LABELS_BYTES = 4096
FIELDS_BYTES = 16384
EXACT = 2**53
"""Whole numbers from here on are other numbers to readers that know one kind of number (RFC 8259, 6)."""
REASON_CHARS = 1000
EXCERPT_BYTES = 2048
LATEST = 2.0**63
"""The end of AMQP's timestamps. On Redis a timestamp is any number, and one of 400 digits is no float."""

_FOREIGN = {
    "application/x-python-serialize": "pickled Python, which is never unpickled here",
    "application/x-yaml": "YAML",
    "application/x-msgpack": "msgpack",
    "application/data": "raw data",
    "text/plain": "plain text",
}
_ENCODINGS = {"", "utf-8", "utf8", "us-ascii", "binary", "identity"}


@dataclass(frozen=True, slots=True)
class Door:
    """Which commands may come in."""

    namespace: str
    max_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message is no command, in words for whoever sent it. `key`: where one could be read. `what` is wrong: the kind of content, its
    size, its syntax, or what it says.
    """

    reason: str
    key: str | None = None
    what: Literal["type", "size", "syntax", "content"] = "content"


def _plain(text: str) -> str:
    """Text that every database and every log can hold: PostgreSQL has no NUL, UTF-8 no halves of a surrogate pair."""
    if any(c < " " and c not in "\t\n\r" for c in text) or "\x7f" in text:
        raise PydanticCustomError("control", "must not hold control characters")
    return text


def _line(text: str) -> str:
    if any(c in "\t\n\r" for c in text) or not text.strip():
        raise PydanticCustomError("line", "must be one line that says something")
    return _plain(text)


def _time(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("time", "must be a text such as 2026-11-22T09:00:00Z")
    try:
        return times.parse(value)
    except (ValueError, OverflowError):
        raise PydanticCustomError("time", "must be a time with an offset, such as 2026-11-22T09:00:00Z") from None


def _small(at_most: int) -> AfterValidator:
    def small(value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value, ensure_ascii=False).encode()) > at_most:
            raise PydanticCustomError("small", "must not be longer than {n} bytes as JSON", {"n": at_most})
        return value

    return AfterValidator(small)


def _value(value: object) -> object:
    match value:
        case bool() | None:
            return value
        case int() | float():
            if not abs(value) < EXACT:  # infinite ones, which JSON can write as 1e999, included
                raise PydanticCustomError("value", "must be a number of less than 16 digits")
            return value
        case str():
            return _text(value)
        case list() if all(isinstance(each, str) for each in value):
            return [_text(each) for each in value]
        case _:
            raise PydanticCustomError("value", "must be text, a number, true, false, null or a list of texts")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "must be text that UTF-8 can hold") from None
    return _plain(text)


Time = Annotated[float, BeforeValidator(_time)]
Name = Annotated[str, StringConstraints(max_length=64), AfterValidator(_line)]
Short = Annotated[str, StringConstraints(max_length=255), AfterValidator(_line)]
Reference = Annotated[str, StringConstraints(max_length=512), AfterValidator(_line)]
Token = Annotated[str, StringConstraints(max_length=8192), AfterValidator(_line)]
Label = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_plain)]
Value = Annotated[Any, AfterValidator(_value)]


class Wire(BaseModel):
    """The object of INTERFACES §4, field by field. Strict: `"2"` is not a step and `1` is not a yes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    key: Short
    account: Name
    as_: Name | None = Field(default=None, alias="as")
    task: Reference
    action: Name
    pin: Token | None = None
    step: int | None = Field(default=None, ge=1, le=1000)
    response: Short | None = None
    state: Short | None = None
    fields: Annotated[dict[Name, Value], _small(FIELDS_BYTES)] = Field(default_factory=dict)
    comment: Annotated[str, StringConstraints(max_length=32_000), AfterValidator(_plain)] | None = None
    issued_at: Time | None = None
    not_before: Time | None = None
    not_after: Time | None = None
    wait_for_turn: bool = False
    requested_by: Short | None = None
    labels: Annotated[dict[Label, Label], _small(LABELS_BYTES)] = Field(default_factory=dict)


FIELDS = tuple(field.alias or name for name, field in Wire.model_fields.items())


def parse(message: Incoming, door: Door, now: float, key: str | None = None) -> Command | Refused:
    """The command in *message*, or why there is none. `issued_at` is its own, else the event's, else the broker's, else *now* (A7).

    A decision cannot be made after it arrived, so a clock that goes ahead is cut to *now*: it would hide what happened in between.
    `grant` is empty where `as` was left out. *key*: what the envelope says it is (`Idempotency-Key`), for a body that brings none.
    """
    try:
        found, issued = _unwrap(message, door)
    except _Refusal as refused:
        return Refused(str(refused), what=refused.what)
    if key is not None and found.get("key") is None:
        found = {**found, "key": key}
    elif key is not None and found["key"] != key:
        return Refused(f"key: the body says {_shown(found['key'])} and Idempotency-Key {_shown(key)}: say one, or the same twice")
    key = found.get("key")
    key = key if isinstance(key, str) and 0 < len(key) <= 255 else None
    try:
        wire = Wire.model_validate(found)
    except ValidationError as wrong:
        faults = [
            _fault(e["type"], e["loc"], e["msg"]) for e in wrong.errors(include_url=False, include_context=False, include_input=False)
        ]
        return Refused("; ".join(faults)[:REASON_CHARS], key)
    told = [at for at in (wire.issued_at, issued, now) if at is not None]
    if wire.not_before is not None and wire.not_after is not None and wire.not_after <= wire.not_before:
        return Refused("not_after: must be later than not_before", wire.key)
    return Command(
        key=wire.key,
        account=wire.account,
        grant=wire.as_ or "",
        task=wire.task,
        action=wire.action,
        issued_at=min(told[0], now),
        pin=wire.pin,
        step=wire.step,
        response=wire.response,
        state=wire.state,
        fields=wire.fields,
        comment=wire.comment,
        not_before=wire.not_before,
        not_after=wire.not_after,
        wait_for_turn=wire.wait_for_turn,
        requested_by=wire.requested_by,
        labels=wire.labels,
    )


class _Refusal(Exception):
    """The reason, on its way to `parse`."""

    def __init__(self, reason: str, what: Literal["type", "size", "syntax", "content"] = "content") -> None:
        super().__init__(reason)
        self.what = what


def _unwrap(message: Incoming, door: Door) -> tuple[dict[str, Any], float | None]:
    """The object that should be a command, and when it was issued if the envelope says so."""
    content_type = _content_type(message)
    if len(message.body) > door.max_bytes:
        raise _Refusal(f"{len(message.body)} bytes are too many: at most {door.max_bytes} (intake.max_bytes)", "size")
    value = _json(message.body)
    stamp = message.properties.get("timestamp")
    issued = float(stamp) if isinstance(stamp, int | float) and 0 < stamp < LATEST else None
    task = message.headers.get("task")
    if task is not None:
        return _celery(value, task, message.headers, door), issued
    if content_type == CLOUDEVENT:
        return _cloudevent(value, issued)
    if not isinstance(value, dict):
        raise _Refusal("the body must be a JSON object")
    if "specversion" in value:
        raise _Refusal(f"this looks like a CloudEvent: send it with content_type {CLOUDEVENT}")
    return value, issued


def _content_type(message: Incoming) -> str:
    given = str(message.properties.get("content_type") or "")
    name, _, parameters = given.lower().partition(";")
    name, parameters = name.strip(), parameters.replace(" ", "").replace('"', "")
    what = f"send JSON with content_type {JSON} or {CLOUDEVENT}"
    if not name:
        raise _Refusal(f"there is no content_type: {what}", "type")
    if name not in {JSON, CLOUDEVENT}:
        raise _Refusal(
            f"content_type {given[:80]!r} is not taken ({_FOREIGN[name]}): {what}"
            if name in _FOREIGN
            else f"content_type {given[:80]!r} is not taken: {what}",
            "type",
        )
    if parameters not in {"", "charset=utf-8", "charset=us-ascii"}:
        raise _Refusal(f"content_type {given[:80]!r} is not taken: JSON is UTF-8", "type")
    if str(message.properties.get("content_encoding") or "").lower() not in _ENCODINGS or message.headers.get("compression"):
        raise _Refusal("compressed or not in UTF-8: send plain JSON in UTF-8", "type")
    return name


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise _Refusal(f"not UTF-8, at byte {exc.start}", "syntax") from None
    except json.JSONDecodeError as exc:
        raise _Refusal(f"not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}", "syntax") from None
    except (ValueError, RecursionError):
        raise _Refusal("not JSON that can be read: nested too deeply, or a number that is too long", "syntax") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values under one name would be an approval to one reader and a rejection to the next."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Refusal(f"{_shown(next(n for n in names if names.count(n) > 1))} is given twice", "syntax")
    return found


def _no_constant(name: str) -> None:
    raise _Refusal(f"not JSON: {name} is no number", "syntax")


def _cloudevent(value: Any, issued: float | None) -> tuple[dict[str, Any], float | None]:
    if not isinstance(value, dict):
        raise _Refusal("a CloudEvent must be a JSON object (structured mode, one event a message)")
    if value.get("specversion") != "1.0":
        raise _Refusal('specversion: must be "1.0"')
    if value.get("type") != EVENT_TYPE:
        raise _Refusal(f"type: must be {EVENT_TYPE!r}")
    for name in ("id", "source"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise _Refusal(f"{name}: a CloudEvent needs one")
    data = value.get("data")
    if not isinstance(data, dict):
        raise _Refusal("data: must be the command, as a JSON object")
    if value.get("time") is not None:
        try:
            issued = times.parse(value["time"])
        except (ValueError, OverflowError, AttributeError, TypeError):
            raise _Refusal("time: must be a time with an offset, such as 2026-11-22T09:00:00Z") from None
    if data.get("key") is None:
        try:
            data = {**data, "key": digest([value["source"], value["id"]])}
        except UnicodeEncodeError:
            raise _Refusal("id, source: must be text that UTF-8 can hold") from None
    return data, issued


def _celery(value: Any, task: Any, headers: Mapping[str, Any], door: Door) -> dict[str, Any]:
    """Celery's message protocol 2: `[args, kwargs, embed]`, the rest in headers. Its `eta` and `expires` mean what ours mean."""
    ours = ("approvals.accept", f"{door.namespace}.accept")
    if task not in ours:
        raise _Refusal(f"the Celery task {_shown(task)} is not taken here: send {ours[0]!r}")
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[0], list) and isinstance(value[1], dict)):
        raise _Refusal("not Celery's message protocol 2: the body must be [args, kwargs, embed]")
    args, kwargs, embed = value
    if args:
        raise _Refusal("positional arguments are not taken: send kwargs")
    if isinstance(embed, dict) and any(embed.values()):
        raise _Refusal("link, link_error, chain and chord are not carried out here: bind a queue to the events instead")
    kwargs = {name: _celery_time(given) for name, given in kwargs.items()}
    for header, name in (("eta", "not_before"), ("expires", "not_after")):
        if headers.get(header) is not None and kwargs.get(name) is None:
            kwargs[name] = headers[header]
    return kwargs


def _celery_time(value: Any) -> Any:
    """What kombu's JSON makes of a datetime."""
    return value.get("__value__") if isinstance(value, dict) and value.get("__type__") == "datetime" else value


def _fault(kind: str, loc: tuple[int | str, ...], message: str) -> str:
    path = ".".join(_shown(part, quoted=False) for part in loc if part != "[key]")
    match kind:
        case "extra_forbidden":
            return f"{path}: unknown field (known: {', '.join(FIELDS)})"
        case "missing":
            return f"{path}: is missing"
        case "string_unicode":
            return f"{path}: must be text that UTF-8 can hold"
        case _:
            return f"{path}: {message[:1].lower()}{message[1:].replace('Input should', 'must')}".replace("input should", "must")


def _shown(value: Any, quoted: bool = True) -> str:
    text = safe(str(value).encode("utf-8", "replace"), 60)
    return repr(text) if quoted else text


def safe(body: bytes, at_most: int = EXCERPT_BYTES) -> str:
    """The beginning of *body* as text that may be shown: no control characters, nothing that is no text, at most so many bytes."""
    text = body[:at_most].decode("utf-8", "replace")
    text = "".join(c if c.isprintable() or c == " " else "�" for c in text)
    return text.encode()[:at_most].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message that could not be accepted, for the `command.rejected` event. `digest`: of its bytes."""

    reason: str
    key: str | None
    excerpt: str
    digest: str
    message_id: str | None
    size: int
    requeued: int = 0

    @property
    def evidence(self) -> str:
        """The same for each delivery of one message, another after a person put it back: one event a rejection, not one a delivery."""
        return digest([self.digest, self.message_id, self.requeued])


REASON, REJECTED_AT, REQUEUED = "x-reason", "x-rejected-at", "x-requeued"
"""The headers that a dead message has more than it had."""


def rejected(message: Incoming, refused: Refused) -> RejectedMessage:
    """*message*, described by what is the same whenever it is delivered again."""
    named = message.properties.get("message_id") or message.headers.get("id")
    times_put_back = message.headers.get(REQUEUED)
    return RejectedMessage(
        reason=refused.reason,
        key=refused.key,
        excerpt=safe(message.body),
        digest=hashlib.sha256(message.body).hexdigest(),
        message_id=safe(str(named).encode("utf-8", "replace"), 255) if named else None,
        size=len(message.body),
        requeued=times_put_back if isinstance(times_put_back, int) else 0,
    )
