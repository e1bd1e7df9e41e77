"""`approvals doctor`: everything that can be checked without changing anything, and what to do about each fault."""

import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from worker.cli import output
from worker.cli.session import FAILED, Session, session, translated

if TYPE_CHECKING:
    from worker.core.sunset import Sunset
    from worker.flows import Account, Runtime
    from worker.ledger import Ledger
    from worker.settings import Account as AccountSettings

UNREACHED = "check base_url, network and proxy"

SKEW = 5.0
"""Seconds that two clocks may differ: an upstream's `Date` has whole seconds and takes a moment to arrive."""

BROKER_WITHIN = 8.0
"""Seconds for the broker."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `todo`: what to do about it."""

    check: str
    verdict: Literal["OK", "WARN", "FAIL"]
    detail: str
    todo: str = ""


@click.command()
@output.as_json
@session
def doctor(s: Session, as_json: bool) -> None:
    """Check settings, ledger, broker, each grant and each sink. Exit status 1 if anything fails."""
    failed = False
    columns: dict[str, output.Column] = {"verdict": "verdict", "check": "check", "found": "detail", "to do": "todo"}
    found = []
    for finding in _findings(s):
        failed = failed or finding.verdict == "FAIL"
        if as_json:
            output.line(asdict(finding))
        elif not output.terminal():
            click.echo("\t".join(output.shown(v) for v in (finding.verdict, finding.check, finding.detail, finding.todo)))
        found.append(asdict(finding))
    if not as_json and output.terminal():
        output.listing(False, found, columns)
    if failed:
        sys.exit(FAILED)


def _findings(s: Session) -> Iterator[Finding]:
    yield from _settings(s)
    yield from _broker(s)
    yield from _processes(s)
    ledger_ok = False
    try:
        with s.ledger() as ledger:
            yield from _ledger(s, ledger)
            ledger_ok = True
            yield from _sinks(s, ledger)
            yield from _away(s, ledger)
            yield from _paused(s, ledger)
            yield from _submissions(ledger)
    except Exception as exc:
        failure = translated(exc)
        if failure is None:
            raise
        yield Finding("ledger", "FAIL", failure.message, "" if "approvals migrate" in failure.message else "start it, or set ledger.url")
    if s.settings.accounts and ledger_ok:
        with s.runtime() as rt:
            for name in sorted(rt.accounts):
                yield from _sunset(rt, name)
                yield from _grants(rt, name)
    elif not ledger_ok:
        yield Finding("grants", "WARN", "not checked: they need the ledger", "put the ledger right, then run this again")


def _settings(s: Session) -> Iterator[Finding]:
    settings = s.settings
    if not settings.accounts:
        yield Finding("settings", "WARN", "no account is configured", "add [accounts.NAME], or try `approvals up --sandbox`")
    for name, account in settings.accounts.items():
        if not account.grants:
            todo = f"add [accounts.{name}.grants.NAME] with client_id, client_secret and acts_as"
            yield Finding(f"account {name}", "FAIL", "it has no grant, so nothing can be read or sent", todo)
            continue
        detail = f"{len(account.grants)} grant(s), quiet period {account.quiet_period:g} s, when_exposed {account.when_exposed}"
        if account.base_url.startswith("http://") and "127.0.0.1" not in account.base_url and "localhost" not in account.base_url:
            yield Finding(f"account {name}", "WARN", f"{detail}; base_url is not encrypted", "use https://")
        else:
            yield Finding(f"account {name}", "OK", detail)
        yield from _key_files(name, account)
    if settings.broker.url.startswith("memory:") and not settings.ledger.url.startswith("sqlite"):
        yield Finding(
            "settings",
            "WARN",
            "a shared ledger with the broker of one process",
            "set broker.url to amqp://… (or redis://…) for several processes",
        )


def _key_files(name: str, account: "AccountSettings") -> Iterator[Finding]:
    for grant, its in account.grants.items():
        file: Path | None = getattr(its, "private_key_file", None)
        if file is not None and file.stat().st_mode & 0o077:
            yield Finding(
                f"grant {name}/{grant}", "WARN", f"{file} can be read by others: whoever has it is {its.acts_as}", f"chmod 600 {file}"
            )


def _broker(s: Session) -> Iterator[Finding]:
    from worker.cli.process import reach_broker, within

    try:
        reached = within(BROKER_WITHIN, lambda: reach_broker(s.settings, BROKER_WITHIN / 2))
    except (OSError, TimeoutError) as exc:
        detail = f"{s.settings.broker.url.redacted}: {' '.join(str(exc).split())}"
        yield Finding("broker", "FAIL", detail, "start it, or set broker.url (host, user, password, vhost); nothing is lost meanwhile")
        return
    if reached is None:
        yield Finding("broker", "OK", "inside the process of `approvals up`: no server is needed")
        return
    dead, risks = reached
    for risk, todo in risks:
        yield Finding("broker", "WARN", risk, todo)
    if dead:
        yield Finding("broker", "WARN", f"reached; {dead} commands are dead", "`approvals dead list` says why")
    else:
        yield Finding("broker", "OK", "reached; no command is dead")


def _processes(s: Session) -> Iterator[Finding]:
    from worker.health import alive

    beats = alive(s.settings)
    stuck = [b for b in beats if not b.ok]
    if stuck:
        names = ", ".join(f"{b.process} {b.pid} ({b.age:.0f} s)" for b in stuck)
        yield Finding("processes", "FAIL", f"without a sign of life: {names}", "look into its log, then restart it")
    elif beats:
        yield Finding("processes", "OK", ", ".join(f"{b.process} {b.pid}" for b in beats))
    else:
        yield Finding("processes", "WARN", "none runs on this host", "`approvals up`, unless they run elsewhere")


def _ledger(s: Session, ledger: "Ledger") -> Iterator[Finding]:
    before = time.time()
    there = ledger.queries.now()
    apart = there - (before + time.time()) / 2
    if abs(apart) > SKEW:
        todo = "set this machine's clock (NTP): `issued_at` is taken from it"
        yield Finding("ledger", "WARN", f"its clock is {apart:+.0f} s from this machine's", todo)
    else:
        yield Finding("ledger", "OK", f"{s.settings.ledger.url.redacted}: reached, of this release, clock within {SKEW:g} s")


def _sinks(s: Session, ledger: "Ledger") -> Iterator[Finding]:
    from worker.cli.sink import to
    from worker.core.delivery import in_words
    from worker.core.events import TYPES

    counts = {(name, state): n for name, state, n in ledger.queries.deliveries()}
    standings, now = ledger.outbox.standings(), ledger.queries.now()
    for name, sink in s.settings.sinks.items():
        due, unbound, dead = (counts.get((name, state), 0) for state in ("due", "unbound", "dead"))
        standing = standings.get(name)
        if never := [glob for glob in sink.events if not any(fnmatchcase(type_, glob) for type_ in TYPES)]:
            todo = "`approvals catalogue` lists the types"
            yield Finding(f"sink {name}", "WARN", f"no event is of type {', '.join(never)}", todo)
        detail = f"{sink.kind} {to(sink, s.settings)}: {counts.get((name, 'delivered'), 0)} delivered, {due} due"
        detail += f", {unbound} wanted by no queue" if sink.kind == "exchange" else f", {dead} set aside"
        if standing and (standing.off or standing.failing is not None):
            todo = f"`approvals sink test {name}` shows what it answers" + (f", `approvals sink enable {name}`" if standing.off else "")
            yield Finding(f"sink {name}", "FAIL" if standing.off else "WARN", f"{detail}; {in_words(standing, now)}", todo)
        elif dead:
            yield Finding(f"sink {name}", "WARN", detail, f"`approvals sink replay {name} --missing` sends them again")
        elif unbound and not s.settings.broker.url.startswith("memory:"):
            yield Finding(f"sink {name}", "WARN", detail, f"bind a queue to it, then `approvals sink replay {name} --missing`")
        else:
            yield Finding(f"sink {name}", "OK", detail)
    for name in sorted({n for n, _ in counts} - set(s.settings.sinks)):
        if due := counts.get((name, "due"), 0):
            yield Finding(f"sink {name}", "WARN", f"{due} events are due for a sink that is not configured", f"add [sinks.{name}] again")


def _away(s: Session, ledger: "Ledger") -> Iterator[Finding]:
    from worker.core.times import iso

    for breaker in ledger.breakers.all():
        if breaker.state == "open" and breaker.name in s.settings.accounts:
            todo = (
                f"nothing, if that is known: it is tried again by itself, at {iso(breaker.next_at)}. Else check base_url, network and proxy"
            )
            yield Finding(f"account {breaker.name}", "FAIL", breaker.told, todo)


def _paused(s: Session, ledger: "Ledger") -> Iterator[Finding]:
    from worker.cli.account import standstill
    from worker.core import pace
    from worker.core.times import iso

    why, words, now = standstill(s, ledger), ledger.accounts.words(), ledger.queries.now()
    away = {b.name for b in ledger.breakers.all() if b.state == "open"}
    for name, account in s.settings.accounts.items():
        check, word = f"account {name}", words.get(name)
        if (text := why(name)) and name not in away:
            yield Finding(check, "WARN", f"it sends nothing: {text}", f"`approvals resume {name}` when you are ready")
        elif word and word.slow(now):
            yield Finding(check, "OK", f"{word.told}; it sends slowly until {iso(word.at + pace.SLOW)}")
        elif word and word.lifts and account.writes == "hold":
            todo = f'set writes = "on", or `approvals pause {name}`: as it is, only the ledger knows that it sends'
            yield Finding(check, "WARN", f'{word.told}, although writes = "hold"', todo)


def _submissions(ledger: "Ledger") -> Iterator[Finding]:
    for account, state, n in ledger.queries.states():
        if state in ("misapplied", "duplicated"):
            todo = f"`approvals list --state {state} --account {account}`, put it right upstream, then `approvals resolve`"
            yield Finding(f"account {account}", "WARN", f"{n} {state}: exposed submissions are parked until a person resolves them", todo)
        elif state == "parked":
            yield Finding(f"account {account}", "WARN", f"{n} parked", f"`approvals list --state parked --account {account}`")


def _sunset(rt: "Runtime", name: str) -> Iterator[Finding]:
    if ends := rt.accounts[name].connector.sunset:
        yield ending(f"account {name}", ends, rt.ledger.queries.now())


def ending(check: str, ends: "Sunset", now: float) -> Finding:
    """How long the account's API version lives on."""
    from worker.core.sunset import MARKS

    left = ends.days_left(now)
    if left < 0:
        return Finding(check, "FAIL", f"API version {ends.version} ended on {ends.day}, {-left} days ago", ends.todo)
    return Finding(
        check, "WARN" if left <= max(MARKS) else "OK", f"API version {ends.version} ends on {ends.day}, in {left} days", ends.todo
    )


def _grants(rt: "Runtime", name: str) -> Iterator[Finding]:
    account = rt.accounts[name]
    known = rt.ledger.submissions.standing(name, account.connector.realm).grants
    for grant, acts_as in account.grants.items():
        yield _tokens(rt, account, grant) or _grant(rt, account, grant, known.get((grant, acts_as), "unproven"))


def _tokens(rt: "Runtime", account: "Account", grant: str) -> Finding | None:
    """What is wrong with tokens that live in the ledger, if they do and anything is."""
    from worker.core.renewal import STALE
    from worker.core.times import iso
    from worker.flows.tokens import ready

    renewal = account.connector.renewal(grant)
    if renewal is None:
        return None
    ready(rt, account, [grant])
    check, login = f"grant {account.name}/{grant}", f"`approvals login --account {account.name} --as {grant}`"
    kept = {each.name: each for each in rt.ledger.tokens.all()}.get(renewal.name)
    if kept is None:
        return Finding(check, "FAIL", "nobody has consented yet, so it has no token", login)
    if kept.state == "degraded":
        again = "it is tried again by itself, every few minutes; if that does not help: "
        return Finding(check, "FAIL", kept.detail, login if kept.next_at is None else again + login)
    if rt.ledger.queries.now() > kept.refreshed_at + 2 * STALE:
        detail = f"its tokens were renewed last at {iso(kept.refreshed_at)}, and end at {iso(kept.refresh_until)}"
        return Finding(check, "WARN", detail, "let beat and a worker run, or `approvals up`: they renew what nobody needs, too")
    return None


def _grant(rt: "Runtime", account: "Account", grant: str, known: str) -> Finding:
    """A token, whose it is, and what may be read with it. *known*: what answers to sends have shown of it (A14)."""
    from worker.cli.upstream import asked, paid
    from worker.core.outcomes import Fact, Unknown
    from worker.upstreams.base import Token

    check, acts_as, deadline = f"grant {account.name}/{grant}", account.grants[grant], account.rules.deadline
    credentials = account.connector.credentials(grant)
    got = credentials.held() or asked(rt, credentials.fetch(), None, deadline)
    if isinstance(got, Unknown):
        got = got.fact
    if isinstance(got, Fact):
        todo = "check client_id and client_secret" if got.status in (400, 401, 403) else UNREACHED
        return Finding(check, "FAIL", f"no token: {got}", todo)
    assert isinstance(got, Token)
    me = paid(rt, account, grant, account.connector.whoami)
    if isinstance(me, Unknown):
        said, todo = "it cannot be asked whose the token is", UNREACHED
        if me.fact.status == 401:
            said, todo = "the token is refused", "look again in a minute: until then it is renewed, or it is told why not"
        elif me.fact.status:
            said = "token good, but it does not show whose it is"
            todo = "check project_id; is the user a member of the project, and has its account let the app in?"
        return Finding(check, "FAIL", f"{said}: {me.fact}", todo)
    if me is not None and me != acts_as:
        return Finding(check, "FAIL", f"it acts as {me}, not as {acts_as}", f"set acts_as to {me}, or let {acts_as} consent")
    now, dates = rt.ledger.queries.now(), list[float]()
    page = paid(rt, account, grant, lambda: _dated(account.connector.changes(now, None), dates))
    if isinstance(page, Unknown):
        return Finding(check, "FAIL", f"token good, but tasks cannot be read: {page.fact}", "give the grant the right to read tasks")
    if known == "stopped":
        todo = "set acts_as to the user that the grant acts as: see the event grant.misconfigured"
        return Finding(check, "FAIL", f"stopped: it does not act as {acts_as}", todo)
    proven = "proven" if me is not None else known
    detail = f"token good for {got.lifetime:.0f} s, tasks can be read, acts_as {proven}"
    apart = dates[-1] - now if dates else 0.0
    if abs(apart) > SKEW:
        todo = "set the ledger host's clock: decisions would look older or younger than they are"
        return Finding(check, "WARN", f"{detail}; the upstream's clock is {apart:+.0f} s from the ledger's", todo)
    if proven == "unproven":
        return Finding(check, "WARN", detail, "nothing: its first clean answer proves it. Until then what is in doubt is parked")
    return Finding(check, "OK", detail)


def _dated(flow: Any, dates: list[float]) -> Generator[Any, Any, Any]:
    """*flow*, with the upstream's clock of each answer put into *dates*."""
    from worker.upstreams.base import date_of

    request = next(flow)
    while True:
        response = yield request
        if (date := date_of(response)) is not None:
            dates.append(date)
        try:
            request = flow.send(response)
        except StopIteration as end:
            return end.value
