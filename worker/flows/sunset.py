"""Tell that an account's API version ends: once for each mark, however many workers look (C1, C2)."""

from worker.core import events
from worker.core.events import Event
from worker.core.sunset import Sunset
from worker.flows import Account, Runtime


def sunset(rt: Runtime, hour: int) -> None:
    """Look once an hour and process: the tick comes every second, and marks are days apart. Raises LedgerDown."""
    if hour == rt.hour:
        return
    for account in rt.accounts.values():
        ends = account.connector.sunset
        if ends is None or (told := _told(rt, account, ends)) is None:
            continue
        rt.alarm(told)
        for sink in rt.sinks:
            rt.ring("emit", sink)
    rt.hour = hour


def _told(rt: Runtime, account: Account, ends: Sunset) -> Event | None:
    """The event, where it is due and nobody has told it yet."""

    def due(now: float) -> tuple[str, Event] | None:
        if (mark := ends.mark(now)) is None:
            return None
        return mark, events.sunset_approaching(f"/{account.kind}/{account.name}", account.name, ends, mark, now)

    return rt.ledger.accounts.sunset(account.name, account.connector.realm, due)
