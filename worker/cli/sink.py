"""`approvals sink`: the ways out for events, how much has left by each, and how they are tried, shut off and let go on."""

import getpass
import secrets
import time
from typing import TYPE_CHECKING

import click

from worker.cli import output
from worker.cli.session import AGO, FAILED, NOT_FOUND, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.settings import ExchangeSink, Settings, WebhookSink

STATES = ("due", "delivered", "unbound", "dead")


@click.group()
def sink() -> None:
    """The ways out for events."""


@sink.command("list")
@output.as_json
@session
def list_(s: Session, as_json: bool) -> None:
    """Every sink with what is due, delivered, wanted by no queue, and set aside."""
    from worker.core.delivery import in_words

    with s.ledger() as ledger:
        counts, standings, now = ledger.queries.deliveries(), ledger.outbox.standings(), ledger.queries.now()
    configured = s.settings.sinks
    objects = []
    for name in sorted(set(configured) | {c[0] for c in counts}):
        of = {state: n for sink_, state, n in counts if sink_ == name}
        known = configured.get(name)
        about = {
            "name": name,
            "kind": known.kind if known else "(not configured)",
            "to": to(known, s.settings) if known else None,
            "state": in_words(standings.get(name), now),
        }
        objects.append(about | {k: of.get(k, 0) for k in STATES})
    output.listing(as_json, objects, {n: n for n in ("name", "kind", "to", "state", *STATES)}, "no sink is configured")


def to(known: "ExchangeSink | WebhookSink", settings: "Settings") -> str:
    """Where a sink leads, without what an address may hide."""
    return known.url.redacted if known.kind == "webhook" else known.exchange or settings.events_exchange


@sink.command()
@click.argument("name")
@output.as_json
@session
def enable(s: Session, name: str, as_json: bool) -> None:
    """Let events out by it again: what has waited leaves at once, in order."""
    _known(s, name)
    with s.ledger() as ledger:
        count = ledger.outbox.enable(name)
    output.document(as_json, {"sink": name, "due": count}, [f"{name} is on: {_events(count)} waited, and may leave now"])


@sink.command()
@click.argument("name")
@click.option("--note", default="", help="Why, for whoever finds it shut.")
@output.as_json
@session
def disable(s: Session, name: str, note: str, as_json: bool) -> None:
    """Let nothing out by it, until it is enabled. What is written meanwhile waits."""
    _known(s, name)
    why = f"by {getpass.getuser()}" + (f": {note}" if note else "")
    with s.ledger() as ledger:
        changed = ledger.outbox.disable(name, why)
    told = f"{name} is off: events for it wait until `approvals sink enable {name}`" if changed else f"{name} was off already"
    output.document(as_json, {"sink": name, "changed": changed}, [told])


@sink.command()
@click.argument("name")
@output.as_json
@session
def test(s: Session, name: str, as_json: bool) -> None:
    """Send an event of type sink.test, which nobody has to act on, and say what came of it. It is in no ledger, and has no sequence."""
    from worker.core.delivery import Delivery, Left
    from worker.core.events import cloudevent, routing_key, sink_test
    from worker.flows.emit import attempt

    _known(s, name)
    event = sink_test(f"/{s.settings.namespace}/{name}", name, secrets.token_hex(8), time.time())
    with s.runtime() as rt:
        result = attempt(rt, name, Delivery(event.id, routing_key(event.type, event.source), cloudevent(event, None)))
    told = {
        "sink": name,
        "event": event.id,
        "result": result.left.value,
        "detail": result.detail,
        "status": result.status,
        "seconds": None if result.took is None else round(result.took, 3),
        "answer": result.excerpt,
    }
    output.document(as_json, told)
    if result.left is not Left.DELIVERED:
        raise Failure(f"{name} did not take it: {result.detail}", FAILED)


@sink.command()
@click.argument("name")
@click.option("--event", "id_", metavar="ID", help="The event of this id, whatever became of it.")
@click.option("--since", type=AGO, help="All that was written since: 24h, or a time. With --missing: of those, the missing ones.")
@click.option("--until", type=AGO, help="And before that.")
@click.option("--missing", is_flag=True, help="Events that no queue was bound for when they left, or that were set aside.")
@output.as_json
@session
def replay(s: Session, name: str, id_: str | None, since: float | None, until: float | None, missing: bool, as_json: bool) -> None:
    """Let events leave again, with the same ids: receivers drop what they know."""
    from worker.ledger.outbox import MISSING

    _known(s, name)
    if not missing and since is None and id_ is None:
        raise Failure("say --event, --missing, or --since when: replaying everything there ever was is seldom meant", USAGE)
    if id_ is not None and (missing or since is not None or until is not None):
        raise Failure("--event names one event by itself: leave the others out", USAGE)
    states = MISSING if missing else (*MISSING, "delivered")
    with s.ledger() as ledger:
        count = ledger.outbox.requeue(name, states, since=since or 0.0, until=until, event=id_)
        off = ledger.outbox.standing(name).off
    if id_ is not None and not count:
        raise Failure(f"{name} has let out no event {id_}: is it due still, or for other sinks? `approvals event show {id_}`", NOT_FOUND)
    when = f", after `approvals sink enable {name}`: it is off" if off else ""
    output.document(as_json, {"sink": name, "replayed": count}, [f"{_events(count)} will leave by {name} again{when}"])


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _known(s: Session, name: str) -> None:
    if name not in s.settings.sinks:
        raise Failure(f"unknown sink {name!r}: the settings have {', '.join(sorted(s.settings.sinks)) or 'none'}", USAGE)
