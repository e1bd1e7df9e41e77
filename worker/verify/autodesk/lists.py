"""Lists: their pages, their filters, and the times in them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from worker.verify.answers import Answer, a_list, an_object, instant
from worker.verify.autodesk.trial import Trial
from worker.verify.verdict import CannotTell, Verdict, told

ZONES: Final = [quarter / 4 for quarter in range(-12 * 4, 14 * 4 + 1)]
"""Hours from UTC that a zone may be."""

NEAR: Final = 6.0
"""Hours. A zone further from UTC has to be excluded before it is said that the day is one of UTC."""

ENOUGH: Final = 30
"""Times, after which a precision that was not seen is not there: of six digits a third becomes seven in the sandbox."""


def days_are_of_utc(t: Trial) -> Verdict:
    """43. By the items of the run: on which days each is found, of those around the time that it shows."""
    times: dict[float, tuple[str, str]] = {}
    for item in dict.fromkeys([t.named, *t.usable]):
        shown = t.get(t.url(item)).needed
        times |= {instant(shown.get(name)): (item, name) for name in ("createdAt", "updatedAt")}
    by_hour = sorted(times, key=lambda at: at % 86_400)
    fits = ZONES
    for at in {by_hour[0], by_hour[-1]}:
        item, name = times[at]
        days = [datetime.fromtimestamp(at, UTC).date() + timedelta(days=more) for more in (-1, 0, 1)]
        found = [day for day in days if _rows(t.listed(item, {f"filter[{name}]": day.isoformat()}))]
        fits = [zone for zone in fits if [datetime.fromtimestamp(at + zone * 3600, UTC).date()] == found]
    if not fits:
        raise CannotTell("the days on which items are found fit no zone")
    text = f"the day of a filter is that of a zone between {_zone(fits[0])} and {_zone(fits[-1])}"
    if 0.0 in fits and (fits[0] < -NEAR or fits[-1] > NEAR):
        raise CannotTell(f"{text}: name items that were changed shortly after and shortly before midnight, UTC")
    return told(0.0 in fits, text)


def _zone(hours: float) -> str:
    return f"{'-' if hours < 0 else '+'}{int(abs(hours)):02}:{int(abs(hours) * 60) % 60:02}"


def default_is_twenty(t: Trial) -> Verdict:
    """46."""
    of_items = _page(t.listed(t.named)).get("limit")
    of_steps = _page(t.get(t.url(t.named, "/steps"))).get("limit")
    if not (isinstance(of_items, int) and isinstance(of_steps, int)):
        raise CannotTell("a page does not tell its limit")
    return told((of_items, of_steps) == (20, 20), f"without limit a page has {of_items} items, {of_steps} steps")


def limit_has_a_range(t: Trial) -> Verdict:
    """47."""
    statuses = [t.listed(t.named, {"limit": limit}).status for limit in ("0", "51")]
    return told(statuses == [400, 400], f"limit 0: {statuses[0]}, limit 51: {statuses[1]}")


def next_is_null_at_the_end(t: Trial) -> Verdict:
    """48. By the project's responses, of which there are always some."""
    first = _page(t.get("/responses", {"limit": "1"}))
    total = first.get("totalResults")
    if not isinstance(total, int) or total < 2:
        raise CannotTell("the project has fewer than two responses")
    last = _page(t.get("/responses", {"limit": "1", "offset": str(total - 1)}))
    begins = "an address" if first.get("nextUrl") else "none"
    ends = "absent" if "nextUrl" not in last else "null" if last["nextUrl"] is None else "an address"
    return told((begins, ends) == ("an address", "null"), f"nextUrl of the first page: {begins}; of the last: {ends}")


def times_have_six_digits(t: Trial) -> Verdict:
    """58. Of every time that the run has seen."""
    seen = set(t.digits.values())
    text = f"{len(t.digits)} times with {', '.join(map(str, sorted(seen)))} digits"
    if seen <= {6} and len(t.digits) < ENOUGH:
        raise CannotTell(f"only {text} were seen: needs items to act on (--use)")
    return told(bool(seen & {3, 7}) and seen <= {3, 6, 7}, text)


def unknown_names_are_refused(t: Trial) -> Verdict:
    """64."""
    filtered = t.listed(t.named, {"filter[verify]": "1"}).status
    ordered = t.listed(t.named, {"sort": "verify"}).status
    return told((filtered, ordered) == (400, 400), f"a filter that does not exist: {filtered}, a sort order: {ordered}")


def _rows(answer: Answer) -> list[Any]:
    return a_list(answer.needed.get("results"))


def _page(answer: Answer) -> Mapping[str, Any]:
    return an_object(answer.needed.get("pagination"))
