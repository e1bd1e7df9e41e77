"""`approvals show | list | cancel | resolve | evidence`: submissions as they stand, and what a person decides about them."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from worker.cli import output
from worker.cli.account import standstill
from worker.cli.session import AGO, NOT_FOUND, USAGE, Failure, Session, age, session

if TYPE_CHECKING:
    from worker.ledger import Ledger
    from worker.ledger.queries import Listed
    from worker.ledger.story import Story

OPEN = ("pending", "waiting", "in_doubt")

STATES = (
    *OPEN,
    *("applied", "refused", "superseded", "expired", "cancelled"),
    *("parked", "misapplied", "duplicated", "abandoned"),
)


def one(ledger: "Ledger", name: str, account: str | None = None) -> "Listed":
    """The one submission of that id or key."""
    found = ledger.queries.find(name, account)
    if not found:
        raise Failure(f"there is no submission with the id or key {name!r}: `approvals list` shows what there is", NOT_FOUND)
    if len(found) > 1:
        where = ", ".join(f"{s.id} ({s.account})" for s in found)
        raise Failure(f"{name!r} is a key of several accounts: say --account, or the id: {where}", USAGE)
    return found[0]


# --- list ---------------------------------------------------------------------------------------------------------------------------------


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--account", help="Only those of this account.")
@click.option("--since", type=AGO, help="Accepted since: 24h, 7d, or a time such as 2026-11-22T09:00:00Z.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="The newest so many.")
@output.as_json
@session
def list_(s: Session, state: str | None, account: str | None, since: float | None, limit: int, as_json: bool) -> None:
    """Submissions, the newest first."""
    from worker.ledger.story import as_object

    with s.ledger() as ledger:
        found = ledger.queries.listed(state=state, account=account, since=since, limit=limit)
        now = ledger.queries.now()
        still = standstill(s, ledger)
        held = {name: why for name in sorted({x.account for x in found}) if (why := still(name))}
    columns: dict[str, output.Column] = {
        "id": "id",
        "state": "state",
        "account": "account",
        "as": "as",
        "action": "action",
        "step": "step",
        "task": "task",
        "key": "key",
        "age": "age",
        "reason": "reason",
    }
    output.listing(
        as_json,
        (as_object(x, held.get(x.account)) | ({} if as_json else {"age": age(now - x.accepted_at)}) for x in found),
        columns,
        "no such submission" if state or account or since is not None else "no submission: `approvals submit` makes one",
    )
    for name, why in held.items():
        if any(x.account == name and x.state in OPEN for x in found):
            output.aside(f"{name} sends nothing: {output.shown(why)}")
    if len(found) == limit:
        output.aside(f"the newest {limit}: --limit shows more")


# --- show and evidence --------------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", metavar="ID|KEY")
@click.option("--account", help="Where a key stands in several accounts.")
@output.as_json
@session
def show(s: Session, name: str, account: str | None, as_json: bool) -> None:
    """One submission with its whole story: what was asked, sent, seen and decided."""
    from worker.ledger.story import read, whole

    with s.ledger() as ledger:
        story = read(ledger.queries, one(ledger, name, account))
        about = whole(story, standstill(s, ledger)(story.listed.account))
    output.document(as_json, about, None if as_json else _told(about, story))


def _told(about: Mapping[str, Any], story: "Story") -> Iterator[str]:
    from worker.core.times import iso
    from worker.ledger.story import words

    found, now = story.listed, story.now
    shown = output.shown
    yield f"{found.id}  {found.state}" + (f": {shown(found.reason)}" if found.reason else "")
    step = f" step {about['step']}" if about["step"] else ""
    to = f" to {shown(about['transition']['state'])}" if about["transition"] else ""
    yield f"  what: {found.action}{to}{step} of task {shown(found.task)}, account {found.account} as {found.grant}"
    if about["part"]:
        yield f"  part: {shown(about['part'])}"
    if about["transition"] and about["transition"]["fields"]:
        yield f"  fields: {shown(json.dumps(about['transition']['fields'], ensure_ascii=False))}"
    yield f"  key: {shown(found.key)}"
    for name in ("comment", "response", "requested_by", "labels", "not_before", "not_after"):
        if about[name]:
            yield f"  {name}: {shown(about[name])}"
    yield f"  accepted: {about['accepted_at']} ({age(now - found.accepted_at)} ago)"
    if about["pin"]:
        yield f"  pin: {about['pin']}"
    holder, behind = story.holder, story.behind
    if found.behind:
        yield f"  waits behind: {found.behind}, which has the task's slot"
    elif holder:
        yield "  slot: this submission has it" if holder == found.id else f"  slot: {holder} has it"
    if behind:
        yield f"  behind it: {', '.join(behind)}"
    if about["held"] and about["held"] not in (found.reason or ""):
        yield f"  held: {shown(about['held'])}"
    if found.next_at:
        yield f"  next look: {iso(found.next_at)}" + (f" (in {age(found.next_at - now)})" if found.next_at > now else " (due)")
    for a in story.attempts:
        open_ = "no answer yet" if now < a["quiet_until"] else "its answer was never seen"
        settled = f"{a['outcome']} at {iso(a['settled_at'])}" if a["outcome"] else f"{open_}; quiet until {iso(a['quiet_until'])}"
        yield f"  attempt {a['n']}: begun {iso(a['began_at'])}, {settled}"
    yield "  story:"
    for link in story.links:
        yield f"    {iso(link.at)}  {words(link)}"
    yield f"  evidence: {'the chain holds' if story.fault is None else 'BROKEN: ' + story.fault} ({len(story.links)} links)"


@click.command()
@click.argument("name", metavar="ID|KEY")
@click.option("--account", help="Where a key stands in several accounts.")
@click.option("--verify", is_flag=True, help="Only say whether the chain holds; exit 1 where it does not.")
@output.as_json
@session
def evidence(s: Session, name: str, account: str | None, verify: bool, as_json: bool) -> None:
    """The hash-chained record of one submission, link by link."""
    from worker.ledger.story import link_object

    with s.ledger() as ledger:
        found = one(ledger, name, account)
        links, fault = ledger.queries.story(found.id)
    head = links[-1].digest if links else ""
    if verify:
        verdict = {"id": found.id, "holds": fault is None, "fault": fault, "links": len(links), "head": head}
        said = (
            f"the chain of {found.id} holds: {len(links)} links, head {head}"
            if fault is None
            else f"the chain of {found.id} is BROKEN: {fault}"
        )
        output.document(as_json, verdict, [said])
        if fault is not None:
            sys.exit(1)
        return
    columns: dict[str, output.Column] = {"n": "n", "at": "at", "kind": "kind", "what": "text", "digest": lambda o: str(o["digest"])[:16]}
    output.listing(as_json, (link_object(link) for link in links), columns)
    if fault is not None:
        output.aside(f"the chain is BROKEN: {fault}")


# --- what people decide -------------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", metavar="ID|KEY")
@click.option("--account", help="Where a key stands in several accounts.")
@output.as_json
@session
def cancel(s: Session, name: str, account: str | None, as_json: bool) -> None:
    """Cancel a submission before it is sent. One that may have been sent cannot be called back."""
    from worker.core.submission import NotNow
    from worker.flows.resolve import cancel as flow

    with s.runtime() as rt:
        found = one(rt.ledger, name, account)
        try:
            done = flow(rt, found.id)
        except NotNow as exc:
            raise Failure(str(exc)) from exc
    output.document(
        as_json, {"id": done.id, "key": done.command.key, "state": done.state, "reason": done.reason}, [f"{done.id} {done.state}"]
    )


@click.command()
@click.argument("name", metavar="[ID|KEY]", required=False)
@click.option("--as", "verdict", required=True, type=click.Choice(["applied", "retry", "abandoned"]), help="What you found out.")
@click.option("--note", required=True, help="Why: kept as evidence.")
@click.option("--pin", help="For a retry: the step it is meant for, from `approvals task show`.")
@click.option("--state", type=click.Choice(["parked", "misapplied", "duplicated"]), help="Instead of an ID: all in this state.")
@click.option("--account", help="With --state: all of this account.")
@click.option("--yes", is_flag=True, help="Do not ask before resolving many.")
@output.as_json
@session
def resolve(
    s: Session,
    name: str | None,
    verdict: str,
    note: str,
    pin: str | None,
    state: str | None,
    account: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Resolve a parked submission, or many with --state and --account: its task is free for the next one then."""
    from worker.core.pins import PinError
    from worker.core.submission import NotNow
    from worker.flows.resolve import resolve as flow

    if (name is None) == (state is None):
        raise Failure("say one submission (ID or key), or many with --state parked --account A", USAGE)
    if state and not account:
        raise Failure("--state needs --account: resolve the submissions of one account at a time", USAGE)
    if not note.strip():
        raise Failure("--note must say something: it is what an auditor reads", USAGE)
    if pin and (state or verdict != "retry"):
        raise Failure("--pin is for the retry of one submission", USAGE)
    failed = 0
    with s.runtime() as rt:
        if state:
            found = list(rt.ledger.queries.listed(state=state, account=s.account(account), limit=10_000))
            if found and not yes and sys.stdin.isatty():
                click.confirm(f"Resolve {len(found)} {state} submissions of {account} as {verdict}?", abort=True, err=True)
            if not found:
                output.aside(f"account {account} has no {state} submission")
        else:
            found = [one(rt.ledger, name or "", account)]
        for each in found:
            try:
                done = flow(rt, each.id, cast("Literal['applied', 'abandoned', 'retry']", verdict), note, pin)
            except PinError as exc:
                raise Failure(f"pin: {exc}", USAGE) from exc
            except NotNow as exc:
                if not state:
                    raise Failure(str(exc)) from exc
                failed += 1
                output.aside(f"{each.id}: {exc}")
                continue
            result = {"id": done.id, "key": done.command.key, "state": done.state, "reason": done.reason}
            if as_json:
                output.line(result)
            else:
                output.say(f"{done.id} {done.state}")
    if failed:
        raise Failure(f"{failed} of {len(found)} could not be resolved")
