"""What a command stands on: its settings, the ledger, the runtime; the words for times; and how it fails.

Reads open the ledger alone; what looks upstream or rings opens the whole runtime. Expected failures are sentences that say what is wrong
and what to do, with the exit status that INTERFACES promises.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.errors import ApprovalsError, LedgerDown, SchemaMismatch, SettingsError

if TYPE_CHECKING:
    from worker.flows import Account, Runtime
    from worker.ledger import Ledger
    from worker.settings import Settings

FAILED, USAGE, CONFLICT, NOT_FOUND, PARKED, TIMED_OUT, ELSEWHERE = 1, 2, 3, 4, 5, 6, 7

STATUS: Final = {
    "applied": 0,
    "refused": FAILED,
    "superseded": FAILED,
    "expired": FAILED,
    "cancelled": FAILED,
    "abandoned": FAILED,
    "parked": PARKED,
    "misapplied": ELSEWHERE,
    "duplicated": ELSEWHERE,
}
"""A submission's last state -> the exit status of who waited for it."""


class Failure(click.ClickException):
    """A sentence and an exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        """On standard error, so that what is piped stays clean."""
        click.echo(f"approvals: {self.format_message()}", err=True, file=file)


def translated(exc: Exception) -> Failure | None:
    """The failure that an expected exception is; None for a bug."""
    match exc:
        case SettingsError():
            return Failure(str(exc), USAGE)
        case SchemaMismatch():
            return Failure(str(exc))
        case LedgerDown():
            return Failure(f"the ledger cannot be used: {_one_line(exc)}. See `ledger.url` in `approvals config`")
        case ApprovalsError():
            return Failure(str(exc))
        case BrokenPipeError():
            return None  # whoever read our output has enough: click sees to it
        case ConnectionError():
            return Failure(f"the broker cannot be used: {_one_line(exc)}. See `broker.url` in `approvals config`, and `approvals doctor`")
    if type(exc).__module__.startswith("alembic."):
        return Failure(f"the ledger cannot be migrated: {_one_line(exc)}. Was it made by a newer release? Then run that one")
    if type(exc).__module__.startswith("sqlalchemy."):
        said = getattr(exc, "orig", None) or exc
        return Failure(f"the ledger's database says: {_one_line(said)}. See `ledger.url` in `approvals config`")
    return None


def _one_line(exc: object) -> str:
    return " ".join(str(exc).split()).rstrip(".")


class Session:
    """One call of the command. Nothing is read or opened before it is asked for."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    @cached_property
    def settings(self) -> "Settings":
        """The settings. Raises SettingsError with every fault."""
        from worker.settings import load

        return load(self.config)

    @contextmanager
    def ledger(self) -> Iterator["Ledger"]:
        """The ledger alone. An embedded one is migrated on use, any other must be of this release."""
        from worker.ledger import Ledger

        _quiet()
        try:
            ledger = Ledger(self.settings.ledger.url, sinks=self.settings.sinks)
        except OSError as exc:
            raise LedgerDown(f"{exc.strerror}: {exc.filename}") from exc
        try:
            try:
                ledger.check()
            except SchemaMismatch:
                if not ledger.database.sqlite:
                    raise
                ledger.migrate()
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def runtime(self) -> Iterator["Runtime"]:
        """Everything that flows need."""
        from worker import bootstrap

        _quiet()
        try:
            rt = bootstrap.runtime(self.settings)
        except OSError as exc:
            if isinstance(exc, ConnectionError):
                raise
            raise LedgerDown(f"{exc.strerror}: {exc.filename}") from exc
        try:
            yield rt
        finally:
            bootstrap.close(rt)

    def account(self, name: str | None) -> str:
        """The account of that name, or the only one there is."""
        known = sorted(self.settings.accounts)
        if name is None and len(known) == 1:
            return known[0]
        if not known:
            raise Failure("no account is configured: add [accounts.NAME] to the settings, or try `approvals up --sandbox`", USAGE)
        if name is None:
            raise Failure(f"say which account with --account: {', '.join(known)}", USAGE)
        if name not in known:
            raise Failure(f"unknown account {name!r}: the settings have {', '.join(known)}", USAGE)
        return name

    @staticmethod
    def grant(account: "Account", name: str | None) -> str:
        """The grant of that name, or the account's only one."""
        known = sorted(account.grants)
        if name is None and len(known) == 1:
            return known[0]
        if not known:
            raise Failure(f"account {account.name} has no grant: add [accounts.{account.name}.grants.NAME] to the settings", USAGE)
        if name is None:
            raise Failure(f"say which grant with --as: {', '.join(known)}", USAGE)
        if name not in known:
            raise Failure(f"unknown grant {name!r}: account {account.name} has {', '.join(known)}", USAGE)
        return name


def _quiet() -> None:
    """Our own log lines are for the processes that work; a command says what it has to say. Errors go to standard error all the same."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
    )


session = click.make_pass_decorator(Session)
"""Hands a command its session."""


# --- times as people write them -----------------------------------------------------------------------------------------------------------

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_seconds(text: str) -> float | None:
    """`30`, `30s`, `2m`, `1h`, `7d` as seconds; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", text.strip())
    return float(found[1]) * _UNITS[found[2] or "s"] if found else None


class Seconds(click.ParamType[float]):
    """A duration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = read_seconds(str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: write 30s, 2m, 1h or 7d", param, ctx)
        return found


class Moment(click.ParamType[float]):
    """A time: ISO 8601 with an offset, or a duration before (`past`) or after now."""

    name = "time"

    def __init__(self, *, past: bool) -> None:
        self.past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds since the epoch."""
        from worker.core.times import parse

        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        away = read_seconds(text) if not text.isdigit() else None
        if away is not None:
            return time.time() + (-away if self.past else away)
        try:
            return parse(text)
        except (ValueError, OverflowError):
            example = "or 24h for that long ago" if self.past else "or 2h for that long from now"
            self.fail(f"{value!r} is no time: write 2026-11-22T09:00:00Z, {example}", param, ctx)


SECONDS, AGO, AHEAD = Seconds(), Moment(past=True), Moment(past=False)


def age(seconds: float) -> str:
    """`3 s`, `12 min`, `5 h`, `9 d`: how long ago, for people."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(0.0, seconds) / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"
