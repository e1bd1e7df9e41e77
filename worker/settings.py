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
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError, from_json
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from worker.errors import SettingsError

PREFIX = "APPROVALS_"
DEFAULT_PATH = Path("config/approvals.toml")
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
    """In a variable or a secret's file a list is written as JSON or with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return from_json(value)
        except ValueError:
            raise PydanticCustomError("list", "must be a JSON list, or have commas between its parts") from None
    return [part.strip() for part in value.split(",") if part.strip()]


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


def _endpoint(value: object) -> Url:
    if not isinstance(value, str):
        raise PydanticCustomError("address", "must be an address that begins with https://")
    _http(value)
    if "#" in value or not value.isascii() or not value.isprintable() or " " in value:
        raise PydanticCustomError("address", "must be written as it is sent: ASCII, without spaces and without #")
    return Url(value)


def _cidr(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise PydanticCustomError("network", "must be a network or an address, for example 10.1.0.0/16") from None
    return value


def _is_whsec(value: str) -> bool:
    """Whether it is a secret of Standard Webhooks 1.0.0."""
    prefix, _, key = value.partition("_")
    try:
        return prefix == "whsec" and 24 <= len(b64decode(key, validate=True)) <= 64
    except ValueError:
        return False


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
        if parts.scheme in {"redis", "rediss"}:
            _one_redis(parts)
        return Url(value)

    return BeforeValidator(check)


def _one_redis(parts: SplitResult) -> None:
    if ";" in parts.netloc or "," in parts.netloc:
        raise PydanticCustomError("redis", "must name one Redis server: neither Cluster nor Sentinel is spoken to")
    if not re.fullmatch(r"/?\d*", parts.path):
        raise PydanticCustomError("redis", "must end with the number of a database, as in redis://host:6379/0")


def _dsn(value: object) -> Url:
    parts = _split(value) if isinstance(value, str) else None
    if value and not (parts and parts.scheme and parts.username and parts.hostname and parts.path.strip("/")):
        raise PydanticCustomError("dsn", "must be a DSN as Sentry prints it, or empty")
    return Url(value)


def _project(value: str) -> str:
    if value[:2] in {"b.", "B."}:
        raise PydanticCustomError("project", "must stand without the b. in front, which Data Management alone puts there")
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        raise PydanticCustomError("project", "must be a UUID, for example 9eae7d59-1469-4389-bfb2-4114e2ba5545")
    return value.lower()


def _rsa(file: Path) -> Path:
    """Read once here, so that a worker does not start that could not sign. Nothing of what stands in it is told."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        pem = file.read_bytes()
    except OSError as unreadable:
        raise PydanticCustomError("key_file", "cannot be read: {why}", {"why": unreadable.strerror or "no such file"}) from None
    try:
        key = load_pem_private_key(pem, None)
    except Exception:  # noqa: BLE001  the library raises many, and their words may quote the key
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise PydanticCustomError("key_file", "must hold an RSA private key as PEM, without a password")
    return file


Seconds = Annotated[float, BeforeValidator(seconds), PlainSerializer(written)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Filled = Annotated[str, StringConstraints(min_length=1)]
HttpUrl = Annotated[str, AfterValidator(_http)]
Zone = Annotated[str, AfterValidator(_zone)]
Bind = Annotated[str, AfterValidator(_bind)]
ProjectId = Annotated[str, AfterValidator(_project)]
Cidr = Annotated[str, AfterValidator(_cidr)]
RsaKeyFile = Annotated[Path, AfterValidator(_rsa)]
Secret = Annotated[SecretStr, Field(min_length=1)]
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


SHORTEST_KEY = 32
"""Characters. A key is as good as what it was made of: `openssl rand -hex 32` makes 64, of 256 bits."""


class Ledger(_Section):
    """The SQL database that is the only truth."""

    url: LedgerUrl = Url("sqlite:///var/approvals.db")
    encryption_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = ()
    """Newest first. Empty: a key file beside an SQLite database, made at first use."""

    @field_validator("encryption_keys")
    @classmethod
    def _long(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in keys):
            raise PydanticCustomError("key", "each must have at least {n} characters (openssl rand -hex 32 makes one)", {"n": SHORTEST_KEY})
        return keys


class Broker(_Section):
    """Where rings, commands and events travel."""

    url: BrokerUrl = Url("memory://")
    visibility_timeout: Seconds = _in("60s")
    """Redis only: a command handed to an intake that did not answer for it comes again after this time."""


class _Grant(_Section):
    """One user's authorisation in an account. It acts as exactly one upstream user."""

    client_id: Filled
    acts_as: Filled


class ClientCredentials(_Grant):
    """Workiva: the client is bound to its user."""

    flow: ClassVar[str] = "client_credentials"
    client_secret: Secret


class RefreshToken(_Grant):
    """Autodesk: what a user consented to once, by `approvals login`, and what is kept renewed in the ledger."""

    flow: Literal["refresh_token"] = "refresh_token"
    client_secret: Secret | None = None
    """None: a public app, which proves itself by PKCE alone."""


class ServiceAccount(_Grant):
    """Autodesk: a user that is no person, and signs for itself."""

    flow: Literal["service_account"]
    client_secret: Secret
    service_account_id: Filled
    key_id: Filled
    private_key_file: RsaKeyFile


FEWEST = 10
"""Requests a minute. With fewer, the six that may leave at once would be most of a minute's."""


class _Account(_Section):
    """What every account has. It owns the feed, the budget, the breaker. Every time is in seconds."""

    kind: str
    base_url: HttpUrl
    writes: Literal["on", "hold"] = "on"
    when_exposed: Literal["once", "park", "resend"] = "once"
    mark: Literal["comment", "off"] = "comment"
    request_deadline: Seconds = _in("25s")
    lease: Seconds = _in("30s")
    upstream_cutoff: Seconds
    slack: Seconds = _in("20s")
    expires_after: Seconds = _in("7d")
    due_soon: Seconds = _in("24h")
    """Before a due date, `task.due_soon` is told. "0s": never."""
    timezone: Zone = "UTC"
    requests_per_minute: int = 0
    """0: the figure that the upstream publishes; where it publishes none, the rate is found."""

    @property
    def quiet_period(self) -> float:
        """How long after a claim nothing that it sent can still take effect, in seconds."""
        return self.lease + self.upstream_cutoff + self.slack

    @field_validator("request_deadline", "lease", "expires_after")
    @classmethod
    def _positive(cls, value: float) -> float:
        if value <= 0:
            raise PydanticCustomError("positive", "must be longer than nothing")
        return value

    @field_validator("requests_per_minute")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value < 0 or 0 < value < FEWEST:
            raise PydanticCustomError("too_few", "must be 0, or at least {least}", {"least": FEWEST})
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


def _which(key: str, *names: str, default: str | None = None) -> Discriminator:
    """A section's *key* says which model it is. What is wrong with the key is told at the key, in plain words."""

    def tag(section: object) -> str:
        # what is no table at all is refused by whichever model
        return f"[{section.get(key, default) if isinstance(section, dict) else getattr(section, key, names[0])}]"

    return Discriminator(tag, custom_error_type=key, custom_error_message=f"must be {' or '.join(map(repr, names))}")


AutodeskGrant = Annotated[
    Annotated[RefreshToken, Tag("[refresh_token]")] | Annotated[ServiceAccount, Tag("[service_account]")],
    _which("flow", "refresh_token", "service_account", default="refresh_token"),
]


class WorkivaAccount(_Account):
    """One workspace."""

    kind: Literal["workiva"]
    base_url: HttpUrl = "https://api.app.wdesk.com"
    api_version: Literal["2026-01-01", "2022-01-01"] = "2026-01-01"
    workspace: str = ""
    """Accounts of one host that name the same workspace share its tasks. Empty: a workspace of its own."""
    upstream_cutoff: Seconds = _in("29s")
    grants: dict[Name, ClientCredentials] = Field(default_factory=dict)


class AutodeskAccount(_Account):
    """One project of Autodesk Construction Cloud, as one app sees it."""

    kind: Literal["autodesk"]
    base_url: HttpUrl = "https://developer.api.autodesk.com"
    project_id: ProjectId
    upstream_cutoff: Seconds = _in("60s")
    """None is published."""
    grants: dict[Name, AutodeskGrant] = Field(default_factory=dict)


Account = Annotated[
    Annotated[WorkivaAccount, Tag("[workiva]")] | Annotated[AutodeskAccount, Tag("[autodesk]")],
    _which("kind", "workiva", "autodesk"),
]

_ACCOUNTS: Final[Mapping[str, type[_Account]]] = {"workiva": WorkivaAccount, "autodesk": AutodeskAccount}
_GRANTS: Final[Mapping[str, type[_Grant]]] = {
    "workiva": ClientCredentials,
    "refresh_token": RefreshToken,
    "service_account": ServiceAccount,
}
_INSERTED: Final = {"[key]", *(f"[{tag}]" for tag in (*_ACCOUNTS, *_GRANTS, "exchange", "webhook"))}
"""What pydantic puts into a path that no file has."""


class _Sink(_Section):
    """What every way out for events has."""

    kind: str
    events: Annotated[tuple[Filled, ...], BeforeValidator(_listed)] = ("*",)
    accounts: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    """Empty: events of all of them, and of none."""
    upstreams: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    """As above."""


class ExchangeSink(_Sink):
    """A topic exchange of the broker."""

    kind: Literal["exchange"] = "exchange"
    exchange: str = ""
    """Empty: the namespace and `.events`."""


class WebhookSink(_Sink):
    """An HTTP endpoint."""

    kind: Literal["webhook"]
    allow_http: bool = False
    url: Annotated[Url, BeforeValidator(_endpoint), _shown]
    secrets: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed), Field(min_length=1)]
    """Newest first; each of them signs."""
    allow: Annotated[tuple[Cidr, ...], BeforeValidator(_listed)] = ()
    """Networks that are called although they are not public."""
    rate: float = Field(default=0, ge=0)
    """Tries a second. 0: as fast as it takes them."""
    in_flight: int = Field(default=16, ge=1, le=1000)
    deadline: Seconds = _in("15s")
    schedule: Annotated[tuple[Seconds, ...], BeforeValidator(_listed)] = Field(
        default=("5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"), validate_default=True
    )
    disable_after: Seconds = _in("5d")
    excerpt: int = Field(default=512, ge=0, le=65_536)

    @field_validator("url")
    @classmethod
    def _encrypted(cls, url: Url, info: ValidationInfo) -> Url:
        if urlsplit(url).scheme == "http" and not info.data.get("allow_http"):
            raise PydanticCustomError("address", "must begin with https:// (or set allow_http)")
        return url

    @field_validator("secrets")
    @classmethod
    def _signs(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(_is_whsec(secret.get_secret_value()) for secret in secrets):
            msg = "each must be whsec_ and the base64 of 24 to 64 bytes (echo whsec_$(openssl rand -base64 32) makes one)"
            raise PydanticCustomError("secret", msg)
        return secrets

    @field_validator("deadline")
    @classmethod
    def _answers(cls, value: float) -> float:
        if not 1 <= value <= 60:
            raise PydanticCustomError("deadline", "must be 1s to 60s")
        return value


Sink = Annotated[
    Annotated[ExchangeSink, Tag("[exchange]")] | Annotated[WebhookSink, Tag("[webhook]")],
    _which("kind", "exchange", "webhook", default="exchange"),
]


def _exchange() -> dict[str, ExchangeSink | WebhookSink]:
    """What stands where no other is named."""
    return {"exchange": ExchangeSink()}


class Intake(_Section):
    """How commands are let in."""

    max_bytes: int = Field(default=1024 * 1024, ge=1024)
    batch: int = Field(default=200, ge=1, le=10_000)
    dedupe_window: Seconds = _in("24h")


SHORTEST_TOKEN = 16
"""Characters. What is shorter is no secret to whoever may try a thousand a second; `openssl rand -hex 32` makes 64."""


class Console(_Section):
    """The HTTP API. Without a token there is none."""

    bind: Bind = "127.0.0.1:8080"
    tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(_listed)] = ()
    """Any of them opens the door: several during a rotation."""

    @field_validator("tokens")
    @classmethod
    def _long(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for token in tokens:
            text = token.get_secret_value()
            if len(text) < SHORTEST_TOKEN or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):  # RFC 6750, what may stand after "Bearer"
                msg = "each must have at least {n} characters, of A-Z a-z 0-9 . _ ~ + / - (openssl rand -hex 32 makes one)"
                raise PydanticCustomError("token", msg, {"n": SHORTEST_TOKEN})
        return tokens


class Retention(_Section):
    """What `approvals prune` forgets, by age."""

    tries: Seconds = _in("30d")
    deliveries: Seconds = _in("90d")
    events: Seconds = _in("365d")


class Sentry(_Section):
    """Where faults are told. Off without a DSN."""

    dsn: SentryDsn = Url()
    environment: str = "production"
    traces_sample_rate: float = Field(default=0.0, ge=0, le=1)


class Log(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """Everything that may be set. Made by :func:`load`, which is where the checks across accounts are."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,  # the first value that is not JSON would end the reading, and hide all other faults
    )

    namespace: Name = "approvals"
    secrets_dir: Path | None = None
    ledger: Ledger = Ledger()
    broker: Broker = Broker()
    accounts: dict[Name, Account] = Field(default_factory=dict)
    sinks: dict[Name, Sink] = Field(default_factory=_exchange)
    intake: Intake = Intake()
    console: Console = Console()
    retention: Retention = Retention()
    sentry: Sentry = Sentry()
    log: Log = Log()

    @property
    def events_exchange(self) -> str:
        """The exchange that events go to where a sink names none."""
        return f"{self.namespace}.events"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What :func:`load` hands over. Settings made by hand read nothing."""
        return (init_settings, *_asked.get())


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
_asked: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("sources", default=())


class _Found:
    """The sources, strongest first; which of them holds each key; and what is wrong with the sources themselves."""

    def __init__(self) -> None:
        self.sources: list[PydanticBaseSettingsSource] = []
        self.origins: dict[_Path, str] = {}
        self.faults: list[str] = []

    def ask(self, source: PydanticBaseSettingsSource, origin: str) -> dict[str, Any]:
        """Lay a source over those before it, and note which keys are its own."""
        self.sources.insert(0, source)
        self.origins |= {key: origin for key, _ in _leaves(source())}
        return source()

    def ask_named(self, named: Mapping[str, tuple[str | None, str]]) -> None:
        """The same for variables, each by itself. The library passes over one that fits no key; here that is a fault."""
        for name, (value, origin) in sorted(named.items(), reverse=True):
            variable = EnvSettingsSource(Settings)
            variable.env_vars = {name: value}
            key = name.removeprefix(PREFIX.lower()).replace("__", ".")
            if not self.ask(variable, origin):
                self.faults.append(f"{key}: unknown key ({origin})")
            if any(other.startswith(f"{name}__") for other in named):
                self.faults.append(f"{key}: is a section and a value at once ({origin})")

    def origin(self, path: _Path) -> str:
        """Where *path*, the list it is a part of, or the first key below it was found."""
        above = [path[:n] for n in range(len(path), 0, -1)]
        below = [key for key in self.origins if key[: len(path)] == path]
        return next((self.origins[key] for key in above + below if key in self.origins), "default")

    def fault(self, path: _Path, what: str) -> None:
        """Note a fault by its key and the source that holds it."""
        origin = self.origin(path)
        self.faults.append(f"{'.'.join(path)}: {what}" + (f" ({origin})" if origin != "default" else ""))


def _read(path: Path | None, env: Mapping[str, str]) -> tuple[Settings, _Found]:
    found = _Found()
    _ask_files(found, path or env.get("APPROVALS_CONFIG"))
    _ask_secrets(found, env)
    # A variable without `__` may be another program's (APPROVALS_TEST_POSTGRES): only our own names are read.
    single = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    ours = (name for name in env if name.startswith(PREFIX) and ("__" in name or name in single))
    found.ask_named({name.lower(): (env[name], f"environment {name}") for name in ours})
    merged = InitSettingsSource(Settings, init_kwargs={})  # as the weakest it is told what all others came to
    token = _asked.set((*found.sources, merged))
    settings = None
    try:
        settings = Settings()
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_context=True, include_input=False):
            key = _path_of(error["loc"], error["type"])
            found.fault(key, _plainly(key, error["type"], error["msg"], error.get("ctx", {})))
    finally:
        _asked.reset(token)
    found.faults += [*_shared_grants(merged.current_state), *_unsealed(merged.current_state), *_silent_sinks(merged.current_state)]
    if found.faults or settings is None:
        lines = "\n".join(f"  {fault}" for fault in sorted(set(found.faults)))
        raise SettingsError(f"the settings cannot be used:\n{lines}")
    return settings, found


def _ask_files(found: _Found, named: str | Path | None) -> None:
    main = Path(named or DEFAULT_PATH)
    if named and not main.is_file():
        found.faults.append(f"{main}: there is no such file")
    _ask_toml(found, main)
    for file in sorted((main.parent / "accounts.d").glob("*.toml")):
        known = {key[:2] for key in found.origins}
        for key, _ in _leaves(_ask_toml(found, file)):
            if key[0] != "accounts":
                found.faults.append(f"{key[0]}: only [accounts.<name>] may stand in accounts.d ({file})")
            elif key[:2] in known:
                found.faults.append(f"{'.'.join(key[:2])}: stands in two files ({file} is the second)")


def _ask_toml(found: _Found, file: Path) -> dict[str, Any]:
    try:
        return found.ask(TomlConfigSettingsSource(Settings, file), str(file))
    except (ValueError, OSError) as unreadable:
        # The parser's own sentence may quote what stands there; its position does not.
        where = re.search(r"\(at .*\)$", str(unreadable))
        found.faults.append(f"{file}: cannot be read as TOML{' ' + where[0] if where else ''}")
        return {}


def _ask_secrets(found: _Found, env: Mapping[str, str]) -> None:
    in_files = (source().get("secrets_dir") for source in found.sources)
    named = env.get(f"{PREFIX}SECRETS_DIR") or next(filter(None, in_files), None)
    if not isinstance(named, str):
        return
    try:
        folder = NestedSecretsSettingsSource(EnvSettingsSource(Settings), named, secrets_dir_missing="error", secrets_case_sensitive=True)
    except (ValueError, OSError):
        found.faults.append("secrets_dir: is no directory, or a file in it cannot be read as text")
        return
    # Secrets of other programs may lie there too, and folders.
    ours = {name: text for name, text in folder.env_vars.items() if "__" in name and os.sep not in name}
    for file in Path(named).glob("[!.]*__*"):
        if file.name not in ours and not file.is_dir():
            found.faults.append(f"secrets_dir: a link that leads out of it, or nowhere, is not read ({file})")
    prefix = PREFIX.lower()
    found.ask_named({prefix + name.lower().removeprefix(prefix): (ours[name], f"{named}/{name}") for name in ours})


def _path_of(loc: tuple[int | str, ...], fault: str) -> _Path:
    path = tuple(str(part) for part in loc if part not in _INSERTED)
    return (*path, fault) if fault in {"kind", "flow"} else path  # `_which` refuses the section, and means its key


def _unknown(path: _Path) -> str:
    match path:
        case ("accounts", _, key):
            homes = [f"{kind} accounts" for kind, model in _ACCOUNTS.items() if key in model.model_fields]
        case ("accounts", _, "grants", _, key):
            homes = [f"{kind} grants" for kind, model in _GRANTS.items() if key in model.model_fields]
        case _:
            homes = []
    return f"belongs to {' and '.join(homes)}" if homes else "unknown key"


def _plainly(path: _Path, kind: str, message: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "extra_forbidden":
            return _unknown(path)
        case "missing":
            return "is missing"
        case "model_type" | "dict_type":
            return "is a section; its keys are set one by one"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return "a name must be made of small letters, digits and _, and begin with a letter"
        case _:
            return message[:1].lower() + message[1:].replace("Input should", "must")


def _shared_grants(tree: Mapping[str, Any]) -> Iterator[str]:
    """Refuse two grants of one realm that act as one user: neither could tell its own response from the other's."""
    seen: dict[tuple[object, ...], str] = {}
    for account, name, grant in _grants(tree):
        kind = str(account.get("kind"))
        default = _ACCOUNTS[kind].model_fields["base_url"].default if kind in _ACCOUNTS else ""
        address = _split(str(account.get("base_url", default)))
        host = address.netloc.lower() if address else ""
        user = str(grant.get("acts_as", ""))
        key = f"accounts.{name[0]}.grants.{name[1]}"
        places: tuple[tuple[str, object], ...]
        if kind == "autodesk":
            places = (("project", str(account.get("project_id")).lower()),)
        else:  # one client belongs to one workspace, so a shared client gives a shared workspace away
            places = ("workspace", account.get("workspace") or name[0]), ("client", grant.get("client_id"))
        for place in places:
            realm = (kind, host, str(place), user)
            if user and seen.setdefault(realm, key) != key:
                yield f"{key}.acts_as: acts as the same user as {seen[realm]}"
                break


def _unsealed(tree: Mapping[str, Any]) -> Iterator[str]:
    """Refuse tokens that would have to lie open: several machines share no key file, so PostgreSQL needs a key of its own."""
    ledger = tree.get("ledger")
    if not isinstance(ledger, dict) or not str(ledger.get("url", "")).startswith("postgresql") or ledger.get("encryption_keys"):
        return
    for account, name, grant in _grants(tree):
        if account.get("kind") == "autodesk" and grant.get("flow", "refresh_token") == "refresh_token":
            what = f"is needed to store the tokens of accounts.{name[0]}.grants.{name[1]} in PostgreSQL"
            yield f"ledger.encryption_keys: {what}: set one (openssl rand -hex 32 makes it), the same for every process"
            return


def _silent_sinks(tree: Mapping[str, Any]) -> Iterator[str]:
    """Refuse a sink that names an account which is not there: it would let out nothing, and say nothing."""
    accounts, sinks = tree.get("accounts"), tree.get("sinks")
    known = set(accounts) if isinstance(accounts, dict) else set()
    for name, sink in sinks.items() if isinstance(sinks, dict) else ():
        named = sink.get("accounts") if isinstance(sink, dict) else None
        try:
            wanted = _listed(named)
        except PydanticCustomError:
            continue  # told already
        if isinstance(wanted, list | tuple) and not {a for a in wanted if isinstance(a, str)} <= known:
            yield f"sinks.{name}.accounts: names an account that is not configured"


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
