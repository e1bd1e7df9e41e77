"""What only Workiva's tasks can do, carried on like any other."""

import pytest

from worker.upstreams.workiva import VERSIONS

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def test_a_task_whose_status_was_patched_to_its_end_is_not_acted_on(house):
    """Complete without any response (37 of the sandbox): there is no step to approve."""
    house.sandbox.assume(status_patch=True)
    task = house.task("jane")
    [out] = house.accept(house.command(task, step=1))
    patch = [{"op": "replace", "path": "/status", "value": "Completed"}]
    house.sandbox.control("POST", "/person", {"task": task, "patch": patch})
    house.submit()
    found = house.found(out.id)
    assert (found.state, found.reason, house.requests()) == ("refused", "no active step: the task is Completed", {"read": 1})


def test_a_skip_that_counts_for_its_user_only_completes_nothing_more(house):
    """38 of the sandbox. The decision took effect either way; whether the step is complete is the upstream's to say."""
    house.sandbox.assume(skip="own")
    task = house.sandbox.task(steps=[{"participants": ["jane", "bob"], "mode": "ALL"}, {"participants": ["bob"]}])["id"]
    found = house.submit(task, action="skip")
    assert (found.state, house.effects(task)) == ("applied", [("skip", "jane", 1)])
    assert "step.completed" not in house.told()
