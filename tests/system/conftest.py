"""A simulated upstream, and a house on the shared servers."""

import pytest

from tests.system.house import House, listening
from worker.sandbox.server import running_sandbox


@pytest.fixture
def upstream():
    """A sandbox in a thread of the test: workers may be killed and frozen, it goes on."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def house(tmp_path, upstream, postgres_url, rabbitmq_url, namespace):
    """Nothing runs in it yet."""
    with House(tmp_path, upstream.workiva_url, namespace=namespace, ledger=postgres_url, broker=rabbitmq_url) as house:
        yield house


@pytest.fixture
def told(house):
    """Whoever listens to the events of the house, bound before anything happens."""
    with listening(house.broker, house.namespace) as listener:
        yield listener
