"""The composition root: settings in, a runtime out. The only file that names concrete classes."""

import gc
import ssl
import time
from functools import partial
from inspect import signature

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from worker import telemetry
from worker.core.addresses import networks, refusal
from worker.core.delivery import Policy
from worker.core.events import Event
from worker.core.submission import Rules, Submission
from worker.engine import Engine, boottime
from worker.flows import Account, Runtime
from worker.ledger import Ledger
from worker.rings import Rings
from worker.settings import Account as AccountSettings
from worker.settings import ClientCredentials, ExchangeSink, RefreshToken, ServiceAccount, Settings, WebhookSink
from worker.sinks.base import Sink
from worker.sinks.exchange import Exchange
from worker.sinks.webhook import Webhook
from worker.upstreams import KNOWN as UPSTREAMS
from worker.upstreams import auth
from worker.upstreams.base import Connector
from worker.upstreams.vault import Vault

log = structlog.get_logger()

ALARMING = frozenset({"parked", "misapplied", "duplicated"})
"""States that a person has to see: without a message of their own nobody would (facts: Sentry captures no such thing by itself)."""


def runtime(settings: Settings) -> Runtime:
    """Everything that flows need. Opens nothing but files: servers are reached when first used.

    An embedded ledger (SQLite) is migrated here; any other must be of this release already. Raises SchemaMismatch, LedgerDown.
    """
    keys = [key.get_secret_value() for key in settings.ledger.encryption_keys]
    ledger = Ledger(settings.ledger.url, sinks=settings.sinks, keys=keys)
    if ledger.database.sqlite:
        ledger.migrate()
    ledger.check()
    rings = Rings(settings.broker.url, settings.namespace, telemetry.report)
    vault = Vault(boottime)
    verify = httpx.create_ssl_context()  # for all engines: loading the roots costs 19 ms
    return Runtime(
        ledger=ledger,
        engine=Engine(verify=verify),
        vault=vault,
        accounts={name: account(name, a, vault) for name, a in settings.accounts.items()},
        sinks={name: sink(name, s, settings) for name, s in settings.sinks.items()},
        outside={name: outside(s, verify) for name, s in settings.sinks.items() if isinstance(s, WebhookSink)},
        namespace=settings.namespace,
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
    for engine in (rt.engine, *rt.outside.values()):
        engine.close()
    for way_out in rt.sinks.values():
        way_out.close()
    for each in rt.on_close:
        each()
    rt.ledger.close()


def sink(name: str, s: ExchangeSink | WebhookSink, settings: Settings) -> Sink:
    """A way out as flows see it."""
    match s:
        case ExchangeSink():
            return Exchange(name, settings.broker.url, settings.namespace, exchange=s.exchange)
        case WebhookSink():
            return Webhook(
                name,
                s.url,
                [secret.get_secret_value() for secret in s.secrets],
                clock=time.time,
                policy=Policy(s.schedule, s.rate or None, s.disable_after),
                deadline=s.deadline,
                room=s.in_flight,
                excerpt=s.excerpt,
            )


def outside(s: WebhookSink, verify: ssl.SSLContext) -> Engine:
    """The engine that calls an endpoint: it connects to public addresses, and to what the settings allow beside them."""
    return Engine(connections=s.in_flight, verify=verify, guard=partial(refusal, allowed=networks(s.allow)), excerpt=s.excerpt)


def account(name: str, s: AccountSettings, vault: Vault) -> Account:
    """An account as flows see it."""
    made = connector(s, vault)
    return Account(
        name=name,
        kind=s.kind,
        connector=made,
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
        actions=made.actions,
        due_soon=s.due_soon,
    )


def connector(s: AccountSettings, vault: Vault) -> Connector:
    """The connector of an account: each of its fields holds the setting of that name, so that a new upstream needs no line here."""
    made = UPSTREAMS[s.kind]
    at_hand = dict(s) | {"grants": {name: grant(g, vault) for name, g in s.grants.items()}}
    return made(**{name: at_hand[name] for name in signature(made).parameters if name in at_hand})


def grant(s: ClientCredentials | RefreshToken | ServiceAccount, vault: Vault) -> auth.Grant | auth.Consented | auth.ServiceAccount:
    """A grant as a connector sees it. A private key is read here: the settings have seen that it can be."""
    match s:
        case ClientCredentials():
            return auth.Grant(s.client_id, s.client_secret.get_secret_value())
        case RefreshToken():
            return auth.Consented(s.client_id, s.client_secret.get_secret_value() if s.client_secret else "", s.acts_as, vault)
        case ServiceAccount():
            key = load_pem_private_key(s.private_key_file.read_bytes(), None)
            assert isinstance(key, RSAPrivateKey)
            return auth.ServiceAccount(s.client_id, s.client_secret.get_secret_value(), s.service_account_id, s.key_id, key)


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
    """Something that a person has to mend in the settings: a grant is stopped (A14), an API version ends, a sink is shut off."""
    telemetry.tell(event.type, tuple(str(event.data[n]) for n in ("account", "grant", "sink") if n in event.data), **event.data)
