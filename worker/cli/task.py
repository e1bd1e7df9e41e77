"""`approvals task`: the upstream's tasks as they are now, with the pins that commands bring. Read-only: the first thing to try."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import Session, session

if TYPE_CHECKING:
    from worker.core.task import Snapshot


@click.group()
def task() -> None:
    """Tasks of an account with their steps and pins: live, read-only."""


def as_object(realm: str, look: "Snapshot") -> dict[str, Any]:
    """A task as JSON shows it: a pin for each step."""
    from worker.core.pins import pin_of
    from worker.core.times import iso

    active = look.active()

    def when(at: float | None) -> str | None:
        return None if at is None else iso(at)

    return {
        "task": look.task,
        "title": look.title,
        "status": look.status,
        "active": active if isinstance(active, int) else None,
        "unclear": str(active) if isinstance(active, str) else None,
        "modified": when(look.modified),
        "due": when(look.due),
        "url": look.url,
        "steps": [
            {
                "step": n,
                "active": n == active,
                "complete": step.complete,
                "mode": step.mode,
                "participants": list(step.participants),
                "due": when(step.due),
                "responses": [{"actor": r.actor, "action": r.action, "at": when(r.at), "comment": r.comment} for r in step.responses],
                "pin": pin_of(realm, look, n).token(),
            }
            for n, step in enumerate(look.steps, 1)
        ],
    }


def awaits(look: "Snapshot", user: str) -> bool:
    """Whether the task waits for this user now."""
    active = look.active()
    if not isinstance(active, int):
        return False
    step = look.steps[active - 1]
    return user in step.participants and user not in {r.actor for r in step.responses}


@task.command("list")
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--as", "grant", help="Which grant looks; by default each of the account, and what any of them sees is shown.")
@click.option("--mine", is_flag=True, help="Only tasks whose active step waits for the grant's user.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="Those changed last; 0: all.")
@output.as_json
@session
def list_(s: Session, account: str | None, grant: str | None, mine: bool, limit: int, as_json: bool) -> None:
    """The account's tasks, the last changed first, with the pin of the active step."""
    from worker.cli.upstream import feed

    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        grants = [s.grant(acc, grant)] if grant or not acc.grants else sorted(acc.grants)
        found: dict[str, Snapshot] = {}
        for each in grants:
            found |= {k.task: k for k in feed(rt, acc, each) if not mine or awaits(k, acc.grants[each])}
        realm = acc.connector.realm
    looks = sorted(found.values(), key=lambda k: k.modified or 0.0, reverse=True)
    cut = looks[:limit] if limit else looks

    def pin(o: Mapping[str, Any]) -> str:
        return str(o["steps"][o["active"] - 1]["pin"]) if o["active"] else ""

    columns: dict[str, output.Column] = {
        "task": "task",
        "title": "title",
        "status": "status",
        "step": lambda o: f"{o['active'] or '-'}/{len(o['steps'])}",
        "waits for": lambda o: o["steps"][o["active"] - 1]["participants"] if o["active"] else o["unclear"],
        "modified": "modified",
    }
    if not output.terminal():
        columns["pin"] = pin  # a pin has some hundred characters: a table of them is not for eyes
    output.listing(as_json, (as_object(realm, k) for k in cut), columns, "no task" + (" waits for this user" if mine else ""))
    if len(cut) < len(looks):
        output.aside(f"the last {len(cut)} of {len(looks)}: --limit 0 shows all")
    elif cut and output.terminal() and not as_json:
        output.aside("`approvals task show REF` shows the pins of a task's steps")


@task.command()
@click.argument("ref")
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--as", "grant", help="Which grant looks; by default the first of the account.")
@output.as_json
@session
def show(s: Session, ref: str, account: str | None, grant: str | None, as_json: bool) -> None:
    """One task: its steps, the active one marked, a pin for each, and our submissions for it."""
    from worker.cli.upstream import look, seen

    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        who = s.grant(acc, grant) if grant or not acc.grants else min(acc.grants)
        found = seen(look(rt, acc, who, ref), ref)
        ours = rt.ledger.queries.listed(account=name, task=ref, limit=50)
        grants = acc.grants
        realm = acc.connector.realm
    about = as_object(realm, found)
    about["submissions"] = [{"id": x.id, "key": x.key, "state": x.state, "action": x.action, "reason": x.reason} for x in ours]
    output.document(as_json, about, _told(about, grants, name))


def _told(about: Mapping[str, Any], grants: Mapping[str, str], account: str) -> Iterator[str]:
    shown = output.shown
    names = {user: f"{user} (grant {g})" for g, user in grants.items()}
    yield f"{shown(about['title'])}  [{shown(about['status'])}]"
    yield f"  task: {shown(about['task'])}"
    for name in ("url", "modified", "due"):
        if about[name]:
            yield f"  {name}: {shown(about[name])}"
    if about["unclear"]:
        yield f"  which step is active cannot be told: {about['unclear']}"
    for step in about["steps"]:
        state = "ACTIVE" if step["active"] else "complete" if step["complete"] else "not active"
        who = ", ".join(names.get(p, p) for p in step["participants"])
        yield f"  step {step['step']} {state}, {'any one' if step['mode'] == 'one' else 'all'} of: {shown(who)}"
        for r in step["responses"]:
            said = f": {shown(r['comment'])}" if r["comment"] else ""
            yield f"    {r['at'] or '?'} {shown(names.get(r['actor'] or '', r['actor'] or 'somebody'))} {shown(r['action'])}{said}"
        yield f"    pin {step['pin']}"
    for x in about["submissions"]:
        yield f"  ours: {x['id']} {x['state']} {x['action']}" + (f": {shown(x['reason'])}" if x["reason"] else "")
    if about["active"]:
        grant = next(iter(grants), "GRANT")
        where = f"--account {account} --as {grant} --task {shown(about['task'])}"
        yield f"  to answer step {about['active']}:"
        yield f"    approvals submit {where} --action approve --step {about['active']}"
