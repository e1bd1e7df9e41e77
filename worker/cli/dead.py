"""`approvals dead`: commands that could not be accepted. On a broker they lie in a queue, whole, until a person looks."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import NOT_FOUND, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.intake import DeadMessage

EMBEDDED = (
    "memory:// lives inside `approvals up`, so its dead commands cannot be read from here; "
    "each stands as a `command.rejected` event in the ledger"
)


@click.group()
def dead() -> None:
    """Commands that could not be accepted."""


@dead.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The oldest so many.")
@output.as_json
@session
def list_(s: Session, limit: int, as_json: bool) -> None:
    """Each with the reason. They stay where they are."""
    columns: dict[str, output.Column] = {
        "rejected": "rejected_at",
        "message id": "message_id",
        "reason": "reason",
        "bytes": "size",
        "begins": "excerpt",
    }
    if _embedded(s):
        output.aside(f"{EMBEDDED}:")
        with s.ledger() as ledger:
            found = ledger.queries.events(type_="command.rejected", limit=limit, newest=True)
        objects = [{"rejected_at": e["time"], "reason": e["data"].get("reason"), **_said(e["data"])} for _, e in found]
    else:
        from dataclasses import asdict

        from worker.intake import dead_list

        objects = [asdict(m) for m in dead_list(s.settings.broker.url, s.settings.namespace, limit)]
    output.listing(as_json, objects, columns, "no command is dead")


@dead.command()
@click.option("--id", "ids", multiple=True, metavar="MESSAGE-ID", help="Only this one. May be repeated.")
@click.option("--all", "everything", is_flag=True, help="All that are there now.")
@output.as_json
@session
def requeue(s: Session, ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Give them back to the commands, once what was wrong has been put right."""
    if bool(ids) == everything:
        raise Failure("say which with --id MESSAGE-ID (see `approvals dead list`), or --all", USAGE)
    if _embedded(s):
        raise Failure(f"{EMBEDDED}. Submit it anew")
    from worker.intake import dead_requeue

    def wanted(message: "DeadMessage") -> bool:
        return everything or message.message_id in ids

    count = dead_requeue(s.settings.broker.url, s.settings.namespace, wanted)
    if ids and not count:
        raise Failure("none of the dead has such a message id: `approvals dead list`", NOT_FOUND)
    output.document(as_json, {"requeued": count}, [f"{count} given back to {s.settings.namespace}.commands"])


def _embedded(s: Session) -> bool:
    return s.settings.broker.url.startswith("memory:")


def _said(data: Any) -> dict[str, Any]:
    return {"message_id": data.get("message_id"), "size": data.get("size"), "excerpt": data.get("excerpt"), "key": data.get("key")}
