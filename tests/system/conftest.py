"""A sandbox, and a house on the shared servers with an account at each of its upstreams: once for a file, because each process takes
seconds to start.
"""

import secrets

import pytest

from tests import servers
from tests.system.house import House, listening
from tests.system.upstreams import UPSTREAMS, Autodesk, Workiva
from worker.sandbox.server import running_sandbox


@pytest.fixture(scope="module")
def sandbox():
    """In a thread of the test: workers may be killed and frozen, it goes on."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sites(sandbox):
    """The upstreams of this file."""
    return {each: each(sandbox) for each in UPSTREAMS}


@pytest.fixture
def upstream(request, sites):
    """Workiva, where a test does not say which: `@pytest.mark.parametrize("upstream", UPSTREAMS, indirect=True)`."""
    return sites[getattr(request, "param", Workiva)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory, sandbox, sites, postgres_server, rabbitmq_url):
    """The house of this file."""
    folder = tmp_path_factory.mktemp("house")
    with (
        servers.database(postgres_server) as ledger,
        House(
            folder,
            sandbox.workiva_url,
            namespace=f"t{secrets.token_hex(4)}",
            ledger=ledger,
            broker=rabbitmq_url,
            more={"INTAKE__MAX_BYTES": "4096", **sites[Autodesk].settings(folder)},
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
