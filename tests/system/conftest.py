"""A simulated upstream, and a house on the shared servers: once for a file, because each process takes seconds to start."""

import secrets

import pytest

from tests import servers
from tests.system.house import House, listening
from worker.sandbox.server import running_sandbox


@pytest.fixture(scope="module")
def upstream():
    """A sandbox in a thread of the test: workers may be killed and frozen, it goes on."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def shared(tmp_path_factory, upstream, postgres_server, rabbitmq_url):
    """The house of this file."""
    with (
        servers.database(postgres_server) as ledger,
        House(
            tmp_path_factory.mktemp("house"),
            upstream.workiva_url,
            namespace=f"t{secrets.token_hex(4)}",
            ledger=ledger,
            broker=rabbitmq_url,
            more={"INTAKE__MAX_BYTES": "4096"},
        ) as house,
    ):
        yield house


@pytest.fixture
def house(shared):
    """Worker, intake and beat run."""
    return shared.open()


@pytest.fixture(scope="module")
def told(shared):
    """Whoever listens to the events of the house, bound before anything happens."""
    with listening(shared.broker, shared.namespace) as listener:
        yield listener
