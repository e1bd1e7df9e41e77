"""`approvals task`: the upstream's tasks as they are now, with the pins that commands bring. Read-only: the first thing to try."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.core.task import Response, Snapshot, Step
    from worker.flows import Account, Runtime


@dataclass(frozen=True, slots=True)
class Row:
    """A task of a list. `whole`: its steps are known; `why` they are not, where they were asked for."""

    look: "Snapshot"
    whole: bool = True
    why: str | None = None


@click.group()
def task() -> None:
    """Tasks of an account with their steps and pins: live, read-only."""


def as_object(realm: str, row: Row) -> dict[str, Any]:
    """A task as JSON shows it: a pin for each step. `steps` is null where they are not known."""
    look = row.look
    active = look.active() if row.whole else None
    return {
        "task": look.task,
        "title": look.title,
        "status": look.status,
        "active": active if isinstance(active, int) else None,
        "unclear": str(active) if isinstance(active, str) else row.why,
        "modified": _when(look.modified),
        "due": _when(look.due),
        "url": look.url,
        "assignees": list(look.assignees),
        "answer": _response(look, look.answer) if look.answer else None,
        "steps": [_step(realm, look, n, step) for n, step in enumerate(look.steps, 1)] if row.whole else None,
    }


def _step(realm: str, look: "Snapshot", n: int, step: "Step") -> dict[str, Any]:
    from worker.core.pins import pin_of

    out = {
        "step": n,
        "active": n == look.active(),
        "complete": step.complete,
        "mode": step.mode,
        "participants": list(step.participants),
        "due": _when(step.due),
        "responses": [_response(look, r) for r in step.responses],
        "pin": pin_of(realm, look, n).token(),
    }
    if step.state is not None:
        parts = [{"task": f"{look.task}/{p.id}", "assigned": p.assigned, "required": p.required, "state": p.state} for p in step.parts]
        out |= {"state": step.state, "started": _when(step.started), "parts": parts}
    return out


def _response(look: "Snapshot", r: "Response") -> dict[str, Any]:
    out = {"actor": r.actor, "action": r.action, "at": _when(r.at), "comment": r.comment}
    return out if r.choice is None else {**out, "part": f"{look.task}/{r.part}" if r.part else None, "response": r.label or r.choice}


def _when(at: float | None) -> str | None:
    from worker.core.times import iso

    return None if at is None else iso(at)


def awaits(look: "Snapshot", user: str) -> bool:
    """Whether the task waits for this user now: in its active step, or in a part that is theirs."""
    if look.exact:
        return look.awaiting and any(p.state == "active" and p.assigned == user for step in look.steps for p in step.parts)
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
    """The account's tasks, the last changed first, with the pin of the active step.

    Where the upstream lists tasks without their steps, those under approval are read one by one.
    """
    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        grants = [s.grant(acc, grant)] if grant or not acc.grants else sorted(acc.grants)
        found, left = _found(rt, acc, grants, mine=mine, limit=limit)
        realm = acc.connector.realm

    def of_active(o: Mapping[str, Any]) -> Mapping[str, Any]:
        step: Mapping[str, Any] = o["steps"][o["active"] - 1]
        return step

    def waits_for(o: Mapping[str, Any]) -> Any:
        if not o["active"]:
            return o["unclear"] or (o["assignees"] if o["steps"] is None else None)
        step = of_active(o)
        return [p["assigned"] for p in step["parts"] if p["state"] == "active"] if "parts" in step else step["participants"]

    columns: dict[str, output.Column] = {
        "task": "task",
        "title": "title",
        "status": "status",
        "step": lambda o: "-" if o["steps"] is None else f"{o['active'] or '-'}/{len(o['steps'])}",
        "waits for": waits_for,
        "modified": "modified",
    }
    if not output.terminal():
        # a pin has some hundred characters: a table of them is not for eyes
        columns["pin"] = lambda o: of_active(o)["pin"] if o["active"] else ""
    output.listing(as_json, (as_object(realm, row) for row in found), columns, "no task" + (" waits for this user" if mine else ""))
    if left:
        output.aside(f"the last {limit} of {limit + left}: --limit 0 shows all")
    elif found and output.terminal() and not as_json:
        output.aside("`approvals task show REF` shows the pins of a task's steps")


def _found(rt: "Runtime", account: "Account", grants: Collection[str], *, mine: bool, limit: int) -> tuple[list[Row], int]:
    """The tasks that *grants* see, the last changed first; and how many are left out."""
    from worker.cli.upstream import feed, looks
    from worker.core.outcomes import Gone, Unknown

    rows: dict[str, Row] = {}
    readers: dict[str, str] = {}
    for grant in grants:
        user = account.grants[grant]
        for look, whole in feed(rt, account, grant):
            # whose turn it is stands in a row without steps, too; which step it is does not
            if not mine or (awaits(look, user) if whole else look.awaiting and user in look.assignees):
                rows[look.task] = Row(look, whole)
                readers[look.task] = grant
    newest = sorted(rows.values(), key=lambda row: row.look.modified or 0.0, reverse=True)
    cut = newest[:limit] if limit else newest
    read = looks(rt, account, {row.look.task: readers[row.look.task] for row in cut if row.look.awaiting and not row.whole})
    found: list[Row] = []
    for row in cut:
        match read.get(row.look.task):
            case None:
                found.append(row)
            case Gone(fact) | Unknown(fact):
                found.append(Row(row.look, whole=False, why=f"its steps could not be read: {fact}"))
            case look if not mine or any(awaits(look, account.grants[grant]) for grant in grants):
                found.append(Row(look))
    return found, len(newest) - len(cut)


@task.command()
@click.argument("ref")
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--as", "grant", help="Which grant looks; by default the first of the account.")
@output.as_json
@session
def show(s: Session, ref: str, account: str | None, grant: str | None, as_json: bool) -> None:
    """One task: its steps and their parts, the active ones marked, a pin for each step, and our submissions for it."""
    from worker.cli.upstream import look, seen

    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        try:
            address = acc.connector.address(ref)
        except ValueError as exc:
            raise Failure(f"{ref!r}: {exc}", USAGE) from exc
        who = s.grant(acc, grant) if grant or not acc.grants else min(acc.grants)
        found = seen(look(rt, acc, who, address.task), address.task)
        ours = rt.ledger.queries.listed(account=name, task=address.task, limit=50)
    about = as_object(acc.connector.realm, Row(found))
    about["submissions"] = [{"id": x.id, "key": x.key, "state": x.state, "action": x.action, "reason": x.reason} for x in ours]
    output.document(as_json, about, [*_told(about, acc.grants), *_next(about, acc, ref)])


MODES = {"one": "any one of: ", "all": "all of: ", "parts": "its required parts"}


def _told(about: Mapping[str, Any], grants: Mapping[str, str]) -> Iterator[str]:
    shown = output.shown
    names = {user: f"{user} (grant {g})" for g, user in grants.items()}

    def who(user: str | None) -> str:
        return shown(names.get(user or "", user or "somebody"))

    def said(r: Mapping[str, Any]) -> str:
        label = f" {shown(repr(r['response']))}" if r.get("response") else ""
        return f"{r['at'] or '?'} {who(r['actor'])} {shown(r['action'])}{label}" + (f": {shown(r['comment'])}" if r["comment"] else "")

    yield f"{shown(about['title'])}  [{shown(about['status'])}]"
    yield f"  task: {shown(about['task'])}"
    for name in ("url", "modified", "due"):
        if about[name]:
            yield f"  {name}: {shown(about[name])}"
    if about["unclear"]:
        yield f"  which step is active cannot be told: {about['unclear']}"
    if about["answer"]:
        yield f"  answered: {said(about['answer'])}"
    for step in about["steps"]:
        state = "ACTIVE" if step["active"] else "complete" if step["complete"] else "not active"
        people = "" if "parts" in step else ", ".join(map(who, step["participants"]))
        yield f"  step {step['step']} {state}, {MODES[step['mode']]}{people}"
        for part in step.get("parts", ()):
            yield f"    {shown(part['task'])}"
            yield f"      {part['state']}, {'required' if part['required'] else 'optional'}: {who(part['assigned'])}"
            for r in step["responses"]:
                if r.get("part") == part["task"]:
                    yield f"      {said(r)}"
        for r in step["responses"]:
            if "parts" not in step:
                yield f"    {said(r)}"
        yield f"    pin {step['pin']}"
    for x in about["submissions"]:
        yield f"  ours: {x['id']} {x['state']} {x['action']}" + (f": {shown(x['reason'])}" if x["reason"] else "")


def _next(about: Mapping[str, Any], account: "Account", ref: str) -> Iterator[str]:
    """A call that is ready to copy, for whoever's turn it is."""
    grants = {user: grant for grant, user in account.grants.items()}

    def call(user: str | None, task: str, rest: str) -> str:
        grant = grants.get(user or "") or next(iter(account.grants), "GRANT")
        return f"    approvals submit --account {account.name} --as {grant} --task {output.shown(task)} {rest}"

    parts = [p for step in about["steps"] for p in step.get("parts", ()) if p["state"] == "active"]
    named = [p for p in parts if p["task"] == ref] or sorted(parts, key=lambda p: (p["assigned"] not in grants, not p["required"]))
    if about["active"] and named:
        yield f"  to answer {output.shown(named[0]['task'])}:"
        yield call(named[0]["assigned"], named[0]["task"], "--action close --response RESPONSE")
        yield "    with --dry-run and without --response it lists the responses that there are"
    elif about["active"] and "parts" not in about["steps"][about["active"] - 1]:
        yield f"  to answer step {about['active']}:"
        yield call(None, about["task"], f"--action approve --step {about['active']}")
    elif "transition" in account.actions and about["status"] == "mgr-2":
        manager = next((user for user in about["assignees"] if user in grants), None)
        yield "  the review is over, and the manager's answer is missing:"
        yield call(manager, about["task"], "--action transition --state sbc-2 --response RESPONSE")
