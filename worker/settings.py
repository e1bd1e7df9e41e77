"""What an operator may set, where it comes from, and what is refused.

A setting comes from, weakest first: the defaults below; the configuration file; ``accounts.d/*.toml`` beside it; a
file in ``secrets_dir``; the environment. A worker that starts on half-read settings sends approvals with the wrong
deadline or into the wrong workspace, so nothing is guessed: an unknown key is an error wherever it stands, every fault
is told at once, and a fault names the path of its key, never the value, because the value may be a secret.

The limit: only what can be seen without a network is checked here. Whether a grant is the user it claims to be is for
``approvals doctor`` and, in the end, for the first clean answer.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from worker.errors import SettingsError

PREFIX = "APPROVALS_"
DEFAULT_PATH = Path("config/approvals.toml")
# The variable that names the file cannot stand in the file.
NOT_SETTINGS = frozenset({"APPROVALS_CONFIG"})
REDACTED = "********"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(duration: object) -> float:
    """Read ``"25s"``, ``"500ms"``, ``"5m"``, ``"24h"`` or ``"7d"`` as seconds.

    A bare number is refused: 30 is half a minute to one reader and half an hour to the next.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", duration.strip()) if isinstance(duration, str) else None
    if found is None:
        raise PydanticCustomError("duration", 'must be a number with a unit, for example "500ms", "25s", "5m" or "7d"')
    return float(found[1]) * _UNITS[found[2]]


def written(duration: float) -> str:
    """Write seconds as a file would."""
    unit = next((u for u in ("d", "h", "m") if duration and duration % _UNITS[u] == 0), "s")
    return f"{duration / _UNITS[unit]:g}{unit}"


def _in(duration: str) -> Any:
    """Give a duration as a default, written and checked as in a file."""
    return Field(default=duration, validate_default=True)


class Url(str):
    """An address that may carry a password: usable as the string it is, shown without its password."""

    __slots__ = ()

    @property
    def redacted(self) -> str:
        """The address, its password and its query hidden."""
        if not self:
            return ""
        try:
            parts = urlsplit(self)
        except ValueError:
            return REDACTED
        netloc = parts.netloc
        if "@" in netloc:
            user, _, host = netloc.rpartition("@")
            netloc = f"{user.partition(':')[0]}:{REDACTED}@{host}" if ":" in user else f"{REDACTED}@{host}"
        shown = f"{parts.scheme}://{netloc}{parts.path}"
        return f"{shown}?{REDACTED}" if parts.query else shown

    def __repr__(self) -> str:
        """Show what a log or a traceback may show."""
        return f"Url({self.redacted!r})"


def _listed(value: object) -> object:
    """In a variable or a secret's file a list is written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _http(value: str) -> str:
    parts = _split(value)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise PydanticCustomError("address", "must be an address that begins with http:// or https://")
    if "@" in parts.netloc:
        raise PydanticCustomError("address", "must not carry a user or a password: those belong to a grant")
    return value.rstrip("/")


def _split(value: str) -> SplitResult | None:
    try:
        return urlsplit(value)
    except ValueError:
        return None


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("zone", "must be a time zone of the IANA data, for example Europe/Berlin") from None
    return value


def _bind(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise PydanticCustomError("bind", "must be a host and a port, for example 127.0.0.1:8080")
    return value


def _address(*schemes: str) -> BeforeValidator:
    def check(value: object) -> Url:
        parts = _split(value) if isinstance(value, str) else None
        if parts is None or parts.scheme not in schemes:
            expected = ", ".join(f"{scheme}://" for scheme in schemes)
            raise PydanticCustomError("address", "must be an address that begins with {expected}", {"expected": expected})
        return Url(value)

    return BeforeValidator(check)


def _dsn(value: object) -> Url:
    parts = _split(value) if isinstance(value, str) else None
    if value and not (parts and parts.scheme and parts.username and parts.hostname and parts.path.strip("/")):
        raise PydanticCustomError("dsn", "must be a DSN as Sentry prints it, or empty")
    return Url(value)


Seconds = Annotated[float, BeforeValidator(seconds), PlainSerializer(written)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Filled = Annotated[str, StringConstraints(min_length=1)]
HttpUrl = Annotated[str, AfterValidator(_http)]
Zone = Annotated[str, AfterValidator(_zone)]
Bind = Annotated[str, AfterValidator(_bind)]
_shown = PlainSerializer(lambda url: Url(url).redacted)
LedgerUrl = Annotated[Url, _address("sqlite", "postgresql+psycopg"), _shown]
BrokerUrl = Annotated[Url, _address("memory", "amqp", "amqps", "redis", "rediss"), _shown]
SentryDsn = Annotated[Url, BeforeValidator(_dsn), _shown]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # a refused value may be a secret
    )


class Ledger(_Section):
    """The SQL database that is the only truth."""

    url: LedgerUrl = Url("sqlite:///var/approvals.db")
    encryption_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = ()
    """Newest first. Empty: a key file beside an SQLite database, made at first use."""


class Broker(_Section):
    """Where rings, commands and events travel."""

    url: BrokerUrl = Url("memory://")


class Grant(_Section):
    """One user's authorisation in an account. It acts as exactly one upstream user."""

    client_id: Filled
    client_secret: SecretStr = Field(min_length=1)
    acts_as: Filled


class Account(_Section):
    """One Workiva workspace: it owns the feed, the budget, the breaker. Every time is in seconds."""

    kind: Literal["workiva"]
    base_url: HttpUrl = "https://api.app.wdesk.com"
    api_version: Literal["2026-01-01"] = "2026-01-01"
    workspace: str = ""
    """Accounts of one host that name the same workspace share its tasks. Empty: a workspace of its own."""
    writes: Literal["on", "hold"] = "on"
    when_exposed: Literal["once", "park", "resend"] = "once"
    mark: Literal["comment", "off"] = "comment"
    request_deadline: Seconds = _in("25s")
    lease: Seconds = _in("30s")
    upstream_cutoff: Seconds = _in("29s")
    slack: Seconds = _in("20s")
    expires_after: Seconds = _in("7d")
    timezone: Zone = "UTC"
    grants: dict[Name, Grant] = Field(default_factory=dict)

    @property
    def quiet_period(self) -> float:
        """How long after a claim nothing that it sent can still take effect, in seconds."""
        return self.lease + self.upstream_cutoff + self.slack

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if value == "autodesk":
            raise PydanticCustomError("later", "autodesk comes with a later release; this one speaks to workiva")
        return value

    @field_validator("api_version", mode="before")
    @classmethod
    def _served(cls, value: object) -> object:
        if value == "2022-01-01":
            raise PydanticCustomError("later", "2022-01-01 comes with a later release; this one speaks 2026-01-01")
        return value

    @field_validator("request_deadline", "lease", "expires_after")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value <= 0:
            raise PydanticCustomError("positive", "must be longer than nothing")
        return value

    @field_validator("lease")
    @classmethod
    def _outlives_request(cls, lease: float, info: ValidationInfo) -> float:
        # A lease that ends while its own request is on the way lets a second sender in. The fifth on top is for the
        # pause between the gate and the first byte.
        deadline = info.data.get("request_deadline")
        if deadline is not None and lease < 1.2 * deadline - 1e-9:
            raise PydanticCustomError("lease", "must be at least 1.2 times request_deadline")
        return lease


class Sink(_Section):
    """A way out for events: a topic exchange of the broker."""

    kind: Literal["exchange"] = "exchange"
    exchange: str = ""
    """Empty: the namespace and `.events`."""
    events: Annotated[tuple[Filled, ...], BeforeValidator(_listed)] = ("*",)

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if value == "webhook":
            raise PydanticCustomError("later", "webhook comes with a later release; this one publishes to an exchange")
        return value


class Intake(_Section):
    """How commands are let in."""

    max_bytes: int = Field(default=1024 * 1024, ge=1024)
    batch: int = Field(default=200, ge=1, le=10_000)
    dedupe_window: Seconds = _in("24h")


class Console(_Section):
    """The operator's web page."""

    bind: Bind = "127.0.0.1:8080"


class Sentry(_Section):
    """Where faults are told. Off without a DSN."""

    dsn: SentryDsn = Url()
    environment: str = "production"
    traces_sample_rate: float = Field(default=0.0, ge=0, le=1)


class Log(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(_Section):
    """Everything that may be set. Made by :func:`load`, which is where the checks across accounts are."""

    namespace: Name = "approvals"
    secrets_dir: Path | None = None
    ledger: Ledger = Ledger()
    broker: Broker = Broker()
    accounts: dict[Name, Account] = Field(default_factory=dict)
    sinks: dict[Name, Sink] = Field(default_factory=lambda: {"exchange": Sink()})
    intake: Intake = Intake()
    console: Console = Console()
    sentry: Sentry = Sentry()
    log: Log = Log()

    @property
    def events_exchange(self) -> str:
        """The exchange that events go to where a sink names none."""
        return f"{self.namespace}.events"


class Row(NamedTuple):
    """One effective setting, as ``approvals config`` prints it."""

    key: str
    value: str
    origin: str


def load(path: Path | None = None, env: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings, or raise :class:`SettingsError` with every fault at once.

    *path* must exist when it is given (here or in ``APPROVALS_CONFIG``); ``config/approvals.toml`` may be missing, and
    then the defaults stand.
    """
    return _read(path, env)[0]


def effective(path: Path | None = None, env: Mapping[str, str] = os.environ) -> list[Row]:
    """Every setting with its value, secrets hidden, and its origin; and the quiet period that the times add up to."""
    settings, found = _read(path, env)
    rows = [Row(".".join(key), _shown_value(value), found.origin(key)) for key, value in _leaves(settings.model_dump())]
    for name, account in settings.accounts.items():
        sum_of_times = written(account.quiet_period)
        rows.append(Row(f"accounts.{name}.quiet_period", sum_of_times, "lease + upstream_cutoff + slack"))
    return rows


_Path = tuple[str, ...]


class _Found:
    """What the sources hold, merged; where each key was found last; and what is wrong with the sources themselves."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.origins: dict[_Path, str] = {}
        self.faults: list[str] = []

    def merge(self, table: Mapping[str, Any], origin: str) -> None:
        """Lay *table* over what is there, key by key."""
        self._merge(self.tree, table, origin, ())

    def put(self, path: _Path, value: str, origin: str) -> None:
        """Lay a single value over what is there."""
        table: Any = value
        for part in reversed(path):
            table = {part: table}
        self.merge(table, origin)

    def origin(self, path: _Path) -> str:
        """Where *path*, the list it is a part of, or the first key below it was found."""
        above = (path[:n] for n in range(len(path), 0, -1) if path[:n] in self.origins)
        below = (other for other in self.origins if other[: len(path)] == path)
        nearest = next(above, None) or next(below, None)
        return self.origins[nearest] if nearest else "default"

    def fault(self, path: _Path, what: str) -> None:
        """Note a fault by its key and the source that holds it."""
        origin = self.origin(path)
        self.faults.append(f"{'.'.join(path)}: {what}" + (f" ({origin})" if origin != "default" else ""))

    def _merge(self, onto: dict[str, Any], table: Mapping[str, Any], origin: str, at: _Path) -> None:
        for key, value in table.items():
            path = (*at, key)
            if isinstance(value, dict) and isinstance(onto.setdefault(key, {}), dict):
                self._merge(onto[key], value, origin, path)
            elif isinstance(value, dict) or isinstance(onto.get(key), dict):
                self.faults.append(f"{'.'.join(path)}: is a section in one source and a value in another ({origin})")
            else:
                onto[key] = value
                self.origins[path] = origin


def _read(path: Path | None, env: Mapping[str, str]) -> tuple[Settings, _Found]:
    found = _Found()
    _from_files(found, path, env)
    _from_secrets(found, env)
    _from_environment(found, env)
    settings = None
    try:
        settings = Settings.model_validate(found.tree)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_context=True, include_input=False):
            found.fault(_path_of(error["loc"]), _plainly(error["type"], error["msg"], error.get("ctx", {})))
    _shared_grants(found)
    if found.faults or settings is None:
        lines = "\n".join(f"  {fault}" for fault in sorted(set(found.faults)))
        raise SettingsError(f"the settings cannot be used:\n{lines}")
    return settings, found


def _from_files(found: _Found, path: Path | None, env: Mapping[str, str]) -> None:
    named = path or (Path(env["APPROVALS_CONFIG"]) if env.get("APPROVALS_CONFIG") else None)
    main = named or DEFAULT_PATH
    if not main.is_file():
        if named:
            found.faults.append(f"{main}: there is no such file")
        return
    found.merge(_toml(found, main), str(main))
    for file in sorted((main.parent / "accounts.d").glob("*.toml")):
        table = _toml(found, file)
        for key in table.keys() - {"accounts"}:
            found.faults.append(f"{key}: only [accounts.<name>] may stand in accounts.d ({file})")
        accounts = table.get("accounts", {})
        known = found.tree.get("accounts", {})
        if not isinstance(accounts, dict) or not isinstance(known, dict):
            found.faults.append(f"accounts: must be a section ({file})")
            continue
        for name in accounts.keys() & known.keys():
            found.faults.append(f"accounts.{name}: stands in two files ({file} is the second)")
        found.merge({"accounts": {name: accounts[name] for name in accounts.keys() - known.keys()}}, str(file))


def _toml(found: _Found, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as unreadable:
        # The parser's own sentence may quote what stands there; its position does not.
        where = re.search(r"\(at .*\)$", str(unreadable))
        found.faults.append(f"{file}: cannot be read as TOML{' ' + where[0] if where else ''}")
        return {}


def _from_secrets(found: _Found, env: Mapping[str, str]) -> None:
    named = env.get(f"{PREFIX}SECRETS_DIR") or found.tree.get("secrets_dir")
    if not isinstance(named, str):
        return
    if not Path(named).is_dir():
        found.fault(("secrets_dir",), "there is no such directory")
        return
    for file in sorted(Path(named).iterdir()):
        # A mounted secret brings links and folders of its own, which begin with a dot.
        if "__" in file.name and not file.name.startswith(".") and file.is_file():
            key = file.name.lower().removeprefix(PREFIX.lower())
            try:
                found.put(tuple(key.split("__")), file.read_text(encoding="utf-8").rstrip("\r\n"), str(file))
            except (UnicodeDecodeError, OSError):
                found.faults.append(f"{key.replace('__', '.')}: its file cannot be read ({file})")


def _from_environment(found: _Found, env: Mapping[str, str]) -> None:
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        key = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        # A variable without `__` may be another program's (APPROVALS_TEST_POSTGRES): only our own names are read.
        if len(key) == 1 and key[0] not in Settings.model_fields:
            continue
        if len(key) == 1 and key[0] not in {"namespace", "secrets_dir"}:
            found.faults.append(f"{key[0]}: is a section; its keys are {variable}__<KEY> (environment)")
            continue
        found.put(key, env[variable], f"environment {variable}")


def _path_of(loc: tuple[int | str, ...]) -> _Path:
    return tuple(str(part) for part in loc if part != "[key]")


def _plainly(kind: str, message: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "is missing"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return "a name must be made of small letters, digits and _, and begin with a letter"
        case _:
            return message[:1].lower() + message[1:].replace("Input should", "must")


def _shared_grants(found: _Found) -> None:
    """Refuse two grants of one realm that act as one user: neither could tell its own response from the other's."""
    seen: dict[tuple[object, ...], str] = {}
    for account, name, grant in _grants(found.tree):
        address = _split(str(account.get("base_url", "https://api.app.wdesk.com")))
        host = address.netloc.lower() if address else ""
        user = str(grant.get("acts_as", ""))
        key = f"accounts.{name[0]}.grants.{name[1]}"
        # One client belongs to one workspace, so a shared client gives a shared workspace away.
        workspaces = ("workspace", account.get("workspace") or name[0]), ("client", grant.get("client_id"))
        for workspace in workspaces:
            realm = (str(account.get("kind")), host, str(workspace), user)
            if user and seen.setdefault(realm, key) != key:
                found.faults.append(f"{key}.acts_as: acts as the same user as {seen[realm]}")
                break


def _grants(tree: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[str, str], dict[str, Any]]]:
    """Yield what looks like a grant in settings that may be faulty elsewhere."""
    accounts = tree.get("accounts")
    for name, account in accounts.items() if isinstance(accounts, dict) else ():
        grants = account.get("grants") if isinstance(account, dict) else None
        for grant_name, grant in grants.items() if isinstance(grants, dict) else ():
            if isinstance(grant, dict):
                yield account, (name, grant_name), grant


def _leaves(table: Mapping[str, Any], at: _Path = ()) -> Iterator[tuple[_Path, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*at, key))
        else:
            yield (*at, key), value


def _shown_value(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return REDACTED
        case tuple() | list():
            return ", ".join(_shown_value(part) for part in value)
        case _:
            return str(value)
