"""Each assumption about Autodesk: what the sandbox does by default, and that every other value of its switch is seen by a caller."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.conftest import START
from tests.sandbox.site import MANAGER, Site
from worker.sandbox.assumptions import ASSUMPTIONS, Switches
from worker.sandbox.autodesk import CUTOFF
from worker.sandbox.faults import Fault, Faulty, Script

JANE, JOE = "jane", "joe"
ASIDE = {"user": JOE, "required": False}
ROWS = [row for row in ASSUMPTIONS if row.upstream == "autodesk"]
NUMBERS: dict[str, tuple[int, ...]] = {"system_delay_ms": (0, 2000), "requests_per_minute": (0, 3)}
TO_MANAGER = {"manager": MANAGER, "managerType": "1"}
PROBES: dict[int, tuple[Callable[[Site], Any], Any]] = {}


def probe(number: int, expected: Any) -> Callable[[Callable[[Site], Any]], None]:
    """What is seen of one assumption, and what is seen by default."""

    def keep(seen: Callable[[Site], Any]) -> None:
        PROBES[number] = (seen, expected)

    return keep


@probe(40, 403)
def _(site):
    item = site.item([JANE, JANE])
    site.close(item, user=JANE)
    return site.close(item, user=JANE, reply="rejected").status


@probe(41, 403)
def _(site):
    return site.close(site.item([JANE], [JOE]), 2, user=JOE).status


@probe(42, (False, True, True))
def _(site):
    """Whether one of several moves it, one that ends a step, and the system's move."""
    item = site.item([JANE, JOE], [JANE])

    def moves(act: Callable[[], Any]) -> bool:
        before = site.get(f"/items/{item}")["updatedAt"]
        site.clock.pass_(5)
        act()
        return bool(site.get(f"/items/{item}")["updatedAt"] != before)

    first = moves(lambda: site.close(item, user=JANE))
    second = moves(lambda: site.close(item, task=2, user=JOE))
    site.close(item, 2, user=JANE)
    return first, second, moves(lambda: None)


@probe(43, [0, 2, 0])
def _(site):
    """Two items of one day of UTC, early and late, by the days on which they are found."""
    for time in (START - 12 * 3600, START + 8 * 3600):  # 02:13 and 22:13 of the 21st
        site.clock.at = time
        site.item()
    days = ("2026-09-20", "2026-09-21", "2026-09-22")
    return [site.get(f"/items?filter[updatedAt]={day}")["pagination"]["totalResults"] for day in days]


@probe(44, (400, 200))
def _(site):
    """The second use, and the successor after it."""
    first = site.authentication.grant("sandbox")["refresh_token"]
    second = site.renew(first).json()["refresh_token"]
    again = site.renew(first)
    assert again.status == 400 or again.json()["refresh_token"] == second
    return again.status, site.renew(second).status


@probe(45, b'{"title": "Not Found", "detail": "no such item"}')
def _(site):
    return site.call("GET", "/items/none").body


@probe(46, 20)
def _(site):
    return site.get(f"/items/{site.item()}/steps")["pagination"]["limit"]


@probe(47, (400, 400))
def _(site):
    return tuple(site.call("GET", f"/items?limit={limit}").status for limit in (0, 51))


@probe(48, (True, None))
def _(site):
    """Whether the first page has an address of the next, and what the last page has."""
    site.item(), site.item()
    first, last = (site.get(f"/items?limit=1&offset={offset}")["pagination"] for offset in (0, 1))
    return "nextUrl" in first, last.get("nextUrl", "absent")


@probe(49, ("in-progress", None, 403))
def _(site):
    item = site.item([JANE, ASIDE], [JANE])
    site.close(item, user=JANE)
    left = site.get(site.ref(item, 1, 2), user=JOE)
    return left["status"], left["responseId"], site.close(item, 1, 2, user=JOE).status


@probe(50, "in-progress")
def _(site):
    item = site.item([ASIDE, ASIDE], [JANE])
    site.close(item, user=JOE)
    return site.steps(item)[0]["status"]


@probe(51, ("rev", "in-progress"))
def _(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE, reply="rejected")
    site.clock.pass_(1)
    return site.state(item), site.steps(item)[1]["status"]


@probe(52, 200)
def _(site):
    return site.close(site.item([JANE])).status


@probe(53, (404, 403, 403))
def _(site):
    site.project.join({"id": JOE, "roles": []})
    draft = site.item(state="draft")
    other = f"/autodesk/construction/submittals/v2/projects/{'0' * 8}-0000-4000-8000-{'0' * 12}/items"
    return (
        site.call("GET", f"/items/{draft}", user=JANE).status, site.call("GET", "/items", user=JOE).status, site.call("GET", other).status
    )  # fmt: skip


@probe(54, 403)
def _(site):
    token = site.form("token", grant_type="client_credentials", client_id="sandbox", client_secret="sandbox", scope="data:read").json()
    return site.call("GET", "/items", bearer=token["access_token"]).status


@probe(55, 400)
def _(site):
    return site.call("GET", f"/autodesk/construction/submittals/v2/projects/b.{site.project.id}/items").status


@probe(56, ("rev", "mgr-2"))
def _(site):
    item = site.item([JANE])
    site.close(item, user=JANE)
    site.clock.pass_(0.12)
    first = site.state(item)
    site.clock.pass_(0.02)
    return first, site.state(item)


@probe(57, "in-progress")
def _(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE)
    return site.steps(item)[1]["status"]


@probe(58, {3, 6, 7})
def _(site):
    digits = set()
    for n in range(7):
        digits.add(len(site.get(f"/items/{site.item()}")["createdAt"].partition(".")[2]) - 1)
        site.clock.at = START + (n + 1) * 0.000_25
    return digits


@probe(59, ["in-progress", "not-started"])
def _(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE)
    site.go(item, "mgr-1", **TO_MANAGER)
    site.go(item, "rev")
    return [step["status"] for step in site.steps(item)]


@probe(60, ["completed", "in-progress"])
def _(site):
    item = site.item([JANE], [JOE])
    site.close(item, user=JANE)
    site.close(item, 2, user=JOE)
    site.clock.pass_(1)
    site.go(item, "rev", stepDueDate="2030-01-01")
    return [step["status"] for step in site.steps(item)]


@probe(61, 403)
def _(site):
    return site.go(site.item(), "mgr-2").status


@probe(62, (400, 400))
def _(site):
    item, dead = site.item([JANE], [JANE]), site.reply()
    site.project.reply(id=dead, isActive=False)
    site.project.reply(value="Fine")
    unknown = site.call("POST", f"{site.ref(item)}:close", {"responseId": "00000000-0000-4000-8000-000000000000"}, user=JANE)
    return unknown.status, site.call("POST", f"{site.ref(item)}:close", {"responseId": dead}, user=JANE).status


@probe(63, [200] * 600 + [429])
def _(site):
    bearer = site.bearer()
    return [site.call("GET", "/users/me", bearer=bearer).status for _ in range(601)]


@probe(64, (400, 400))
def _(site):
    return site.call("GET", "/items?filter[colour]=red").status, site.call("GET", "/items?sort=colour").status


@probe(65, ["developerMessage", "userMessage", "errorCode", "more info"])
def _(site):
    return [*site.renew("none").json()]


@probe(66, 200)
def _(site):
    given = site.authentication.grant("sandbox")
    site.renew(given["refresh_token"])
    return site.call("GET", "/users/me", bearer=given["access_token"]).status


@probe(67, (504, 1))
def _(site):
    item = site.item([JANE])
    upstream = Faulty(site.autodesk, Script(faults=[Fault("act", "slow", when="before", seconds=61)]), cutoff=CUTOFF)
    delivery = upstream(site.request("POST", f"{site.ref(item)}:close", {"responseId": site.reply()}))
    site.clock.pass_(61)
    upstream.advance()
    return delivery.response and delivery.response.status, len(site.project.journal)


def alternatives():
    return [
        pytest.param(row, value, id=f"{row.number} {row.switch}={value}")
        for row in ROWS
        for value in NUMBERS.get(row.switch or "", row.values)
        if value != getattr(Switches(), row.switch or "")
    ]


def test_every_assumption_is_looked_at():
    assert sorted(PROBES) == [row.number for row in ROWS]
    assert {param.values[0].number for param in alternatives()} == set(PROBES)


@pytest.mark.parametrize("number", PROBES)
def test_what_is_seen_by_default(number):
    seen, expected = PROBES[number]
    assert seen(Site()) == expected


@pytest.mark.parametrize(("row", "value"), alternatives())
def test_another_answer_is_seen(row, value):
    seen, expected = PROBES[row.number]
    assert seen(Site(**{row.switch: value})) != expected
