"""`approvals verify`: the sandbox's numbered assumptions, held against the live upstream, in a report that can be shown to anyone."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from worker import __version__
from worker.cli import output
from worker.cli.session import FAILED, NOT_FOUND, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.core.renewal import Answer
    from worker.flows import Account, Runtime
    from worker.verify.run import Finding
    from worker.verify.table import Trial

HOSTS: Final = frozenset({"api.app.wdesk.com", "api.eu.wdesk.com", "api.apac.wdesk.com", "developer.api.autodesk.com"})
"""The published ones [OAS servers][OAS]: any other may say whose it is."""


@click.command()
@click.option("--account", help="Which account; needed where there are several.")
@click.option("--task", required=True, metavar="REF", help="A throw-away task, or an item. It is read; a task lends its location, too.")
@click.option("--as", "grants", multiple=True, metavar="GRANT", help="Only these grants; the first one does most of it. Default: all.")
@click.option("--process-made", is_flag=True, help="Workiva: a process made the task; it is renamed and restarted, for assumption 21.")
@click.option("--use", "usable", multiple=True, metavar="ITEM", help="Autodesk: an item that was prepared for this: it is answered.")
@click.option("--risk-grant", is_flag=True, help="Autodesk: also what may end a grant, for assumption 44.")
@click.option("--slow", is_flag=True, help="Also what takes a minute or ten megabytes.")
@click.option("--burst", type=click.IntRange(0, 1000), default=30, show_default=True, help="Requests at once, for assumptions 29 and 63.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output.as_json
@session
def verify(
    s: Session,
    account: str | None,
    task: str,
    grants: tuple[str, ...],
    process_made: bool,
    usable: tuple[str, ...],
    risk_grant: bool,
    slow: bool,
    burst: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Try the sandbox's assumptions about the live API on throw-away tasks, and print which of them hold.

    With Workiva the run makes some fifty tasks of its own, approves, rejects, changes and deletes them; nobody but the users of the
    account's grants has a part in them. With Autodesk, where no API makes a review, it acts on the items named with --use and on no other.
    The report names no secret and no content: it can be attached to an issue. Exit status 0: nothing contradicts; 1: something does.
    """
    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        chosen = [s.grant(acc, each) for each in grants] or sorted(acc.grants) or [s.grant(acc, None)]
        trial = _trial(rt, acc, task, chosen, process_made=process_made, usable=usable, risk=risk_grant)
        trial.slow, trial.burst = slow, burst
        for each in {trial.named, *usable}:
            _may_act(s, rt, acc, each)
        if not yes:
            _confirm(trial, name)
        report = run(trial, acc.kind, as_json=as_json)
    if as_json:
        output.document(True, report)
    if report["differs"]:
        sys.exit(FAILED)


def _trial(
    rt: "Runtime", acc: "Account", task: str, grants: list[str], *, process_made: bool, usable: tuple[str, ...], risk: bool
) -> "Trial":
    from worker.flows import tokens
    from worker.flows.budget import price
    from worker.upstreams.autodesk import Autodesk
    from worker.upstreams.workiva import Workiva
    from worker.verify.asking import Person
    from worker.verify.autodesk.trial import Trial as OfAutodesk
    from worker.verify.wire import Wire
    from worker.verify.workiva.trial import Trial as OfWorkiva

    people = tuple(Person(each, acc.grants[each]) for each in dict.fromkeys(grants))

    def ready(grant: str, requests: int) -> None:
        tokens.ready(rt, acc, [grant])
        # Into the red if need be: whoever verifies waits for nobody, and the workers send that much less after it.
        rt.ledger.budgets.spend(price(acc, grant, requests))

    def spend(grant: str, use: "Callable[[str], Answer]") -> bool:
        return tokens.spend(rt, acc, grant, use)

    try:
        named = [acc.connector.address(each).task for each in (task, *usable)]
    except ValueError as exc:
        raise Failure(str(exc), USAGE) from exc
    match acc.connector:
        case Workiva() as connector:
            if usable or risk:
                raise Failure(f"account {acc.name} is of kind {acc.kind}: --use and --risk-grant are for autodesk", USAGE)
            return OfWorkiva(Wire(rt.engine, connector, acc.rules.deadline, ready=ready), people, named[0], process_made=process_made)
        case Autodesk() as connector:
            if process_made:
                raise Failure(f"account {acc.name} is of kind {acc.kind}: --process-made is for workiva", USAGE)
            wire = Wire(rt.engine, connector, acc.rules.deadline, ready=ready)
            return OfAutodesk(wire, people, named[0], usable=tuple(dict.fromkeys(named[1:])), spend=spend, risk=risk)
        case _:
            raise Failure(f"account {acc.name} is of kind {acc.kind}, which cannot be verified yet", USAGE)


def _may_act(s: Session, rt: "Runtime", acc: "Account", task: str) -> None:
    """Whoever said that nothing is to be sent means this, too; and a task that submissions wait for is not one to throw away."""
    from worker.cli.account import standstill
    from worker.core.submission import ENDED

    if why := standstill(s, rt.ledger)(acc.name):
        raise Failure(f"account {acc.name} sends nothing now ({why}), and verify acts upstream: first `approvals resume {acc.name}`")
    if waits := [x.id for x in rt.ledger.queries.listed(account=acc.name, task=task, limit=50) if x.state not in ENDED]:
        raise Failure(f"{waits[0]} is open for this task, so it is none to throw away. Name another one")


def _confirm(trial: "Trial", account: str) -> None:
    """Say what will be done, and ask."""
    people = " and ".join(person.grant for person in trial.people)
    output.aside(f"As {people} of account {account}, at {trial.wire.base}:")
    for each in trial.intends():
        output.aside(f"  {each}")
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        raise Failure("nobody agreed: nothing was done. Say --yes where nobody can be asked", USAGE) from None
    if not agreed:
        raise Failure("nothing was done")


def run(trial: "Trial", kind: str, *, as_json: bool) -> dict[str, Any]:
    """Everything, tidied up whatever happens; a line for each finding as it comes, unless the document is asked for."""
    from worker.sandbox.assumptions import ASSUMPTIONS
    from worker.verify.run import CannotBegin, findings
    from worker.verify.table import KNOWN

    tried, texts = KNOWN[kind], {row.number: row.text for row in ASSUMPTIONS if row.upstream == kind}
    found: list[Finding] = []
    left = 0
    try:
        try:
            tried.prepare(trial)
        except CannotBegin as why:
            raise Failure(str(why), NOT_FOUND if why.missing else FAILED) from why
        for finding in findings(trial, texts, tried.checks):
            found.append(finding)
            if not as_json:
                for each in _told(finding, texts[finding.number]):
                    output.say(each)
    finally:
        left = trial.clear()
        if why_left := trial.remains(left):
            output.aside(f"approvals: {why_left}")
    report = report_of(trial, found, texts, left)
    if not as_json:
        for each in _summary(report):
            output.say(each)
    return report


def report_of(trial: "Trial", found: "list[Finding]", texts: dict[int, str], left: int) -> dict[str, Any]:
    """What may be shown to anyone."""
    from datetime import UTC, datetime

    import httpx

    host = httpx.URL(trial.wire.base).host
    found = sorted(found, key=lambda finding: finding.number)
    return {
        "release": __version__,
        "day": datetime.now(UTC).date().isoformat(),
        "host": host if host in HOSTS else "another host",
        "api_version": trial.version,
        "grants": len(trial.people),
        "holds": [f.number for f in found if f.held == "holds"],
        "differs": [f.number for f in found if f.held == "differs"],
        "not_tried": [f.number for f in found if f.held == "not tried"],
        "tasks_left": left,
        "assumptions": [{"number": f.number, "held": f.held, "seen": f.seen, "assumption": texts[f.number]} for f in found],
    }


def _told(finding: "Finding", text: str) -> Iterator[str]:
    yield f"{finding.held.upper() if finding.held == 'differs' else finding.held:<9}  {finding.number:>2}  {finding.seen}"
    if finding.held == "differs":
        yield f"               assumed: {text}"


def _summary(report: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{len(report['holds'])} hold, {len(report['differs'])} differ, {len(report['not_tried'])} were not tried: "
        f"{report['host']}, API {report['api_version']}, {report['grants']} grant(s), {report['day']}, approval-worker {report['release']}"
    )
    if report["differs"]:
        yield f"differing: {', '.join(map(str, report['differs']))}"
