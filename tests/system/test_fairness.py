"""One account that stalls delays nobody else, and no more leaves than may: short runs of `make isolation` and `make door`."""

import pytest

from tests import servers
from tests.benchmarks import door, isolation

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_nine_accounts_do_not_wait_for_the_tenth_that_stalls(tmp_path, postgres_server, rabbitmq_url):
    """All in one process. Without the shares of connections and threads, whoever comes after the stalled ones waits for their deadline."""
    with servers.database(postgres_server) as ledger:
        found = isolation.measure(tmp_path, ledger, rabbitmq_url, workers=1, waves=6, load=200)
    assert found.stalling > 100
    assert found.beside.worst < isolation.STALL / 3
    assert found.ratio < 3


def test_no_more_leaves_than_may_whoever_asks_and_after_a_restart(tmp_path, postgres_server, rabbitmq_url):
    with servers.database(postgres_server) as ledger:
        found = door.measure(tmp_path, ledger, rabbitmq_url, workers=2, per_minute=240, submissions=8, watches=60)
    assert found.refused == 0
    assert {seconds: most for seconds, most in found.busiest.items() if most > found.allowed(seconds)} == {}
    assert found.busiest[10] > 0.8 * 10 * found.limit.ceiling, "it was asked for more than there was"
