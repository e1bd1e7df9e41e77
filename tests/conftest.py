"""Fixtures for all: real servers, empty databases, names that meet no other test's."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests import servers
from worker.broker.amqp import KombuLink
from worker.upstreams.workiva import VERSIONS

missed: dict[str, str] = {}


@contextmanager
def or_skip(name, server):
    """Skip at a desk, fail in CI: a silent skip would let a release out that never met a real server."""
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(server())
        except servers.Missing as missing:
            missed[name] = str(missing)
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                pytest.fail(f"no {name}: {missing}", pytrace=False)
            pytest.skip(f"no {name}: {missing}")
        yield entered


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL where databases may be created."""
    with or_skip("PostgreSQL", servers.postgres) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server) -> Iterator[str]:
    """The address of an empty database of this test's own."""
    with servers.database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """The address of a RabbitMQ. All tests share its virtual host, so each names its things by `namespace`."""
    with or_skip("RabbitMQ", servers.rabbitmq) as url:
        yield url


@pytest.fixture(scope="session", params=VERSIONS)
def version(request) -> str:
    """Each API version of Workiva: whoever asks for it runs on all of them."""
    return str(request.param)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a Redis database. All tests share it, so each names its things by `namespace`."""
    with or_skip("Redis", servers.redis) as url:
        yield url


@pytest.fixture
def namespace() -> str:
    """A short name that no other test uses."""
    return f"t{secrets.token_hex(4)}"


def forget(url: str, *queues: str, exchange: str = "") -> None:
    """RabbitMQ and memory keep a queue until it is deleted. The Redis database is emptied in the end."""
    if not url.startswith("redis"):
        link = KombuLink(url)
        for queue in queues:
            link.channel.queue_delete(queue)
        if exchange:
            link.channel.exchange_delete(exchange)
        link.close()


def pytest_terminal_summary(terminalreporter):
    """Say loudly what could not be run."""
    for name, why in missed.items():
        terminalreporter.write_sep("!", f"NOT RUN: every test on {name}", red=True, bold=True)
        terminalreporter.write_line(why)
        terminalreporter.write_line(
            "`make servers` starts them, or name one: APPROVALS_TEST_POSTGRES, APPROVALS_TEST_RABBITMQ, APPROVALS_TEST_REDIS"
        )
