"""What follows a try: the schedule, Retry-After, setting aside, and what answers say about the sink (S1 to S5 of `core/delivery`)."""

import pytest

from worker.core.delivery import SCHEDULE, Filter, Left, Policy, Result, Standing, after, wants, weigh

HOUR = 3600.0
POLICY = Policy(SCHEDULE, disable_after=5 * 24 * HOUR)
FINE = Result(Left.DELIVERED, status=200)
DOWN = Result(Left.FAILED, "answered 500", status=500)


def busy(status=429, retry_after=None):
    return Result(Left.FAILED, f"answered {status}", retry_after, status)


def waits(result, dice=0.0, policy=POLICY):
    """Seconds between the tries of an event that always comes to *result*, and its last state."""
    out, tries = [], 0
    while (follows := after(result, tries, policy, dice)).state == "due":
        out.append(follows.wait)
        tries = follows.tries
    return out, follows.state, follows.tries


def test_the_published_schedule_ends_after_ten_tries_in_three_days():
    steps, state, tries = waits(DOWN)
    assert (state, tries) == ("dead", 10)
    assert steps == [5.0, 300.0, 0.5 * HOUR, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
    assert sum(steps) == 75 * HOUR + 35 * 60 + 5


def test_the_dice_make_waits_longer_never_shorter():
    for exact, thrown in zip(waits(DOWN)[0], waits(DOWN, dice=0.99)[0], strict=True):
        assert exact < thrown < exact * 1.1


def test_a_schedule_of_ones_own():
    assert waits(DOWN, policy=Policy((1.0, 2.0))) == ([1.0, 2.0], "dead", 3)


@pytest.mark.parametrize(("asked", "obeyed"), [(0, 1.0), (120, 120.0), (1e9, 86_400.0)])
def test_a_429_with_a_time_is_obeyed_within_bounds_and_uses_up_nothing(asked, obeyed):
    """A busy endpoint must not lose events because it asked for patience ten times."""
    follows = after(busy(retry_after=asked), 3, POLICY, 0.0)
    assert (follows.state, follows.tries, follows.wait) == ("due", 3, obeyed)


def test_a_failure_that_names_a_time_waits_no_less_than_its_schedule():
    waited = [after(busy(503, asked), 1, POLICY, 0.0).wait for asked in (10.0, 1000.0)]
    assert waited == [300.0, 1000.0]


def test_a_sink_without_a_schedule_never_gives_up():
    assert after(Result(Left.FAILED), 10_000, Policy(), 0.0).state == "due"


@pytest.mark.parametrize("left", [Left.DELIVERED, Left.UNBOUND, Left.DEAD])
def test_what_did_not_fail_is_not_tried_again(left):
    assert after(Result(left), 0, POLICY, 0.0).state == left.value


def test_a_steady_failure_shuts_the_sink_off_after_its_time_and_one_success_forgets_it():
    standing = weigh(Standing(), [DOWN], POLICY, 1000.0)
    assert (standing.failing, standing.off) == (1000.0, "")
    almost = weigh(standing, [DOWN], POLICY, 1000.0 + 119 * HOUR)
    assert almost == standing
    assert weigh(almost, [DOWN, FINE], POLICY, 1000.0 + 121 * HOUR) == Standing()
    over = weigh(almost, [DOWN], POLICY, 1000.0 + 120 * HOUR)
    assert (over.off, over.since) == ("nothing was delivered for 120 h", 1000.0 + 120 * HOUR)


def test_what_is_set_aside_unsent_says_nothing_about_the_endpoint():
    assert weigh(Standing(), [Result(Left.DEAD, "too large")], POLICY, 1.0) == Standing()


def test_gone_shuts_it_off_at_once():
    assert "410" in weigh(Standing(), [FINE, Result(Left.FAILED, status=410)], POLICY, 1.0).off


@pytest.mark.parametrize("status", [429, 502, 504])
def test_a_busy_endpoint_is_left_alone_for_as_long_as_it_asks(status):
    assert weigh(Standing(), [busy(status, 30.0)], POLICY, 1000.0).pause_until == 1030.0


def test_a_busy_endpoint_that_names_no_time_is_left_alone_longer_the_longer_it_is_busy():
    standing, now, pauses = Standing(), 0.0, []
    for _ in range(20):
        standing = weigh(standing, [busy(502)], POLICY, now)
        pauses.append(standing.pause_until - now)
        now = standing.pause_until
    assert (pauses[0], max(pauses), pauses == sorted(pauses)) == (1.0, 300.0, True)
    assert sum(p == 300.0 for p in pauses) > 1


def test_an_error_of_one_event_does_not_pause_the_others():
    assert weigh(Standing(), [DOWN, FINE], POLICY, 1.0).pause_until == 0.0


@pytest.mark.parametrize(
    ("expected", "wanted"),
    [
        (True, Filter()),
        (True, Filter(("step.*",), ("finance",), ("workiva",))),
        (True, Filter(("task.*", "step.completed"))),
        (False, Filter(("submission.*",))),
        (False, Filter(accounts=("tower",))),
        (False, Filter(upstreams=("autodesk",))),
        (False, Filter(())),
    ],
)
def test_a_sink_lets_out_what_all_of_its_filters_name(expected, wanted):
    assert wants(wanted, "step.completed", "/workiva/finance") is expected
