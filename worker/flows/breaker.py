"""Whether an account's upstream is to be asked now, and what came of asking it (B4). All processes share the answer by the ledger.

Cheap while all is well: one small read in a second of work, and no write.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from worker.core.breaker import trouble
from worker.core.outcomes import Page, Read, Sent
from worker.core.pause import Shut
from worker.errors import LedgerDown
from worker.flows import Account, Known, Runtime
from worker.ledger.breakers import Heard

log = structlog.get_logger()

FRESH = 1.0
"""Seconds for which what was read is believed: so much later another process stops asking."""


@dataclass(frozen=True, slots=True)
class Leave:
    """To ask: with so many requests of this process in flight. `probe`: the breaker is open, and it is ours to probe, by this name."""

    room: int
    probe: str | None = None


def enter(rt: Runtime, account: Account) -> Leave | Shut:
    """Whether *account* may be asked now. Whoever was to probe and finds nothing to ask says so (`give_back`). Raises LedgerDown."""
    known = rt.known.get(account.name)
    if known is None or time.monotonic() >= known.until:
        breaker, now = rt.ledger.breakers.find(account.name)
        known = _keep(rt, account, Heard(breaker, now))
    if known.breaker.state == "closed":
        return Leave(known.breaker.room(known.now(), rt.room))
    probe = secrets.token_hex(8)
    if known.breaker.room(known.now(), 1) and (taken := rt.ledger.breakers.take(account.name, probe, account.rules.lease)):
        _keep(rt, account, taken, probe)
        return Leave(1, probe)
    return known.breaker.shut()


def open_(rt: Runtime, account: Account) -> bool:
    """Whether it has opened, as far as this process knows: for a turn that has begun. Asks nobody."""
    known = rt.known.get(account.name)
    return known is not None and known.breaker.state == "open" and known.breaker.holder != known.mine


def give_back(rt: Runtime, account: Account, leave: Leave) -> None:
    """Nothing was asked with this leave, or what was asked has been heard of. Raises LedgerDown."""
    known = rt.known.get(account.name)
    if leave.probe is not None and known is not None and known.breaker.holder == leave.probe:
        del rt.known[account.name]
        rt.ledger.breakers.give_back(account.name, leave.probe)


def hear(rt: Runtime, account: Account, outcomes: Iterable[Read | Sent | Page]) -> None:
    """What came of requests, in the order of their answers. While the ledger is down it is passed over: it will be heard again."""
    answers = [said for what in outcomes if (said := trouble(what)) is not None]
    known = rt.known.get(account.name)
    if not answers or (known is not None and known.breaker.well and not any(answers)):
        return
    holder = (known.mine if known else None) or ""
    try:
        heard = rt.ledger.breakers.hear(account.name, account.kind, account.connector.realm, answers, holder, rt.dice())
    except LedgerDown as exc:
        log.warning("ledger.down", account=account.name, error=str(exc))
        return
    _keep(rt, account, heard)
    if heard.event is None:
        return
    if heard.breaker.state == "open":
        rt.alarm(heard.event)
    else:
        log.info(heard.event.type, **heard.event.data)
        rt.ring("submit", account.name)
    for sink in rt.sinks:
        rt.ring("emit", sink)


def _keep(rt: Runtime, account: Account, heard: Heard, mine: str | None = None) -> Known:
    at, before = time.monotonic(), rt.known.get(account.name)
    usual = heard.breaker.room(heard.now, rt.room) == rt.room
    mine = mine or (before.mine if before else None)
    rt.known[account.name] = known = Known(heard.breaker, heard.now - at, at + FRESH if usual else at, mine)
    return known
