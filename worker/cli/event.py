"""`approvals event`: the facts that other systems are told, read from the ledger. JSON is the CloudEvents object itself."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import AGO, NOT_FOUND, Failure, Session, session

if TYPE_CHECKING:
    from worker.ledger.queries import Leaving

PAUSE = 0.5
"""Seconds between two looks while following."""

LAG = 1000
"""Positions that are looked at again: they are given when an event is written, and a slower transaction commits a lower one later."""


def words(event: Mapping[str, Any]) -> str:
    """What an event says, in a few words."""
    data = event["data"]
    parts = [f"step {data['step']}"] if data.get("step") else []
    parts += [str(data[n]) for n in ("action", "outcome", "reason", "status") if data.get(n)]
    changes = data.get("changes") or {}
    parts += [" to ".join(map(str, changes["status"])) if "status" in changes else ", ".join(changes)] if changes else []
    if isinstance(data.get("response"), Mapping):
        parts.append(f"{data['response'].get('action')} by {data['response'].get('actor')}")
    if isinstance(data.get("submission"), Mapping):
        parts.append(f"({data['submission'].get('key')})")
    if data.get("disputed"):
        parts.append("DISPUTED")
    return " ".join(parts)


COLUMNS: dict[str, output.Column] = {
    "time": "time",
    "type": "type",
    "source": "source",
    "subject": "subject",
    "sequence": "sequence",
    "what": words,
}


@click.group()
def event() -> None:
    """The events, as CloudEvents."""


@event.command("list")
@click.option("--since", type=AGO, help="Told since: 24h, 7d, or a time such as 2026-11-22T09:00:00Z.")
@click.option("--type", "type_", metavar="GLOB", help="For example 'step.*' or submission.parked.")
@click.option("--account", help="Only those of this account.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="The newest so many.")
@output.as_json
@session
def list_(s: Session, since: float | None, type_: str | None, account: str | None, limit: int, as_json: bool) -> None:
    """The newest events, the oldest of them first."""
    with s.ledger() as ledger:
        found = ledger.queries.events(since=since, type_=type_, account=account, limit=limit, newest=True)
        ways = {} if as_json else ledger.queries.leavings([e["id"] for _, e in found])

    def left(event: Mapping[str, Any]) -> str:
        return ", ".join(f"{way.sink} {way.state}" for way in ways.get(event["id"], ()))

    output.listing(as_json, [e for _, e in found], COLUMNS | {"left by": left, "id": "id"}, "no event")
    if len(found) == limit:
        output.aside(f"the newest {limit}: --limit shows more")


@event.command()
@click.argument("id_", metavar="ID")
@output.as_json
@session
def show(s: Session, id_: str, as_json: bool) -> None:
    """One event, and what became of it: by each sink, each try with its answer."""
    with s.ledger() as ledger:
        found, ways = ledger.queries.event(id_), ledger.queries.leavings([id_]).get(id_, ())
    if found is None:
        raise Failure(f"there is no event {id_}", NOT_FOUND)
    told = {"event": found, "deliveries": [asdict(way) for way in ways]}
    shown = json.dumps(found, ensure_ascii=True, indent=2).splitlines()
    output.document(as_json, told, [*shown, *(output.shown(line) for way in ways for line in _lines(way))])


def _lines(way: "Leaving") -> Iterator[str]:
    """A delivery in words: where it stands, then each try."""
    from worker.core.times import iso

    again = f", again at {iso(way.next_at)}" if way.next_at and way.tries else ""
    yield f"{way.sink}: {way.state}, {way.tries} {'try' if way.tries == 1 else 'tries'}{again}" + (
        f", {way.detail}" if way.detail and not way.history else ""
    )
    for each in way.history:
        yield f"  {iso(each.at)}  {each.outcome}  {each.took * 1000:.0f} ms  {each.detail}" + (f": {each.excerpt}" if each.excerpt else "")


@event.command()
@click.option("--since", type=AGO, help="Begin there instead of now.")
@click.option("--type", "type_", metavar="GLOB", help="For example 'step.*' or submission.parked.")
@click.option("--account", help="Only those of this account.")
@output.as_json
@session
def follow(s: Session, since: float | None, type_: str | None, account: str | None, as_json: bool) -> None:
    """Events as they are told, until Ctrl-C."""
    from worker.errors import LedgerDown

    away = False
    with s.ledger() as ledger:
        at = 0 if since is not None else ledger.queries.position()
        shown: dict[int, None] = {}
        try:
            while True:
                try:
                    found = ledger.queries.events(after=at, since=since, type_=type_, account=account)
                    away = False
                except LedgerDown as exc:
                    if not away:
                        output.aside(f"the ledger is away ({exc}): waiting for it")
                    away, found = True, []
                fresh = [(position, told) for position, told in found if position not in shown]
                for position, told in fresh:
                    at = max(at, position - LAG)
                    shown[position] = None
                    _print(told, as_json)
                while len(shown) > 2 * LAG:
                    del shown[next(iter(shown))]
                if not fresh:
                    time.sleep(PAUSE)
        except KeyboardInterrupt:
            return


def _print(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        output.line(told)
    else:
        cells = [output.shown(told.get(c) if isinstance(c, str) else c(told)) for c in COLUMNS.values()]
        output.say("  ".join(cells) if output.terminal() else "\t".join(cells))
