"""The composition root: settings in, a runtime out. The only file that names concrete classes."""

import gc

import structlog

from worker import telemetry
from worker.core.events import Event
from worker.core.submission import Rules, Submission
from worker.engine import Engine
from worker.flows import Account, Runtime
from worker.ledger import Ledger
from worker.rings import Rings
from worker.settings import Account as AccountSettings
from worker.settings import Settings
from worker.sinks import KNOWN as SINKS
from worker.upstreams import KNOWN as UPSTREAMS
from worker.upstreams.auth import Grant
from worker.upstreams.workiva import ACTIONS

log = structlog.get_logger()

ALARMING = frozenset({"parked", "misapplied", "duplicated"})
"""States that a person has to see: without a message of their own nobody would (facts: Sentry captures no such thing by itself)."""


def runtime(settings: Settings) -> Runtime:
    """Everything that flows need. Opens nothing but files: servers are reached when first used.

    An embedded ledger (SQLite) is migrated here; any other must be of this release already. Raises SchemaMismatch, LedgerDown.
    """
    ledger = Ledger(settings.ledger.url, sinks={name: s.events for name, s in settings.sinks.items()})
    if ledger.database.sqlite:
        ledger.migrate()
    ledger.check()
    rings = Rings(settings.broker.url, settings.namespace, telemetry.report)
    return Runtime(
        ledger=ledger,
        engine=Engine(),
        accounts={name: account(name, a) for name, a in settings.accounts.items()},
        sinks={
            name: SINKS[s.kind](name, settings.broker.url, settings.namespace, exchange=s.exchange) for name, s in settings.sinks.items()
        },
        ring=rings.ring,
        notice=notice,
        alarm=alarm,
        on_close=[rings.close],
    )


def at_work() -> None:
    """Called by a process that has made its runtime and begins its work. What is loaded by now stays, so the collector need not look
    at it again and again; and what a wave makes is many and short-lived. Measured: an eighth of the CPU of a submission.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def close(rt: Runtime) -> None:
    """Give everything back, in the order that loses nothing."""
    rt.engine.close()
    for sink in rt.sinks.values():
        sink.close()
    for each in rt.on_close:
        each()
    rt.ledger.close()


def account(name: str, s: AccountSettings) -> Account:
    """An account as flows see it."""
    grants = {g: Grant(v.client_id, v.client_secret.get_secret_value()) for g, v in s.grants.items()}
    return Account(
        name=name,
        kind=s.kind,
        connector=UPSTREAMS[s.kind](s.base_url, s.api_version, grants, s.timezone),
        rules=Rules(
            deadline=s.request_deadline,
            lease=s.lease,
            cutoff=s.upstream_cutoff,
            slack=s.slack,
            when_exposed=s.when_exposed,
            marks=s.mark == "comment",
            hold=s.writes == "hold",
        ),
        grants={g: v.acts_as for g, v in s.grants.items()},
        expires_after=s.expires_after,
        actions=ACTIONS,
    )


def notice(s: Submission) -> None:
    """A submission came to an end: a line in the log, and a message to people where they have to decide."""
    about = {
        "submission": s.id,
        "account": s.command.account,
        "task": s.command.task,
        "action": s.command.action,
        "attempts": len(s.attempts),
    }
    name = f"submission.{s.state}"
    if s.state in ALARMING:
        telemetry.tell(name, (s.command.account,), key=s.command.key, reason=s.reason, **about)
    else:
        log.info(name, key=s.command.key, reason=s.reason, **about)


def alarm(event: Event) -> None:
    """Something that a person has to mend in the settings: a grant is stopped (A14), an API version ends."""
    telemetry.tell(event.type, tuple(str(event.data[n]) for n in ("account", "grant") if n in event.data), **event.data)
