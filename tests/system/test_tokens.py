"""Killed in the middle of a renewal, for real: the next process comes to a working grant, or to a degraded one that says so.

Every point of a renewal is tried in tests/flows/test_tokens.py, where a fake ends the process. Here it is SIGKILL, and PostgreSQL.
"""

import sys

import pytest
import sqlalchemy as sa

from tests import servers
from tests.system.house import JANE, TIMES, House, until
from worker import bootstrap
from worker.core.renewal import LEASE, Renewed
from worker.flows.tokens import store
from worker.sandbox.project import PROJECT
from worker.settings import load

pytestmark = pytest.mark.system

HOUR, DAY = 3600.0, 86_400.0
ACCOUNT = {"KIND": "autodesk", "PROJECT_ID": PROJECT, **TIMES, "GRANTS__JANE__CLIENT_ID": f"sandbox:{JANE}"}
ACCOUNT |= {"GRANTS__JANE__CLIENT_SECRET": "sandbox", "GRANTS__JANE__ACTS_AS": JANE}
LIST = ["task", "list", "--account", "tower"]
"""The cheapest process that needs a token."""

GATE = 4711
HELD = f"""
create function held() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock({GATE}); return new; end $$;
create trigger held before update of refresh on tokens for each row execute function held();
"""
"""New tokens are written when nobody holds the gate. Taking the lease writes none."""


@pytest.fixture(scope="module")
def tower(tmp_path_factory, sandbox, postgres_server):
    """A house of one account, whose grant has to be consented to."""
    settings = {f"ACCOUNTS__TOWER__{name}": value for name, value in {**ACCOUNT, "BASE_URL": sandbox.autodesk_url}.items()}
    settings["LEDGER__ENCRYPTION_KEYS"] = f'["{"k" * 32}"]'
    with (
        servers.database(postgres_server) as ledger,
        House(tmp_path_factory.mktemp("tower"), "", namespace="t", ledger=ledger, broker="memory://", more=settings) as house,
    ):
        with house.ledger.database.engine.begin() as c:
            c.execute(sa.text(HELD))
        yield house


@pytest.fixture
def asked(tower, sandbox):
    """Its grant has just been consented to, and its access token has ended; how often the upstream was asked for another one since."""
    given = sandbox.control("POST", "/autodesk/grants", {"client_id": f"sandbox:{JANE}", "user": JANE})
    rt = bootstrap.runtime(load(env=tower.env))
    store(rt, rt.accounts["tower"], "jane", Renewed(given["access_token"], given["expires_in"], given["refresh_token"], 15 * DAY))
    bootstrap.close(rt)
    lapse(tower, HOUR)
    before = requests(sandbox)
    return lambda: requests(sandbox) - before


def requests(sandbox):
    return sandbox.control("GET", "/stats")["requests"].get("autodesk.token", 0)


def lapse(house, seconds):
    """Time passes for the tokens."""
    columns = ("access_until", "refreshed_at", "refresh_until", "lease_until", "next_at")
    with house.ledger.database.engine.begin() as c:
        c.execute(sa.text("update tokens set " + ", ".join(f"{name} = {name} - {seconds}" for name in columns)))


def waits(connection):
    """Whether somebody stands before the gate."""
    mine = "database = (select oid from pg_database where datname = current_database())"
    return bool(connection.scalar(sa.text(f"select count(*) from pg_locks where locktype = 'advisory' and not granted and {mine}")))


def killed_before_its_answer(house, sandbox, when):
    """The request has left. *when*: whether before the upstream has renewed, or after it."""
    fault = sandbox.fault("autodesk.token", "stall", when=when)
    process = house.run("renews", [sys.executable, "-m", "worker", *LIST])
    until(lambda: any(f["id"] == fault and f["struck"] for f in sandbox.control("GET", "/faults")), 60, "the request")
    process.kill()


def killed_with_its_answer(house):
    """It has the new tokens in hand, and stands before the gate with them."""
    with house.ledger.database.engine.connect() as gate:
        gate.execute(sa.text(f"select pg_advisory_lock({GATE})"))
        process = house.run("renews", [sys.executable, "-m", "worker", *LIST])
        until(lambda: waits(gate), 60, "the answer to be in its hands")
        process.kill()
        gate.execute(sa.text(f"select pg_advisory_unlock({GATE})"))


@pytest.mark.parametrize(
    ("point", "way", "works"),
    [
        ("sent", "dead", True),
        ("renewed", "dead", False),
        ("answered", "dead", False),
        ("answered", "grace", True),
    ],
)
def test_a_process_killed_in_a_renewal_leaves_a_grant_that_works_or_says_why_not(tower, sandbox, asked, point, way, works):
    """*way*: what the upstream does with a refresh token that comes a second time (44)."""
    sandbox.assume(lost_refresh=way)
    if point == "answered":
        killed_with_its_answer(tower)
    else:
        killed_before_its_answer(tower, sandbox, {"sent": "before", "renewed": "after"}[point])
    [left] = tower.ledger.tokens.all()
    assert (left.state, left.tries, left.holder is None, asked()) == ("good", 1, False, 1), "the doubt is left behind by itself"
    lapse(tower, LEASE)
    next_one = tower.approvals(*LIST)
    [kept] = tower.ledger.tokens.all()
    assert asked() == 2
    if works:
        assert (next_one.returncode, kept.state, kept.generation) == (0, "good", left.generation + 1), next_one.stderr
        return
    assert (kept.state, kept.generation, next_one.returncode == 0) == ("degraded", left.generation, False)
    assert "The answer to an earlier renewal was lost" in kept.detail
    assert "approvals login --account tower --as jane" in next_one.stderr
    assert [event["type"] for _, event in tower.ledger.queries.events()][-1] == "account.degraded"
