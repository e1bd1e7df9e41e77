"""`approvals submit`: one decision in, and, if asked, followed to its end."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import AHEAD, CONFLICT, FAILED, SECONDS, STATUS, TIMED_OUT, USAGE, Failure, Session, age, session

if TYPE_CHECKING:
    from worker.core.command import Command
    from worker.flows import Runtime
    from worker.flows.accept import Outcome
    from worker.ledger.queries import Listed, Standing
    from worker.ledger.submissions import New

FIRST_LOOK, LONGEST_LOOK = 0.1, 0.5
"""Seconds between two looks at the ledger while waiting: a person notices a tenth, and a ledger does not notice two a second."""

HINT = 5.0
"""Seconds without a change after which a person is asked whether a worker runs: its tick finds anything within one."""


@click.command()
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--as", "grant", help="Which grant decides; needed where the account has several.")
@click.option("--task", required=True, help="The upstream's id of the task, or of one part of it: see `approvals task show`.")
@click.option(
    "--action", required=True, help="Workiva: approve, reject, skip, submit, cancel, restart. Autodesk: close, approve, reject, transition."
)
@click.option("--pin", help="The step and round that are meant: copy it from `approvals task show` or an event.")
@click.option("--step", type=click.IntRange(1, 1000), help="The step that is meant, counted from 1.")
@click.option("--response", help="Autodesk: one of the project's responses, by its label or id.")
@click.option("--state", help="Autodesk: where a transition leads, for example sbc-2.")
@click.option(
    *("--field", "fields"),
    multiple=True,
    metavar="NAME=VALUE",
    help="What a transition asks for: a text, or any JSON value after := (NAME:=true). May be repeated.",
)
@click.option("--comment", help="Goes upstream with the decision.")
@click.option("--key", help="Your own name for this decision: the same key never takes effect twice. Else derived from the decision.")
@click.option("--issued-at", type=AHEAD, help="When the decision was made, if not now.")
@click.option("--not-before", type=AHEAD, help="Send nothing before: a time, or 2h from now.")
@click.option("--not-after", type=AHEAD, help="Send nothing after; else the account's expires_after.")
@click.option("--wait-for-turn", is_flag=True, help="A step that is not active yet: wait until it is.")
@click.option("--requested-by", help="Who or what asks: kept, and told in events.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Comes back in every event. May be repeated.")
@click.option("--dry-run", is_flag=True, help="Look at the task and print what would be sent. Nothing is written or sent.")
@click.option("--wait", type=SECONDS, metavar="SECONDS", help="Follow it to its end, so long (60, 60s, 2m): the exit status tells it.")
@output.as_json
@session
def submit(s: Session, /, *, dry_run: bool, wait: float | None, as_json: bool, **given: Any) -> None:
    """Submit one decision.

    Without --key, a decision that is still open or was accepted within intake.dedupe_window is not submitted again: the one that stands
    is printed, and the exit status is 1.
    """
    if dry_run and wait is not None:
        raise Failure("--wait follows a submission, and a dry run makes none: leave one of the two out", USAGE)
    if given["pin"] and given["step"]:
        raise Failure("--pin says the step already: leave --step out", USAGE)
    command = _command(s, given)
    with s.runtime() as rt:
        new = _checked(rt, command)
        command, standing = _keyed(rt, new.command, s.settings.intake.dedupe_window)
        new = replace(new, command=command)
        if standing is not None:
            _tell_standing(rt, standing, as_json)
            sys.exit(FAILED)
        if dry_run:
            sys.exit(_rehearse(rt, new, as_json))
        id_ = _accepted(rt, command, derived=given["key"] is None, as_json=as_json, quiet=wait is not None and as_json)
        if wait is not None:
            sys.exit(_follow(rt, id_, wait, as_json))


def _command(s: Session, given: Mapping[str, Any]) -> "Command":
    """The command, checked in the same words as on the wire."""
    import json

    from worker.broker import Incoming
    from worker.core.times import iso
    from worker.wire import JSON, Door, Refused, parse

    now = time.time()
    values = {
        "key": given["key"] if given["key"] is not None else "-",
        "account": s.account(given["account"]),
        "as": given["grant"],
        "issued_at": iso(given["issued_at"]) if given["issued_at"] is not None else None,
        "not_before": iso(given["not_before"]) if given["not_before"] is not None else None,
        "not_after": iso(given["not_after"]) if given["not_after"] is not None else None,
        "labels": _pairs("--label", given["labels"]),
        "fields": _pairs("--field", given["fields"], typed=True),
        **{n: given[n] for n in ("task", "action", "pin", "step", "response", "state", "comment", "wait_for_turn", "requested_by")},
    }
    body = json.dumps({n: v for n, v in values.items() if v is not None}).encode()
    found = parse(Incoming(body, {}, {"content_type": JSON}), Door(s.settings.namespace, s.settings.intake.max_bytes), now)
    if isinstance(found, Refused):
        raise Failure(found.reason, USAGE)
    return found if given["key"] is not None else replace(found, key="")


def _pairs(option: str, texts: Sequence[str], *, typed: bool = False) -> dict[str, Any]:
    """NAME=VALUE, each name once. *typed*: NAME:=VALUE is JSON, too."""
    import json

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        as_it_is = not (typed and name.endswith(":"))
        name = name if as_it_is else name[:-1]
        if not equals or not name:
            raise Failure(f"{option} {text!r}: write NAME=VALUE", USAGE)
        if name in found:
            raise Failure(f"{option} {name!r} is given twice", USAGE)
        try:
            found[name] = value if as_it_is else json.loads(value)
        except ValueError:
            raise Failure(f"{option} {text!r}: what follows := is not JSON", USAGE) from None
    return found


def _checked(rt: "Runtime", command: "Command") -> "New":
    from worker.flows.accept import Rejected, check

    new = check(rt, command)
    if isinstance(new, Rejected):
        raise Failure(new.reason, USAGE)
    return new


def base_key(command: "Command") -> str:
    """The key of a decision that brought none: account, grant, task, pin or step, action, response, and of a transition state and fields;
    not the comment.
    """
    from worker.core.keys import derived_key

    at = command.pin or command.step
    transition = [command.state, dict(command.fields)] if command.state is not None else []
    return derived_key(command.account, command.grant, command.task, at, command.action, command.response, *transition)


def _keyed(rt: "Runtime", command: "Command", window: float) -> "tuple[Command, Standing | None]":
    """The command with its key, and what stands in its way where the key was derived: one that is open, or young."""
    from worker.core.submission import ENDED

    if command.key:
        return command, None
    base = base_key(command)
    known = rt.ledger.queries.derived(command.account, base)
    if not known:
        return replace(command, key=base), None
    now = rt.ledger.queries.now()
    for each in known:
        if each.state not in ENDED or each.accepted_at > now - window:
            return command, each
    return replace(command, key=f"{base}/{len(known) + 1}"), None


def _tell_standing(rt: "Runtime", standing: "Standing", as_json: bool) -> None:
    old = age(rt.ledger.queries.now() - standing.accepted_at)
    said = f"{standing.id} {standing.state}, accepted {old} ago under {standing.key}"
    output.document(as_json, {"id": standing.id, "key": standing.key, "state": standing.state, "age": old, "did": "nothing"}, [said])
    output.aside("this decision was submitted already, so this call did nothing. To decide the same again, give a --key of your own")


def _accepted(rt: "Runtime", command: "Command", *, derived: bool, as_json: bool, quiet: bool) -> str:
    """The id of what was accepted, or stands under the key with the same content."""
    from worker.flows.accept import Accepted, Conflict, Existing, Rejected, accept

    outcome: Outcome = accept(rt, [command])[0]
    match outcome:
        case Rejected(reason):
            raise Failure(reason)
        case Conflict(id_, _, reason) if not derived:
            raise Failure(f"{reason}. Nothing was submitted: see `approvals show {id_}`", CONFLICT)
        case Conflict(id_, key, _) | Existing(id_, key) if derived:  # two calls at the same time: the other one was first
            _tell_standing(rt, rt.ledger.queries.derived(command.account, key)[0], as_json)
            sys.exit(FAILED)
        case Accepted(id_, key, state) | Existing(id_, key, state):
            if not quiet:
                there = isinstance(outcome, Existing)
                output.document(as_json, {"id": id_, "key": key, "state": state, "existing": there}, [f"{id_} {state} (key {key})"])
                if there:
                    output.aside("the same key and content were submitted before: this is that submission")
            return id_
    raise AssertionError(outcome)


def _follow(rt: "Runtime", id_: str, patience: float, as_json: bool) -> int:
    """Wait until the submission has come to an end; the exit status that tells which."""
    from worker.ledger.story import as_object

    start = changed = time.monotonic()
    pause, before, hinted = FIRST_LOOK, None, False
    while True:
        found: Listed = rt.ledger.queries.find(id_)[0]
        now = time.monotonic()
        if (found.state, found.reason) != before:
            if before is not None and sys.stderr.isatty() and found.state not in STATUS:
                output.aside(f"{found.state}: {output.shown(found.reason)}")
            before, changed, pause = (found.state, found.reason), now, FIRST_LOOK
        if found.state in STATUS or now - start >= patience:
            break
        if not hinted and now - changed > HINT and found.state == "pending" and found.reason is None:
            hinted = True
            output.aside(
                "nothing happens yet: is a worker running (`approvals up` starts one)? `approvals doctor` tells what is in its way"
            )
        time.sleep(min(pause, max(0.0, patience - (now - start))))
        pause = min(LONGEST_LOOK, pause * 1.3)
    said = f"{id_} {found.state}" + (f": {output.shown(found.reason)}" if found.reason else "")
    output.document(as_json, as_object(found), [said])
    if found.state not in STATUS:
        output.aside(f"not ended after {patience:g} s. It goes on without us: `approvals show {id_}`")
    return STATUS.get(found.state, TIMED_OUT)


def _rehearse(rt: "Runtime", new: "New", as_json: bool) -> int:
    """Look, decide as the worker would, and tell; nothing is written. The exit status is 0 where it would be sent, now or in its turn."""
    import json

    from worker.cli.upstream import look, seen
    from worker.core import pause
    from worker.core.command import ON_A_STEP
    from worker.core.submission import Context, accept, looked
    from worker.core.task import Task
    from worker.core.times import iso
    from worker.flows.submit import order_of

    command = new.command
    name = (command.account, command.key)
    if known := rt.ledger.queries.standing({name}).get(name):
        if known.digest != command.digest():
            raise Failure(
                f"the key {command.key!r} is that of {known.id}, which has other content: see `approvals show {known.id}`", CONFLICT
            )
        about = {"would_send": False, "state": known.state, "reason": f"it is {known.id} already", "key": command.key}
        output.document(as_json, about, [f"would do nothing: the same key and content are {known.id}, which is {known.state}"])
        return 0
    account = rt.accounts[command.account]
    row = rt.ledger.tasks.known({(new.realm, new.task)}).get((new.realm, new.task))
    fresh = accept(
        command, id_="dry-run", realm=new.realm, task=new.task, part=new.part, pin=new.pin, now=rt.ledger.queries.now()
    ).submission
    read = seen(look(rt, account, command.grant, new.task, order_of(fresh, account)), new.task)
    read = (row or Task(new.realm, new.task, new.kind, command.account)).align(read)
    acts_as, now = account.grants[command.grant], rt.ledger.queries.now()
    standing = rt.ledger.submissions.standing(command.account, new.realm)
    context = Context(
        now=now,
        dice=0.5,
        rules=account.rules,
        acts_as=acts_as,
        grant=standing.grants.get((command.grant, acts_as), "unproven"),  # type: ignore[arg-type]  # the ledger checks the words
        wary=standing.wary,
        frozen=standing.frozen,
        shut=pause.shut(rt.ledger.accounts.words().get(command.account), account.rules.hold, now, 0.5),
        own=rt.ledger.queries.credited(new.realm, new.task),
    )
    move = looked(fresh, read, context)
    s = move.submission
    if move.begin is None:
        waits = s.state in ("pending", "waiting")
        verdict = f"would wait: {s.reason}" if waits else f"would not be sent: {s.state}: {s.reason}"
        output.document(as_json, {"would_send": False, "state": s.state, "reason": s.reason, "key": command.key}, [output.shown(verdict)])
        return 0 if waits else STATUS[s.state]
    request = next(account.connector.send(order_of(s, account), read))
    body = json.loads(request.content) if request.content else None
    step = s.pin.step if s.pin and command.action in ON_A_STEP else None
    path = request.url.raw_path.decode("ascii")
    behind = row.holder if row else None
    about = {
        "would_send": True,
        "method": request.method,
        "path": path,
        "body": body,
        "step": step,
        "part": f"{s.task}/{s.part}" if s.part else None,
        "as": command.grant,
        "acts_as": acts_as,
        "not_before": iso(command.not_before) if command.not_before else None,
        "exposed": s.exposed,
        "behind": behind,
        "key": command.key,
    }
    lines = [
        f"would send, for {f'step {step}' if step else 'the task'} as {acts_as}:",
        f"  {request.method} {path}",
        f"  {json.dumps(body, ensure_ascii=False)}",
    ]
    if command.not_before:
        lines.append(f"  not before {iso(command.not_before)}, if the task allows it then as now")
    if s.exposed and command.action in ON_A_STEP - {"skip"}:
        lines.append("  exposed: its user may also answer a later step, so a race could carry it there (when_exposed)")
    elif s.exposed:
        lines.append(f"  exposed: {command.action} always is, since nothing in the request binds it to what was looked at (when_exposed)")
    if behind:
        lines.append(f"  after {behind}, which has the task's slot")
    output.document(as_json, about, lines)
    return 0
