"""The servers that the other tests rest on."""

import os

import psycopg
import pytest
from kombu import Connection

from tests import servers
from tests.conftest import missed, or_skip


def query(url, sql):
    with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=5) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else None


def test_a_database_is_empty_and_of_this_tests_own(postgres_url):
    assert query(postgres_url, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]
    query(postgres_url, "create table t (i int)")


def test_a_database_is_gone_afterwards(postgres_server):
    with servers.database(postgres_server) as url:
        left_open = psycopg.connect(url.replace("+psycopg", ""))
    assert not servers.postgres_answers(url)
    left_open.close()


def test_a_broker_takes_and_gives(rabbitmq_url, namespace):
    with Connection(rabbitmq_url) as connection:
        queue = connection.SimpleQueue(f"{namespace}.x")
        queue.put({"a": 1})
        assert queue.get(timeout=5).payload == {"a": 1}
        queue.close()


@pytest.mark.system
@pytest.mark.slow
def test_a_private_postgres_keeps_its_data_when_it_is_killed_and_hangs_when_frozen():
    with or_skip("PostgreSQL's binaries", servers.PrivatePostgres) as server:
        query(server.url, "create table t (i int)")
        server.freeze()
        assert not servers.postgres_answers(server.url)
        server.thaw()
        server.kill()
        assert not servers.postgres_answers(server.url)
        server.start()
        assert query(server.url, "select * from t") == []
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not server.folder.exists()


class TestFinding:
    def test_what_is_named_must_answer(self, monkeypatch):
        monkeypatch.setenv("APPROVALS_TEST_POSTGRES", f"postgresql+psycopg://x@127.0.0.1:{servers.free_port()}/x")
        with pytest.raises(servers.Missing), servers.postgres():
            pass

    @pytest.mark.parametrize(("expected", "ci"), [("skipped", ""), ("failed", "true")])
    def test_a_missing_server_is_a_skip_at_a_desk_and_a_failure_in_ci(self, monkeypatch, expected, ci):
        monkeypatch.setenv("CI", ci)

        def none():
            raise servers.Missing("none here")

        outcome = {"skipped": pytest.skip.Exception, "failed": pytest.fail.Exception}[expected]
        with pytest.raises(outcome, match="none here"), or_skip("a server of a test", _Refusing(none)):
            pass
        assert missed.pop("a server of a test") == "none here"


class _Refusing:
    def __init__(self, refuse):
        self.refuse = refuse

    def __call__(self):
        return self

    def __enter__(self):
        self.refuse()

    def __exit__(self, *exc):
        pass
