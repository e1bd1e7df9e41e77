"""Renewal with several processes at one upstream: one refresh for all, and a kill at every point of it."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Self

import httpx
import pytest
from structlog.testing import capture_logs

from tests.flows.house import RULES
from tests.ledger.make import Clock, new
from worker.core.outcomes import Fact
from worker.core.renewal import AFRESH, LEASE, MENDED, STALE, Renewed
from worker.engine import Engine, Errand
from worker.errors import LedgerDown
from worker.flows import Account, Runtime, tokens
from worker.flows.submit import submit
from worker.ledger import Ledger
from worker.sandbox.control import Sandbox
from worker.sandbox.server import RunningSandbox, running_sandbox
from worker.upstreams.auth import Grant, RefreshToken
from worker.upstreams.vault import Stored, Vault
from worker.upstreams.workiva import ACTIONS, Workiva

KEY = "k" * 32
HOUR, DAY = 3600.0, 86_400.0
USERS = ("jane", "bob")
TLS = httpx.create_ssl_context()


@dataclass(frozen=True)
class Tower(Workiva):
    """A connector whose grants have consented."""

    tokens_url: str = ""
    secret: str = "sandbox"
    vault: Vault = field(default_factory=lambda: Vault(Clock()))

    def credentials(self, grant: str) -> Any:
        return self.renewal(grant).credentials

    def renewal(self, grant: str) -> RefreshToken:
        return RefreshToken(self.tokens_url, f"sandbox:{grant}", self.secret, grant, self.vault)


@dataclass
class Site:
    """An upstream and a ledger, and the processes that work with them. All clocks are one, and stand."""

    sandbox: RunningSandbox
    url: str
    clock: Clock
    processes: list = field(default_factory=list)
    alarms: list = field(default_factory=list)

    def process(self, ledger=None, engine=None, **more) -> Runtime:
        """Another process: connections, an engine and a vault of its own. *ledger*, *engine*: what stands before them."""
        vault = Vault(self.clock)
        base = self.sandbox.autodesk_url
        clients = {user: Grant(f"sandbox:{user}", "sandbox") for user in USERS}
        connector = Tower(self.sandbox.workiva_url, grants=clients, tokens_url=f"{base}/authentication/v2/token", vault=vault)
        account = Account("tower", "autodesk", connector, RULES, {u: u for u in USERS}, 7 * DAY, ACTIONS)
        made = Ledger(self.url, sinks=("erp",), clock=self.clock, keys=[KEY]), Engine(clock=self.clock, verify=TLS)
        self.processes.append(made)
        rt = Runtime(
            ledger=ledger(made[0]) if ledger else made[0],
            engine=engine(made[1]) if engine else made[1],
            accounts={"tower": account},
            sinks={},
            alarm=self.alarms.append,
            dice=lambda: 0.5,
            vault=vault,
            **more,
        )
        rt.turn = 10.0
        return rt

    def consent(self, rt, user="jane"):
        """As after `approvals login`."""
        given = self.sandbox.control("POST", "/autodesk/grants", {"client_id": f"sandbox:{user}"})
        answer = Renewed(given["access_token"], given["expires_in"], given["refresh_token"], 15 * DAY)
        return tokens.store(rt, rt.accounts["tower"], user, answer)

    def renewed(self, user="jane"):
        """How often the upstream has renewed this consent."""
        grants = self.sandbox.control("GET", "/autodesk/grants")
        return sum(g["renewed"] for g in grants if g["user"] == user)

    def asked(self):
        """How often the token endpoint was asked."""
        return self.sandbox.control("GET", "/stats")["requests"].get("autodesk.token", 0)

    def told(self):
        [(ledger, _), *_] = self.processes
        return [body["type"] for _, body in ledger.queries.events()]

    def kept(self, user="jane"):
        [(ledger, _), *_] = self.processes
        [row] = [k for k in ledger.tokens.all() if k.name.endswith(f"#{user}")]
        return row

    def state(self, user="jane"):
        """What the ledger says of the grant, and whether it says why."""
        kept = self.kept(user)
        return kept.state if kept.state == "good" else f"degraded: {kept.detail}"


def ready(rt, *users):
    tokens.ready(rt, rt.accounts["tower"], users or ("jane",))


def me(rt, user="jane"):
    """Who the upstream takes the grant's token for: an id, a status, or why there was no token."""
    address = f"{rt.accounts['tower'].connector.tokens_url.partition('/authentication')[0]}"
    project = "9eae7d59-1469-4389-bfb2-4114e2ba5545"

    def flow():
        answer = yield httpx.Request("GET", f"{address}/construction/submittals/v2/projects/{project}/users/me")
        return answer.json()["id"] if answer.status_code == 200 else answer.status_code

    with rt.engine.bag() as bag:
        bag.put(None, Errand(flow(), rt.accounts["tower"].connector.credentials(user), 10.0, lost=Fact.__str__, unsent=Fact.__str__))
        return bag.take()[0][1]


@pytest.fixture(params=["sqlite"])
def database(request, tmp_path, migrated):
    if request.param == "sqlite":
        shutil.copy(migrated, tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path}/ledger.db"
    url = request.getfixturevalue("postgres_url")
    made = Ledger(url)
    made.migrate()
    made.close()
    return url


on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def site(database):
    clock = Clock()
    with running_sandbox(sandbox=Sandbox(clock=clock)) as sandbox:
        for user in USERS:
            sandbox.control("POST", "/autodesk/people", {"id": user, "roles": ["2"]})
        made = Site(sandbox, database, clock)
        yield made
        for ledger, engine in made.processes:
            engine.close()
            ledger.close()


@pytest.fixture
def rt(site):
    """A process whose grant has consented, and whose access token has just ended."""
    made = site.process()
    site.consent(made)
    site.clock.pass_(HOUR)
    return made


class TestInQuietTimes:
    def test_a_consent_works_in_every_process(self, site, rt):
        fresh = site.process()
        ready(fresh)
        assert (me(fresh), site.renewed()) == ("jane", 1)

    def test_while_the_token_is_good_nobody_is_asked(self, site):
        rt = site.process()
        site.consent(rt)
        for _ in range(3):
            ready(rt)
            assert me(rt) == "jane"
        assert site.asked() == 0

    def test_it_is_renewed_ten_minutes_before_its_end(self, site):
        rt = site.process()
        site.consent(rt)
        site.clock.pass_(HOUR - 602)
        ready(rt)
        assert site.renewed() == 0
        site.clock.pass_(1)
        ready(rt)
        assert (site.renewed(), me(rt)) == (1, "jane")

    def test_others_go_on_with_the_old_one_meanwhile(self, site):
        rt, other = site.process(), site.process()
        site.consent(rt)
        ready(other)
        site.clock.pass_(HOUR - 300)
        rt.ledger.tokens.begin(site.kept().name)
        ready(other)
        assert (me(other), site.asked()) == ("jane", 0)

    def test_without_a_consent_it_says_what_to_do(self, site):
        rt = site.process()
        ready(rt)
        assert "approvals login --account tower --as jane" in me(rt)

    def test_each_grant_has_its_own(self, site, rt):
        site.consent(rt, "bob")
        ready(rt, "jane", "bob")
        assert [me(rt, user) for user in ("bob", "jane")] == ["bob", "jane"]

    def test_a_token_that_the_renewal_ended_is_replaced(self, site):
        """Assumption 66: then others hold a token that is refused, and look again."""
        rt, other = site.process(), site.process()
        site.consent(rt)
        ready(other)
        site.sandbox.assume(refresh_ends="ends")
        site.clock.pass_(HOUR - 300)
        ready(rt)
        assert me(other) == 401
        ready(other)
        assert (me(other), site.renewed()) == ("jane", 1)

    def test_a_token_that_is_refused_is_renewed_by_force_and_at_most_once_a_minute(self, site):
        rt = site.process()
        site.consent(rt)
        site.clock.pass_(AFRESH)
        for expected in (1, 1):
            site.sandbox.control("POST", "/tokens", {"expire": True})
            assert me(rt) == 401
            ready(rt)
            assert site.renewed() == expected
        assert me(rt) == "token 401 a fresh token was refused"
        site.clock.pass_(AFRESH)
        ready(rt)
        assert (me(rt), site.renewed()) == ("jane", 2)


class TestManyAtOnce:
    @on_both
    def test_ten_processes_at_one_instant_refresh_once(self, site, rt):
        several = [site.process() for _ in range(10)]
        gate = threading.Barrier(10)

        def work(each):
            gate.wait()
            ready(each)
            return me(each)

        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(work, several)) == ["jane"] * 10
        assert (site.renewed(), site.asked(), site.kept().generation) == (1, 1, 2)

    @on_both
    def test_ten_threads_of_one_process_refresh_once(self, site, rt):
        gate = threading.Barrier(10)

        def work(_):
            gate.wait()
            ready(rt)
            return me(rt)

        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(work, range(10))) == ["jane"] * 10
        assert site.asked() == 1


class Killed(BaseException):
    """The process is gone."""


class Before:
    """What stands before the ledger's tokens, or before an engine's bag: *hooks* are called around its verbs."""

    def __init__(self, real: Any, **hooks: Any) -> None:
        self._real, self._hooks = real, hooks

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        before, after = self._hooks.get(f"before_{name}"), self._hooks.get(f"after_{name}")

        def call(*args: Any, **more: Any) -> Any:
            if before:
                before()
            out = real(*args, **more)
            if after:
                after()
            return out

        return call if before or after else real

    def __enter__(self) -> Self:
        self._real.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._real.__exit__(*exc)


def hooked(site: Site, ledger=None, engine=None, **more) -> Runtime:
    """A process with hooks around the verbs of its ledger's tokens, and of its engine's bags."""

    def with_ledger(real):
        return SimpleNamespace(tokens=Before(real.tokens, **(ledger or {})))

    def with_engine(real):
        return SimpleNamespace(clock=real.clock, bag=lambda: Before(real.bag(), **(engine or {})))

    return site.process(ledger=with_ledger, engine=with_engine, **more)


def die():
    raise Killed


def doomed(site, point):
    """A process that is killed at *point* of its renewal."""
    match point:
        case "before T1":
            return hooked(site, ledger={"before_begin": die})
        case "after T1":
            return hooked(site, ledger={"after_begin": die})
        case "before the request leaves":
            return hooked(site, engine={"before_put": die})
        case "after the effect, before the answer":
            site.sandbox.fault("autodesk.token", "stall", when="after")

            def when_it_took_effect():
                while not site.renewed():
                    pass
                raise Killed

            return hooked(site, engine={"before_take": when_it_took_effect})
        case "after the answer, before T2":
            return hooked(site, ledger={"before_settle": die})
        case "after T2":
            return hooked(site, ledger={"after_settle": die})
    raise AssertionError(point)


UNHARMED = ("before T1", "after T1", "before the request leaves", "after T2")
USED = ("after the effect, before the answer", "after the answer, before T2")
LOST = "The answer to an earlier renewal was lost, and the new refresh token with it"


class TestKills:
    def killed(self, site, point, way):
        site.sandbox.assume(lost_refresh=way)
        rt = doomed(site, point)
        with pytest.raises(Killed):
            ready(rt)
        site.sandbox.control("DELETE", "/faults")
        site.clock.pass_(LEASE)
        after = site.process()
        ready(after)
        return after

    @pytest.mark.parametrize("way", ["dead", "grace", "family"])
    @pytest.mark.parametrize("point", UNHARMED)
    def test_what_was_not_used_or_is_stored_works(self, site, rt, point, way):
        after = self.killed(site, point, way)
        assert (me(after), site.state(), site.renewed(), site.told()) == ("jane", "good", 1, [])

    @pytest.mark.parametrize("point", USED)
    def test_what_the_upstream_answers_again_works(self, site, rt, point):
        after = self.killed(site, point, "grace")
        assert (me(after), site.state(), site.kept().generation, site.told()) == ("jane", "good", 2, [])

    @pytest.mark.parametrize("way", ["dead", "family"])
    @pytest.mark.parametrize("point", USED)
    def test_what_is_lost_is_degraded_and_says_so(self, site, rt, point, way):
        after = self.killed(site, point, way)
        assert LOST in site.state()
        assert "approvals login --account tower --as jane" in me(after)
        assert (site.told(), [e.type for e in site.alarms]) == (["account.degraded"], ["account.degraded"])
        asked = site.asked()
        site.clock.pass_(DAY)
        for each in (after, site.process()):
            ready(each)
            tokens.renew(each)
        assert site.asked() == asked, "nothing but a consent helps, so nobody is asked"
        site.consent(after)
        ready(after)
        assert (me(after), site.state(), site.told()) == ("jane", "good", ["account.degraded", "account.recovered"])

    @pytest.mark.parametrize("way", ["dead", "grace", "family"])
    def test_until_the_lease_is_over_nobody_else_uses_the_token(self, site, rt, way):
        site.sandbox.assume(lost_refresh=way)
        with pytest.raises(Killed):
            ready(doomed(site, USED[1]))
        site.clock.pass_(LEASE - 1)
        other = site.process()
        other.turn = 0.0
        ready(other)
        assert (site.asked(), me(other)) == (1, "token it is being renewed")


class TestSlowHolders:
    def test_one_that_was_stopped_before_its_request_sends_nothing_late(self, site, rt):
        other = site.process()

        def stopped():
            site.clock.pass_(LEASE)
            ready(other)

        slow = hooked(site, engine={"before_put": stopped})
        ready(slow)
        assert (site.asked(), site.kept().generation, me(other)) == (1, 2, "jane")
        ready(slow)
        assert site.asked() == 1

    @pytest.mark.parametrize(
        ("told", "way"),
        [([], "grace"), (["account.degraded", "account.recovered"], "dead"), (["account.degraded", "account.recovered"], "family")],
    )
    def test_one_that_was_stopped_with_the_answer_in_hand_still_stores_it(self, site, rt, way, told):
        """Another has tried the old token meanwhile, and was told no: the new one is in the slow one's hands."""
        site.sandbox.assume(lost_refresh=way)
        other = site.process()

        def stopped():
            site.clock.pass_(LEASE)
            ready(other)

        ready(hooked(site, ledger={"before_settle": stopped}))
        assert (site.told(), site.kept().state, site.kept().generation) == (told, "good", 2)
        ready(other)
        if way != "family":
            assert me(other) == "jane"
            return
        assert me(other) == 401, "the second use has ended the successor, too"
        site.clock.pass_(AFRESH)
        ready(other)
        assert site.state().startswith("degraded: the refresh token is not taken any more")
        assert site.told() == ["account.degraded", "account.recovered", "account.degraded"]

    def test_a_new_token_is_durable_before_anybody_sees_it(self, site, rt):
        seen: list[Any] = []

        def away():
            seen.append(slow.vault.token(site.kept().name))
            if len(seen) < 3:
                raise LedgerDown("away")

        slow = hooked(site, ledger={"before_settle": away}, stopping=Hasty())
        ready(slow)
        assert [type(each) for each in seen] == [Fact] * 3
        assert (site.asked(), slow.vault.fresh(site.kept().name), site.kept().generation) == (1, True, 2)


class Hasty(threading.Event):
    """Nobody stops, and waits are over at once."""

    def wait(self, timeout=None):
        return False


class TestTroubleUpstream:
    @pytest.mark.parametrize("how", [{"what": "refuse"}, {"what": "throttle", "retry_after": 7}])
    def test_what_is_proven_unused_is_tried_again_and_leaves_no_doubt(self, site, rt, how):
        site.sandbox.fault("autodesk.token", **how)
        ready(rt)
        assert (site.state(), site.kept().tries, site.kept().holder) == ("good", 0, None)

    def test_as_late_as_the_upstream_asks(self, site, rt):
        site.sandbox.fault("autodesk.token", "throttle", retry_after=7)
        ready(rt)
        site.clock.pass_(7)
        ready(rt)
        assert site.asked() == 1
        site.clock.pass_(1)
        ready(rt)
        assert (site.asked(), me(rt)) == (2, "jane")

    @pytest.mark.parametrize(
        "how",
        [
            {"what": "reset", "when": "before"},
            {"what": "status", "status": 503},
            {"what": "status", "status": 408},
            {"what": "status", "status": 302, "location": "http://127.0.0.1:9/"},
        ],
    )
    def test_what_is_not_known_is_tried_once_more_after_the_lease(self, site, rt, how):
        site.sandbox.fault("autodesk.token", **how)
        ready(rt)
        assert (site.state(), site.kept().tries) == ("good", 1)
        ready(rt)
        assert site.asked() == 1
        site.clock.pass_(LEASE)
        ready(rt)
        assert (site.asked(), me(rt), site.told()) == (2, "jane", [])

    @pytest.mark.parametrize("what", ["malformed", "half_body", "half_head", "garbage", "bad_gzip", "close"])
    @pytest.mark.parametrize("shape", ["gateway", "oauth"])
    def test_an_answer_that_cannot_be_read_is_a_lost_one(self, site, rt, what, shape):
        site.sandbox.assume(token_error=shape)
        site.sandbox.fault("autodesk.token", what, **({"when": "after"} if what == "close" else {}))
        ready(rt)
        assert (site.state(), site.renewed()) == ("good", 1)
        site.clock.pass_(LEASE)
        ready(rt)
        assert LOST in site.state()

    @pytest.mark.parametrize("shape", ["gateway", "oauth"])
    def test_a_refused_client_is_told_and_works_when_it_is_mended(self, site, rt, shape):
        site.sandbox.assume(token_error=shape)
        account = rt.accounts["tower"]
        assert isinstance(account.connector, Tower)
        rt.accounts = {"tower": replace(account, connector=replace(account.connector, secret="wr0ng-s3cret"))}
        ready(rt)
        assert site.state().startswith("degraded: the client is refused: token 401")
        rt.accounts = {"tower": account}
        site.clock.pass_(MENDED - 1)
        tokens.renew(rt)
        assert site.asked() == 1
        site.clock.pass_(1)
        tokens.renew(rt)
        assert (me(rt), site.told()) == ("jane", ["account.degraded", "account.recovered"])

    def test_a_withdrawn_consent_is_told(self, site, rt):
        site.sandbox.control("POST", "/autodesk/tokens", {"forget": True})
        ready(rt)
        assert "It was used elsewhere, or the consent was withdrawn" in site.state()


class TestWhoLooks:
    """The first by name whose consent stands, and after it the others."""

    def order(self, rt):
        return tokens.readers(rt, rt.accounts["tower"])

    def test_one_that_is_degraded_comes_last(self, site, rt):
        site.consent(rt, "bob")
        assert self.order(rt) == ("bob", "jane")
        site.clock.pass_(HOUR)
        site.sandbox.control("POST", "/autodesk/tokens", {"forget": True})
        site.consent(rt, "jane")
        assert (self.order(rt), site.state("bob")[:8]) == (("jane", "bob"), "degraded")
        site.consent(rt, "bob")
        assert self.order(rt) == ("bob", "jane")

    def test_one_whose_renewal_has_failed_once_is_waited_for(self, site, rt):
        """So that what is seen does not change with each disturbance."""
        site.consent(rt, "bob")
        site.clock.pass_(HOUR)
        site.sandbox.fault("autodesk.token", "status", status=503)
        assert (self.order(rt), site.state("bob")) == (("bob", "jane"), "good")

    def test_one_that_has_not_consented_is_passed_over(self, site, rt):
        assert (self.order(rt), site.asked()) == (("jane", "bob"), 1)
        assert (self.order(rt), site.asked()) == (("jane", "bob"), 1)

    def test_where_none_has_a_token_the_first_says_why(self, site):
        rt = site.process()
        assert self.order(rt) == ("bob", "jane")


class TestSilence:
    def test_fifteen_days_of_silence_never_come(self, site, rt):
        """The tick alone, for two months."""
        for _ in range(20):
            site.clock.pass_(STALE)
            assert rt.ledger.queries.due() == [("renew", "")]
            tokens.renew(rt)
            assert rt.ledger.queries.due() == []
        site.clock.pass_(STALE - 1)
        ready(rt)
        assert (me(rt), site.told()) == ("jane", [])

    def test_tokens_that_no_grant_uses_are_let_be(self, site, rt):
        site.clock.pass_(STALE)
        account = rt.accounts["tower"]
        rt.accounts = {}
        tokens.renew(rt)
        assert (site.asked(), rt.ledger.queries.due()) == (0, [])
        rt.accounts = {"tower": account}

    def test_a_grant_that_comes_back_into_the_settings_works_again(self, site, rt):
        """Left out of a deployment, and put back at once. Without: nobody renews its tokens for a day, and nobody says so."""
        site.clock.pass_(STALE)
        account = rt.accounts["tower"]
        rt.accounts = {}
        tokens.renew(rt)
        rt.accounts = {"tower": account}
        ready(rt)
        assert (me(rt), site.told()) == ("jane", [])


class TestSubmissions:
    def test_they_wait_without_an_attempt_and_say_why(self, site, rt):
        site.sandbox.control("POST", "/autodesk/tokens", {"forget": True})
        rt.ledger.submissions.accept([new(account="tower")])
        submit(rt, "tower")
        [found] = rt.ledger.queries.find("k1")
        assert (found.state, rt.ledger.queries.attempts(found.id)) == ("pending", [])
        assert "approvals login --account tower --as jane" in str(found.reason)
        assert found.next_at is not None
        assert found.next_at >= site.clock() + tokens.LATER


class TestSecrets:
    def test_no_token_and_no_secret_shows_anywhere(self, site, capsys):
        """Logs, events, what is told to people, values' representations, and the database."""
        rt = site.process()
        with capture_logs() as logs:
            for way in ("status", "malformed"):
                site.consent(rt)
                site.clock.pass_(HOUR)
                site.sandbox.fault("autodesk.token", way, **({"status": 500, "when": "after"} if way == "status" else {}))
                ready(rt)
                site.clock.pass_(LEASE)
                ready(rt)
        assert site.told().count("account.degraded") == 2
        given = [g["refresh_token"] for g in site.sandbox.control("GET", "/autodesk/grants") if g["refresh_token"]]
        everything = [logs, site.alarms, rt.ledger.queries.events(), rt.ledger.tokens.all(), rt.accounts, rt.vault, rt]
        shown = "".join(map(repr, everything)) + "".join(capsys.readouterr())
        assert [word for word in (*given, "sandbox-access", "sandbox-refresh", KEY) if word in shown] == []

    def test_an_endpoint_that_echoes_is_blotted(self):
        renewal = RefreshToken("http://x/token", "me", "s3cr3t-of-me", "jane", Vault(Clock()))
        flow = renewal.ask("refresh-1234567890")
        next(flow)
        with pytest.raises(StopIteration) as end:
            flow.send(httpx.Response(400, text="x" * 285 + " refresh-1234567890 s3cr3t-of-me"))
        assert "refresh-12" not in repr(end.value.value)
        assert "s3cr3t" not in repr((end.value.value, renewal, renewal.credentials))

    def test_what_is_held_shows_no_token(self):
        vault = Vault(Clock())
        vault.keep("n", 1, "acc3ss", HOUR, HOUR)
        assert "acc3ss" not in f"{vault!r} {vault._held!r} {Stored('n', vault)!r} {vault.token('n')!r}"
