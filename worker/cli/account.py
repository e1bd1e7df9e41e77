"""`approvals pause | resume`: whether an account sends at all, as a person says it."""

import getpass
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from worker.cli import output
from worker.cli.session import Session, session

if TYPE_CHECKING:
    from worker.core.pause import Word
    from worker.ledger import Ledger
    from worker.ledger.accounts import Said

NOTE = "Why: told to whoever looks at what waits."


def _user() -> str:
    """Whoever types."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"


def standstill(s: Session, ledger: "Ledger") -> Callable[[str], str | None]:
    """Account -> why nothing of it is sent now, in words; None where it sends, were it slowly."""
    from worker.ledger.story import standstill as held

    return held(ledger, {name for name, account in s.settings.accounts.items() if account.writes == "hold"})


@click.command()
@click.argument("account")
@click.option("--note", default="", help=NOTE)
@click.option("--by", default=_user, help="Who says so; else the user of this machine.")
@output.as_json
@session
def pause(s: Session, account: str, note: str, by: str, as_json: bool) -> None:
    """Send nothing more of an account, in any process, until it is resumed. What is on its way already finishes.

    Commands are accepted as before, and tasks are looked at. What waits uses no attempt, and ends by its not_after.
    """
    name = s.account(account)
    with s.ledger() as ledger:
        said = ledger.accounts.pause(name, by, note)
        now = ledger.queries.now()
    lease = s.settings.accounts[name].lease
    way = [at + lease for at in said.under_way if at + lease > now]
    _tell(as_json, name, said, {"under_way": len(way), "under_way_until": max(way, default=None)}, _paused(name, said, way))


def _paused(name: str, said: "Said", way: list[float]) -> list[str]:
    from worker.core.times import iso

    begins = f"{name}: nothing more is sent" if said.changed else f"{name} was paused already: {said.word.told if said.word else ''}"
    if not way:
        return [begins, "nothing was on its way"]
    return [begins, f"{len(way)} on their way already; they end by {iso(max(way))}. Each may still take effect"]


@click.command()
@click.argument("account")
@click.option("--note", default="", help=NOTE)
@click.option("--by", default=_user, help="Who says so; else the user of this machine.")
@output.as_json
@session
def resume(s: Session, account: str, note: str, by: str, as_json: bool) -> None:
    """Send again, slowly at first: one a second, twice as many every 10 s, as usual after a minute.

    It also lifts `writes = "hold"`, until the account is paused or its workers were started with "on".
    """
    from worker.core import pace

    name = s.account(account)
    with s.ledger() as ledger:
        said = ledger.accounts.resume(name, by, note, hold=s.settings.accounts[name].writes == "hold")
    if said.changed:
        lines = [f"{name}: sends again, slowly for {pace.SLOW:.0f} s; {said.waiting} waited for it"]
    else:
        lines = [f"{name} was not paused" + (f": {said.word.told}" if said.word else "")]
    _tell(as_json, name, said, {"waiting": said.waiting}, lines)


def _tell(as_json: bool, name: str, said: "Said", more: Mapping[str, Any], lines: list[str]) -> None:
    from worker.core.times import iso

    about = {"account": name, "changed": said.changed, **as_object(said.word)}
    output.document(as_json, about | {k: iso(v) if isinstance(v, float) else v for k, v in more.items()}, map(output.shown, lines))


def as_object(word: "Word | None") -> dict[str, Any]:
    """What a person said, as JSON shows it."""
    from worker.core.times import iso

    if word is None:
        return {"said": None, "since": None, "by": None, "note": None}
    return {"said": word.said, "since": iso(word.at), "by": word.by, "note": word.note}
