"""Tokens in the ledger: sealed, one row for all, a lease for whoever renews, events with the state they tell of."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from worker.core.outcomes import Fact
from worker.core.renewal import LEASE, STALE, Dead, Denied, Lost, Renewed
from worker.errors import SettingsError
from worker.ledger import Ledger, tables
from worker.ledger.seal import Seal
from worker.ledger.tokens import Found, Party, Taken

OLD, NEW = "o" * 32, "n" * 32
HOUR, DAY = 3600.0, 86_400.0
FIRST = Renewed("access-1", HOUR, "refresh-1", 15 * DAY)
SECOND = Renewed("access-2", HOUR, "refresh-2", 15 * DAY)
PARTIES = [Party("autodesk", account, "jane", f"autodesk:host/{account}") for account in ("tower", "bridge")]
WHY = Fact("token", 400, "invalid_grant")


@pytest.fixture
def with_keys(url, clock):
    """The same ledger, as a process with these keys has it."""
    made = []

    def opened(*keys):
        made.append(Ledger(url, sinks=("erp",), clock=clock, keys=keys))
        return made[-1].tokens

    yield opened
    for each in made:
        each.close()


@pytest.fixture
def tokens(with_keys):
    return with_keys(NEW)


@pytest.fixture
def expired(tokens, clock):
    """A consent whose access token has just ended."""
    tokens.store("n", FIRST, PARTIES)
    clock.pass_(HOUR)
    return tokens


def told(tokens):
    with tokens._db.read() as c:
        return [tuple(row) for row in c.execute(sa.select(tables.events.c.type, tables.events.c.source).order_by(tables.events.c.position))]


def raw(tokens):
    with tokens._db.read() as c:
        return str(c.execute(sa.select(tables.tokens)).all())


class TestRenewing:
    def test_what_is_stored_is_found(self, tokens, clock):
        assert tokens.find("n") is None
        tokens.store("n", FIRST, PARTIES)
        found = tokens.find("n")
        assert (found.access, found.kept.generation, found.kept.access_until) == ("access-1", 1, clock() + HOUR)

    def test_one_of_many_takes_the_lease(self, expired, with_keys):
        others = [with_keys(NEW) for _ in range(10)]
        with ThreadPoolExecutor(10) as pool:
            got = list(pool.map(lambda each: each.begin("n"), others))
        assert [type(g) for g in got].count(Taken) == 1
        assert {g.kept.holder for g in got} == {next(g.kept.holder for g in got if isinstance(g, Taken))}

    def test_a_renewal_is_safe_to_repeat(self, expired):
        taken = expired.begin("n")
        assert taken.refresh == "refresh-1"
        for _ in range(2):
            found = expired.settle(taken, SECOND, PARTIES, 0.0).found
            assert (found.access, found.kept.generation, found.kept.holder) == ("access-2", 2, None)
        assert isinstance(expired.begin("n"), Found)

    def test_a_holder_that_is_gone_is_followed_with_the_same_refresh_token(self, expired, clock):
        first = expired.begin("n")
        clock.pass_(LEASE)
        second = expired.begin("n")
        assert (second.refresh, second.kept.tries) == (first.refresh, 2)
        assert expired.settle(first, Dead(WHY), PARTIES, 0.0).found.kept.state == "good", "the second one may yet bring new ones"
        assert expired.settle(first, SECOND, PARTIES, 0.0).found.access == "access-2"
        assert expired.settle(second, Dead(WHY), PARTIES, 0.0).found.access == "access-2"
        assert told(expired) == []

    def test_a_consent_during_a_renewal_stands(self, expired):
        taken = expired.begin("n")
        expired.store("n", SECOND, PARTIES)
        assert expired.settle(taken, Renewed("late", HOUR, "late", DAY), PARTIES, 0.0).found.access == "access-2"

    def test_a_lost_answer_leaves_the_old_token(self, expired, clock):
        expired.settle(expired.begin("n"), Lost(WHY), PARTIES, 0.0)
        assert isinstance(expired.begin("n"), Found)
        clock.pass_(LEASE)
        assert expired.begin("n").refresh == "refresh-1"


class TestTelling:
    def test_all_who_share_it_are_told_once_and_of_the_end(self, expired):
        degraded = expired.settle(expired.begin("n"), Dead(WHY), PARTIES, 0.0)
        assert [e.type for e in degraded.events] == ["account.degraded"] * 2
        assert degraded.events[0].data["todo"] == "approvals login --account tower --as jane"
        assert isinstance(expired.begin("n"), Found), "nothing but a consent helps"
        expired.store("n", SECOND, PARTIES)
        both = ["/autodesk/tower", "/autodesk/bridge"]
        assert told(expired) == [*(("account.degraded", s) for s in both), *(("account.recovered", s) for s in both)]

    def test_a_client_that_stays_refused_is_told_once(self, expired, clock):
        for _ in range(3):
            expired.settle(expired.begin("n"), Denied(WHY), PARTIES[:1], 0.0)
            clock.pass_(HOUR)
        assert told(expired) == [("account.degraded", "/autodesk/tower")]

    def test_the_next_episode_is_another_event(self, expired, clock):
        for _ in range(2):
            expired.settle(expired.begin("n"), Dead(WHY), PARTIES[:1], 0.0)
            expired.store("n", SECOND, PARTIES[:1])
            clock.pass_(HOUR)
        assert [type_ for type_, _ in told(expired)] == ["account.degraded", "account.recovered"] * 2


class TestDue:
    def test_what_nobody_has_needed_for_days(self, tokens, clock):
        tokens.store("n", FIRST, PARTIES)
        clock.pass_(STALE - 1)
        assert tokens.due() == []
        clock.pass_(1)
        assert tokens.due() == ["n"]
        assert isinstance(tokens.begin("n", idle=True), Taken)
        assert tokens.due() == [], "it is being renewed"

    def test_the_tick_rings_for_it(self, url, tokens, clock):
        tokens.store("n", FIRST, PARTIES)
        clock.pass_(STALE)
        ledger = Ledger(url, clock=clock)
        assert ledger.queries.due() == [("renew", "")]
        ledger.close()

    def test_a_refused_client_is_tried_again_and_a_dead_token_is_not(self, expired, clock):
        expired.settle(expired.begin("n"), Denied(WHY), PARTIES, 0.0)
        clock.pass_(HOUR)
        assert expired.due() == ["n"]
        expired.settle(expired.begin("n"), Dead(WHY), PARTIES, 0.0)
        clock.pass_(30 * DAY)
        assert expired.due() == []

    def test_what_nobody_uses_is_let_be(self, tokens, clock):
        tokens.store("n", FIRST, PARTIES)
        clock.pass_(STALE)
        tokens.postpone(["n"], DAY)
        assert tokens.due() == []
        clock.pass_(DAY)
        assert tokens.due() == ["n"]


class TestAtRest:
    def test_no_token_lies_open(self, expired):
        taken = expired.begin("n")
        everything = raw(expired) + repr(taken) + repr(expired.find("n")) + repr(expired.all()) + repr(expired._seal)
        assert [word for word in ("access-1", "refresh-1", NEW) if word in everything] == []

    def test_a_key_can_be_changed_while_everything_runs(self, with_keys, clock):
        with_keys(OLD).store("n", FIRST, PARTIES)
        both = with_keys(NEW, OLD)
        assert both.find("n").access == "access-1"
        clock.pass_(HOUR)
        both.settle(both.begin("n"), SECOND, PARTIES, 0.0)
        assert with_keys(NEW).find("n").access == "access-2", "a renewal seals with the newest"

    def test_a_wrong_key_is_told_by_its_setting_and_nothing_is_taken(self, expired, with_keys):
        other = with_keys("x" * 32)
        for ask in (other.find, other.begin):
            with pytest.raises(SettingsError, match=r"ledger\.encryption_keys does not hold the key"):
                ask("n")
        assert expired.find("n").kept.holder is None

    def test_a_token_does_not_open_in_anothers_row(self, tokens):
        tokens.store("jane", FIRST, PARTIES)
        tokens.store("bob", SECOND, PARTIES)
        t = tables.tokens
        tokens._db.write(lambda c: c.execute(sa.update(t).values(access=sa.select(t.c.access).where(t.c.name == "bob").scalar_subquery())))
        assert tokens.find("bob").access == "access-2"
        with pytest.raises(SettingsError, match="cannot be opened"):
            tokens.find("jane")

    def test_without_a_key_nothing_is_stored(self, migrated_database):
        """PostgreSQL: several hosts share no key file."""
        keyless = Ledger(migrated_database)
        with pytest.raises(SettingsError, match="a key is needed"):
            keyless.tokens.store("keyless", FIRST, PARTIES)
        assert keyless.tokens.find("keyless") is None
        keyless.close()

    def test_a_short_key_is_refused(self, with_keys):
        with pytest.raises(SettingsError, match="at least 32 characters"):
            with_keys("short").store("n", FIRST, PARTIES)


class TestKeyFile:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "approvals.db.key"

    def test_it_lies_beside_the_database_for_its_owner_only(self, tmp_path):
        ledger = Ledger(f"sqlite:///{tmp_path}/approvals.db")
        ledger.migrate()
        file = tmp_path / "approvals.db.key"
        assert not file.exists(), "who has no such grant needs none"
        ledger.tokens.store("n", FIRST, PARTIES)
        assert (file.stat().st_mode & 0o777, file.stat().st_size) == (0o600, 32)
        ledger.close()

    def test_all_processes_read_the_same(self, file):
        code = (
            "import sys; from pathlib import Path; from worker.ledger.seal import Seal; print(Seal((), Path(sys.argv[1])).close('n', 'x'))"
        )
        running = [subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
        sealed = [p.communicate(timeout=60)[0].strip() for p in running]
        assert [Seal((), file).open("n", each) for each in sealed] == ["x"] * 4
        assert [p.name for p in file.parent.iterdir()] == [file.name]

    def test_one_that_others_can_read_is_refused(self, file):
        Seal((), file).close("n", "x")
        file.chmod(0o640)
        with pytest.raises(SettingsError, match="chmod 600"):
            Seal((), file).close("n", "x")

    def test_a_missing_one_is_not_made_anew_for_what_it_should_open(self, file):
        sealed = Seal((), file).close("n", "x")
        file.unlink()
        with pytest.raises(SettingsError, match="is missing: bring it back"):
            Seal((), file).open("n", sealed)
        assert not file.exists()

    def test_a_place_that_cannot_be_written_is_told(self, tmp_path):
        with pytest.raises(SettingsError, match=r"cannot be used: No such file or directory"):
            Seal((), tmp_path / "nowhere" / "key").close("n", "x")
