"""`approvals up | console | health | sandbox`: what runs until it is told to stop, and what a probe asks of it."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from worker.cli import output
from worker.cli.session import FAILED, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.sandbox.server import RunningSandbox
    from worker.settings import Settings

T = TypeVar("T")

REACHED_WITHIN: Final = 2.0
"""Seconds for each server of a readiness probe: below the patience of those who probe."""

SANDBOX_PORT: Final = 8765

SIGNED_WITH: Final = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""What the receiver in docs/events.md verifies by: nobody's secret."""


@click.command()
@click.option("--sandbox", "simulated", is_flag=True, help="Every account answered by the simulated upstreams, on a ledger of its own.")
@click.option("--webhook", metavar="URL", help="With --sandbox: a receiver of yours that gets its events; this machine's may be http.")
@session
def up(s: Session, simulated: bool, webhook: str | None) -> None:
    """Everything in one process: Celery worker, beat, intake, and the console where console.tokens opens it.

    Ends with SIGTERM or Ctrl-C, when what is in flight has come home.
    """
    if simulated:
        _up_with_sandbox(s, webhook)
        return
    if webhook is not None:
        raise Failure("--webhook goes with --sandbox; a real one is [sinks.NAME] in the settings", USAGE)
    from worker.up import up as run

    if not s.settings.accounts:
        output.aside("no account is configured, so there is nothing to do: add [accounts.NAME] to the settings, or try --sandbox")
    sys.exit(run(s.settings))


@click.command()
@session
def console(s: Session) -> None:
    """The HTTP API: POST /api/submissions, GET /api/submissions/ID. Ends with SIGTERM or Ctrl-C, when its requests have come home."""
    if not s.settings.console.tokens:
        raise Failure("console.tokens is empty, so there is no console: set one (openssl rand -hex 32 makes it)", USAGE)
    from worker.console.server import run

    try:
        run(s.settings)
    except OSError as exc:
        if isinstance(exc, ConnectionError):
            raise
        raise Failure(f"{s.settings.console.bind} cannot be had: {exc.strerror}. Set console.bind") from exc


def _up_with_sandbox(s: Session, webhook: str | None) -> None:
    """A ledger, a namespace and an in-process broker of its own: what was meant for a live account must never go to a simulated one."""
    from worker.cli.simulated import settle
    from worker.sandbox.control import Sandbox
    from worker.sandbox.server import running_sandbox
    from worker.settings import load
    from worker.up import up as run

    path = Path("var/sandbox.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only the ledger remembers the tasks of the run before: an id of theirs that came again would meet its old decisions.
    upstream = Sandbox(made=time.time_ns())
    with _alone(path.with_suffix(".lock")), running_sandbox(port=_free(SANDBOX_PORT), sandbox=upstream) as sandbox:
        path.write_text(sandboxed(s.settings, sandbox, path.parent.absolute(), webhook), encoding="utf-8")
        settings = load(path, env={})
        settle(settings, sandbox)
        for line in _greeting(settings, sandbox, path):
            output.aside(line)
        sys.exit(run(settings))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two in one folder would share a ledger and answer for each other's tasks. The lock goes with the process, however that ends."""
    import fcntl  # not on Windows

    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another `approvals up --sandbox` runs in {Path.cwd()}: end it, or begin in another folder") from None
        yield


def sandboxed(settings: "Settings", sandbox: "RunningSandbox", directory: Path, webhook: str | None = None) -> str:
    """The settings for *sandbox* as TOML: the same accounts, grants and rules, the sandbox's secrets, nothing live. Where there is no
    account, one of each upstream. Of sinks the exchange, and *webhook*: no receiver gets simulated events that was not named for it.

    Times are short: the sandbox has no proxy that cuts at 29 s.
    """
    from worker.cli.simulated import projects
    from worker.sandbox.project import AUTODESK_USER, PROJECT
    from worker.sandbox.workspace import SANDBOX_USER

    lines = [
        "# Written by `approvals up --sandbox`. For `approvals --config` in another terminal, while it runs.",
        f"namespace = {json.dumps(settings.namespace[:50] + '_sandbox')}",
        "[ledger]",
        f"url = {json.dumps('sqlite:///' + str(directory / 'sandbox.db'))}",
        "[broker]",
        'url = "memory://"',
        "[log]",
        'level = "warning"',
        'format = "console"',
    ]
    accounts = {a: {g: v.acts_as for g, v in x.grants.items()} for a, x in settings.accounts.items()}
    of_autodesk = {name: account.project_id for name, account in projects(settings).items()} if accounts else {"tower": PROJECT}
    for name, grants in (accounts or {"finance": {"jane": SANDBOX_USER}, "tower": {"robot": AUTODESK_USER}}).items():
        lines.append(f"[accounts.{name}]")
        if name in of_autodesk:
            lines += ['kind = "autodesk"', f"base_url = {json.dumps(sandbox.autodesk_url)}", f'project_id = "{of_autodesk[name]}"']
        else:
            lines += ['kind = "workiva"', f"base_url = {json.dumps(sandbox.workiva_url)}", f'workspace = "{name}"']
        if name in settings.accounts:
            ours = settings.accounts[name]
            kept = ("api_version", "writes", "when_exposed", "mark", "timezone")
            lines += [f"{n} = {json.dumps(getattr(ours, n))}" for n in kept if hasattr(ours, n)]
        lines += ['request_deadline = "2s"', 'lease = "3s"', 'upstream_cutoff = "2s"', 'slack = "3s"']
        for grant, user in grants.items():
            lines += [f"[accounts.{name}.grants.{grant}]", f"client_id = {json.dumps('sandbox:' + user)}", 'client_secret = "sandbox"']
            lines += [f"acts_as = {json.dumps(user)}"]
    if webhook is not None:
        lines += ["[sinks.exchange]", "[sinks.webhook]", 'kind = "webhook"', f"url = {json.dumps(webhook)}", f'secrets = ["{SIGNED_WITH}"]']
        lines += ["allow_http = true", 'allow = ["127.0.0.0/8", "::1"]', 'schedule = ["5s", "10s", "20s"]']
    return "\n".join(lines) + "\n"


def _greeting(settings: "Settings", sandbox: "RunningSandbox", path: Path) -> list[str]:
    """A task to begin with for each account, and what to type."""
    from worker.cli.simulated import projects

    lines = [f"The sandbox listens at {sandbox.url}. In another terminal:"]
    for name, account in settings.accounts.items():
        users = [g.acts_as for g in account.grants.values()]
        if users:
            if name in projects(settings):
                made = sandbox.item(title=f"Review {name}", steps=[[users[0]], [users[-1]]], manager=users[-1])
                what = f"--task {made['tasks'][0]} --action close --response Approved"
            else:
                made = sandbox.task(title=f"Review {name}", steps=[{"participants": [users[0]]}, {"participants": [users[-1]]}])
                what = f"--task {made['id']} --action approve --step 1"
            call, grant = f"approvals --config {path}", next(iter(account.grants))
            lines += [
                f"  {call} task show {made['id']} --account {name}",
                f"  {call} submit --account {name} --as {grant} {what} --wait 20",
            ]
            if account.writes == "hold":
                lines.append(f"  {call} resume {name}    # its writes are on hold: nothing is sent before")
    return [*lines, "Ctrl-C ends it."]


def _free(port: int) -> int:
    """*port*, or 0 for any where it is taken."""
    with socket.socket() as probe:
        return port if probe.connect_ex(("127.0.0.1", port)) else 0


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=SANDBOX_PORT, show_default=True, help="0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="It has no defences: keep it on the loopback interface.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="MS", help="Milliseconds before each answer.")
@click.option("--faults", default="", help="A file, JSON, or route:what:key=value with ; between, as in 'act:reset:when=after,times=3'.")
def sandbox(port: int, host: str, latency: float, faults: str) -> None:
    """A simulated upstream on a port: client id and secret are `sandbox`; /_control scripts faults and shows every effect."""
    from worker.sandbox.server import run

    try:
        run(port, host=host, latency_ms=latency, faults=faults, ready=click.echo)
    except ValueError as exc:
        raise Failure(f"--faults: {exc}", USAGE) from exc
    except OSError as exc:
        raise Failure(f"port {port} of {host} cannot be had: {exc.strerror}. Try --port 0") from exc


# --- probes -------------------------------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--live", is_flag=True, help="Do the processes of this host get on?")
@click.option("--ready", is_flag=True, help="Can ledger and broker be reached, within 2 s each?")
@output.as_json
@session
def health(s: Session, live: bool, ready: bool, as_json: bool) -> None:
    """For probes. Exit status 0 is healthy, 1 is not."""
    if live == ready:
        raise Failure("say either --live or --ready", USAGE)
    found = _live(s) if live else _ready(s)
    columns: dict[str, output.Column] = {"name": "name", "ok": lambda o: "OK" if o["ok"] else "FAIL", "detail": "detail"}
    output.listing(as_json, found, columns, "no process of ours runs on this host")
    sys.exit(0 if found and all(o["ok"] for o in found) else FAILED)


def _live(s: Session) -> list[dict[str, Any]]:
    from worker.health import alive

    return [{"name": f"{b.process} {b.pid}", "ok": b.ok, "detail": f"last beat {b.age:.0f} s ago"} for b in alive(s.settings)]


def _ready(s: Session) -> list[dict[str, Any]]:
    import worker.broker
    import worker.ledger  # loading code is no server's delay

    if s.settings.broker.url.startswith("redis"):
        import worker.broker.redis  # noqa: F401  as above

    def ledger() -> None:
        with s.ledger() as opened:
            opened.queries.now()

    out = []
    for name, ask in (("ledger", ledger), ("broker", lambda: reach_broker(s.settings, REACHED_WITHIN))):
        try:
            within(REACHED_WITHIN, ask)
            out.append({"name": name, "ok": True, "detail": "reached"})
        except Exception as exc:  # noqa: BLE001  a probe says what it is, whatever it is
            out.append({"name": name, "ok": False, "detail": " ".join(str(exc).split())})
    return out


def reach_broker(settings: "Settings", patience: float) -> tuple[int, list[tuple[str, str]]] | None:
    """How many commands are dead there, and what it may lose. None for the broker inside the process. Raises BrokerLost."""
    from worker.broker import Names, connect

    if settings.broker.url.startswith("memory:"):
        return None
    link = connect(settings.broker.url, patience=patience)
    try:
        names = Names(settings.namespace)
        link.declare(names.dead_queue())
        return link.depth(names.dead), link.risks()
    finally:
        link.drop()


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What *ask* returns or raises, or TimeoutError: no client library keeps its own promises about time."""
    answers: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as exc:  # noqa: BLE001  raised again by whoever waits
            raised.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return answers[0]
