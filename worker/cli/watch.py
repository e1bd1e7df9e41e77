"""`approvals watch`: what is polled."""

import click

from worker.cli import output
from worker.cli.session import NOT_FOUND, SECONDS, USAGE, Failure, Session, session


@click.group()
def watch() -> None:
    """Tasks and feeds that are polled, and told of in events."""


@watch.command()
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--task", default="", help="One task. Without it: the account's whole feed.")
@click.option(
    "--every", type=SECONDS, default="30s", show_default=True, help="Between two looks, at least: what is quiet is looked at less often."
)
@output.as_json
@session
def add(s: Session, account: str | None, task: str, every: float, as_json: bool) -> None:
    """Watch a task, or an account's whole feed. Again: only the interval changes."""
    if every < 1:
        raise Failure("--every must be at least 1s: an upstream counts requests", USAGE)
    if task == "*":
        raise Failure("no task is called *: leave --task out for the whole feed", USAGE)
    name = s.account(account)
    with s.ledger() as ledger:
        made = ledger.watches.add(name, task, every)
    what = f"task {task}" if task else "the whole feed"
    output.document(as_json, _object(made), [f"{made.id} watches {what} of {name} every {every:g} s"])


@watch.command("list")
@output.as_json
@session
def list_(s: Session, as_json: bool) -> None:
    """Every watch."""
    with s.ledger() as ledger:
        found = ledger.watches.all()
    columns: dict[str, output.Column] = {
        "id": "id",
        "account": "account",
        "task": lambda o: o["task"] or "(feed)",
        "every": lambda o: f"{o['every']:g}s",
        "next look": lambda o: f"reading: page {o['reading']}" if o["reading"] else o["next_at"],
        "failed tries": "tries",
    }
    output.listing(as_json, map(_object, found), columns, "nothing is watched: `approvals watch add --account A`")


@watch.command()
@click.argument("id", metavar="ID")
@session
def remove(s: Session, id: str) -> None:  # noqa: A002  click names the parameter after the argument
    """Stop watching."""
    with s.ledger() as ledger:
        if not ledger.watches.remove(id):
            raise Failure(f"there is no watch {id}: `approvals watch list`", NOT_FOUND)
    output.say(f"{id} removed")


def _object(w: object) -> dict[str, object]:
    from worker.core.times import iso
    from worker.ledger.watches import Watch

    assert isinstance(w, Watch)
    way = w.cursor.get("way")
    return {
        "id": w.id,
        "account": w.account,
        "task": w.task or None,
        "every": w.interval,
        "next_at": iso(w.next_at),
        "tries": w.tries,
        "reading": way["pages"] + 1 if way else None,
        "cursor": dict(w.cursor),
        "created_at": iso(w.created_at),
    }
