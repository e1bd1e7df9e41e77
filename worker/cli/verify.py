"""`approvals verify`: the sandbox's numbered assumptions, held against the live upstream, in a report that can be shown to anyone."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from worker import __version__
from worker.cli import output
from worker.cli.session import FAILED, NOT_FOUND, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.flows import Account, Runtime
    from worker.verify.run import Finding
    from worker.verify.trial import Trial

HOSTS: Final = frozenset({"api.app.wdesk.com", "api.eu.wdesk.com", "api.apac.wdesk.com"})
"""The published ones [OAS servers]: any other may say whose it is."""


@click.command()
@click.option("--account", help="Which account; needed where there are several.")
@click.option(
    "--task", required=True, metavar="REF", help="A throw-away task. It is read, and lends its location to tasks of the run's own."
)
@click.option("--as", "grants", multiple=True, metavar="GRANT", help="Only these grants, the first one makes the tasks. Default: all.")
@click.option("--process-made", is_flag=True, help="A process made the task: it is renamed and restarted, for assumption 21.")
@click.option("--slow", is_flag=True, help="Also what takes half a minute or ten megabytes.")
@click.option("--burst", type=click.IntRange(0, 200), default=30, show_default=True, help="Requests at once, for assumption 29.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output.as_json
@session
def verify(
    s: Session,
    account: str | None,
    task: str,
    grants: tuple[str, ...],
    process_made: bool,
    slow: bool,
    burst: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Run throw-away tasks through the sandbox's assumptions about the live API, and print which of them hold.

    The run makes some fifty tasks of its own, approves, rejects, changes and deletes them; nobody but the users of the account's grants has
    a part in them. The report names no secret and no content: it can be attached to an issue. Exit status 0: nothing contradicts; 1:
    something does.
    """
    name = s.account(account)
    with s.runtime() as rt:
        acc = rt.accounts[name]
        trial = _trial(s, rt, acc, task, grants)
        trial.process_made, trial.slow, trial.burst = process_made, slow, burst
        _may_act(s, rt, acc, task)
        if not yes:
            _confirm(trial, name)
        report = run(trial, as_json=as_json)
    if as_json:
        output.document(True, report)
    if report["differs"]:
        sys.exit(FAILED)


def _trial(s: Session, rt: "Runtime", acc: "Account", task: str, names: tuple[str, ...]) -> "Trial":
    from worker.upstreams.workiva import Workiva
    from worker.verify.trial import Person, Trial
    from worker.verify.wire import Wire

    if not isinstance(acc.connector, Workiva):
        raise Failure(f"account {acc.name} is of kind {acc.kind}: only workiva can be verified", USAGE)
    chosen = [s.grant(acc, each) for each in names] or sorted(acc.grants) or [s.grant(acc, None)]
    people = tuple(Person(each, acc.grants[each]) for each in dict.fromkeys(chosen))
    return Trial(Wire(rt.engine, acc.connector, acc.rules.deadline), people, task)


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
    output.aside("  makes some fifty tasks, approves, rejects, changes and deletes them; their titles begin with " + trial.label)
    done = "is renamed, and submitted or restarted" if trial.process_made else "is only read; its location, if any, is lent to one of them"
    output.aside(f"  the task that you named {done}")
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:
        raise Failure("nobody agreed: nothing was done. Say --yes where nobody can be asked", USAGE) from None
    if not agreed:
        raise Failure("nothing was done")


def run(trial: "Trial", *, as_json: bool) -> dict[str, Any]:
    """Everything, tidied up whatever happens; a line for each finding as it comes, unless the document is asked for."""
    from worker.sandbox.assumptions import ASSUMPTIONS
    from worker.verify.run import CannotBegin, findings, prepare

    texts = {row.number: row.text for row in ASSUMPTIONS if row.upstream == "workiva"}
    found: list[Finding] = []
    left = 0
    try:
        try:
            prepare(trial)
        except CannotBegin as why:
            raise Failure(str(why), NOT_FOUND if why.missing else FAILED) from why
        for finding in findings(trial, texts):
            found.append(finding)
            if not as_json:
                for each in _told(finding, texts[finding.number]):
                    output.say(each)
    finally:
        left = trial.clear()
        if left:
            output.aside(f"approvals: {left} tasks could not be deleted: their titles begin with {trial.label}")
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
    return {
        "release": __version__,
        "day": datetime.now(UTC).date().isoformat(),
        "host": host if host in HOSTS else "another host",
        "api_version": trial.wire.version,
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
