"""Every connector in the table, by the suite of `port`. Nothing here knows an upstream."""

import httpx
import pytest

from tests.upstreams import port
from tests.upstreams.port import CASES, Case
from worker.upstreams import KNOWN


def test_every_connector_is_tried():
    assert set(CASES) == set(KNOWN)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def test_port(case, request):
    port.has_the_port(case)
    port.hides_its_secret(case)
    port.asks_for_nothing_by_an_id_that_is_none(case)
    port.begins_again_only_at_its_own_place(case)
    assert case.connector.realm.startswith(f"{request.node.callspec.params['case']}:")


@pytest.mark.parametrize("status", port.STATUSES)
def test_answers_to_a_send(case, status):
    port.sorts_every_status(case, status)


@pytest.mark.parametrize("body", port.UNREADABLE)
def test_successes_that_cannot_be_read(case, body):
    port.believes_no_success_that_it_cannot_read(case, body)
    port.takes_a_failed_question_for_no_answer(case, httpx.Response(200, content=body))


@pytest.mark.parametrize("status", port.STATUSES)
def test_answers_to_a_look(case, status):
    port.takes_a_failed_question_for_no_answer(case, httpx.Response(status))
