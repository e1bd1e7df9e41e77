"""`approvals sink`: the ways out for events, and how much has left by each."""

import click

from worker.cli import output
from worker.cli.session import AGO, USAGE, Failure, Session, session


@click.group()
def sink() -> None:
    """The ways out for events."""


@sink.command("list")
@output.as_json
@session
def list_(s: Session, as_json: bool) -> None:
    """Every sink with what is due, delivered, and was wanted by no queue."""
    with s.ledger() as ledger:
        counts = ledger.queries.deliveries()
    configured = s.settings.sinks
    objects = []
    for name in sorted(set(configured) | {c[0] for c in counts}):
        of = {state: n for sink_, state, n in counts if sink_ == name}
        known = configured.get(name)
        to = (known.exchange or s.settings.events_exchange) if known else None
        kind = known.kind if known else "(not configured)"
        objects.append({"name": name, "kind": kind, "to": to, **{k: of.get(k, 0) for k in ("due", "delivered", "unbound")}})
    output.listing(as_json, objects, {n: n for n in ("name", "kind", "to", "due", "delivered", "unbound")}, "no sink is configured")


@sink.command()
@click.argument("name")
@click.option("--missing", is_flag=True, help="Events that no queue was bound for when they left.")
@click.option("--since", type=AGO, help="All that left since: 24h, or a time. With --missing: of those, the missing ones.")
@output.as_json
@session
def replay(s: Session, name: str, missing: bool, since: float | None, as_json: bool) -> None:
    """Let events leave again, with the same ids: receivers drop what they know."""
    if name not in s.settings.sinks:
        raise Failure(f"unknown sink {name!r}: the settings have {', '.join(sorted(s.settings.sinks)) or 'none'}", USAGE)
    if not missing and since is None:
        raise Failure("say --missing, or --since when: replaying everything there ever was is seldom meant", USAGE)
    with s.ledger() as ledger:
        states = ["unbound"] if missing else ["unbound", "delivered"]
        count = sum(ledger.outbox.requeue(name, state=state, since=since or 0.0) for state in states)
    output.document(as_json, {"sink": name, "replayed": count}, [f"{count} events will leave by {name} again"])
