"""When tokens are renewed, and what each answer comes to."""

from dataclasses import replace

import pytest

from worker.core import renewal
from worker.core.outcomes import Fact
from worker.core.renewal import AFRESH, LEASE, MENDED, PATIENCE, STALE, Dead, Denied, Kept, Lost, Renewed, Unsent, settle, taken, verdict

NOW = 1_700_000_000.0
HOUR, DAY = 3600.0, 86_400.0
FRESH = Kept("n", generation=3, access_until=NOW + HOUR, refreshed_at=NOW, refresh_until=NOW + 15 * DAY)
NEW = Renewed("access", HOUR, "refresh", 15 * DAY)
WHY = Fact("token", 400, "invalid_grant")
ENDED = NOW + HOUR
HELD = taken(FRESH, "we", ENDED)


def settled(answer, kept=HELD, by=HELD, now=ENDED + 1.0):
    return settle(kept, by, answer, now, 0.0)


@pytest.mark.parametrize(
    ("wanted", "kept", "after", "more"),
    [
        ("use", FRESH, HOUR - 601, {}),
        ("take", FRESH, HOUR - 600, {}),
        ("use", replace(FRESH, access_until=NOW + 60), 44, {}),  # a short life is not all margin
        ("take", replace(FRESH, access_until=NOW + 60), 45, {}),
        ("busy", HELD, HOUR + LEASE - 1, {}),
        ("take", HELD, HOUR + LEASE, {}),  # its holder is gone
        ("early", replace(FRESH, next_at=NOW + 2 * HOUR), HOUR, {}),
        ("take", replace(FRESH, next_at=NOW + 2 * HOUR), 2 * HOUR, {}),
        ("over", replace(FRESH, next_at=None), HOUR, {}),
        ("use", replace(FRESH, next_at=None), 0, {}),  # the last access token is good to its end
        ("take", FRESH, AFRESH, {"refused": 3}),
        ("use", FRESH, AFRESH - 1, {"refused": 3}),  # a new one would be refused, too
        ("use", FRESH, AFRESH, {"refused": 2}),  # somebody has renewed it since
        ("use", FRESH, STALE - 1, {"idle": True}),
        ("take", FRESH, STALE, {"idle": True}),
        ("take", replace(FRESH, state="degraded"), 0, {"idle": True}),
        ("over", replace(FRESH, state="degraded", next_at=None), 0, {"idle": True}),
    ],
)
def test_what_there_is_to_do(wanted, kept, after, more):
    assert verdict(kept, NOW + after, **more) == wanted


def test_a_lease_leaves_the_doubt_behind_before_anything_is_sent():
    assert (HELD.holder, HELD.lease_until, HELD.tries) == ("we", ENDED + LEASE, 1)


def test_new_tokens_count_from_when_they_were_asked_for():
    after = settled(NEW, now=ENDED + 20)
    assert after == Kept("n", generation=4, access_until=ENDED + HOUR, refreshed_at=ENDED, refresh_until=ENDED + 15 * DAY)


def test_a_refresh_token_without_an_access_token_is_kept_and_not_renewed_in_a_circle():
    after = settled(Renewed("", 0.0, "refresh", DAY))
    assert (after.generation, verdict(after, ENDED + 2.0), verdict(after, ENDED + AFRESH)) == (4, "early", "take")


def test_new_tokens_count_whoever_brings_them():
    """R2: a holder that was slow may have the only good one."""
    other = replace(HELD, holder="they", lease_until=ENDED + 2 * LEASE, tries=2)
    after = settled(NEW, kept=other, now=ENDED + LEASE + 1)
    assert (after.generation, after.holder, after.tries) == (4, None, 0)


@pytest.mark.parametrize("answer", [NEW, Dead(WHY), Denied(WHY), Lost(WHY), Unsent(WHY)])
def test_a_newer_generation_stands(answer):
    assert settled(answer, kept=replace(HELD, generation=4)) is None


@pytest.mark.parametrize(("tries", "answer"), [(None, Dead(WHY)), (None, Lost(WHY)), (1, Denied(WHY)), (1, Unsent(WHY))])
def test_a_no_counts_only_from_the_holder(tries, answer):
    """All that the other one may say is that the refresh token was not used by it."""
    other = replace(HELD, holder="they", tries=2)
    assert settled(answer, kept=other) == (None if tries is None else replace(other, tries=tries))


def test_a_dead_token_is_the_end():
    after = settled(Dead(WHY))
    assert (after.state, after.next_at, after.episode, after.holder) == ("degraded", None, 1, None)
    assert after.detail == (
        "the refresh token is not taken any more: token 400 invalid_grant. It was used elsewhere, or the consent was withdrawn"
    )


def test_it_is_told_that_an_answer_was_lost():
    assert "The answer to an earlier renewal was lost" in settled(Dead(WHY), kept=replace(HELD, tries=2)).detail


def test_it_is_told_that_it_died_of_silence():
    late = taken(FRESH, "we", NOW + 16 * DAY)
    assert "It had not been used for 16 days" in settled(Dead(WHY), kept=late, by=late, now=NOW + 16 * DAY).detail


def test_a_refused_client_is_tried_again_slowly():
    after = settled(Denied(Fact("token", 401, "invalid_client")))
    assert (after.state, after.next_at, after.tries, after.episode) == ("degraded", ENDED + 1 + MENDED, 0, 1)


@pytest.mark.parametrize(
    ("tries", "next_at", "answer"), [(1, ENDED + LEASE, Lost(WHY)), (0, ENDED + 1 + 25, Unsent(Fact("t", 429, retry_after=25.0)))]
)
def test_what_failed_is_tried_again(tries, next_at, answer):
    """R3: after a lost answer not before the lease is over; two never use the token at once."""
    after = settled(answer)
    assert (after.state, after.tries, after.next_at, after.holder, after.fails) == ("good", tries, next_at, None, 1)


@pytest.mark.parametrize("answer", [Lost(WHY), Unsent(WHY)])
def test_what_fails_for_long_is_told(answer):
    tired = replace(HELD, fails=PATIENCE - 1)
    after = settled(answer, kept=tired)
    assert (after.state, after.next_at is None, after.episode) == ("degraded", False, 1)
    assert settled(answer, kept=replace(tired, access_until=ENDED + DAY)).state == "good", "nobody has missed anything yet"


def test_an_episode_is_counted_once_and_ends():
    first = settled(Denied(WHY))
    again = taken(first, "we", ENDED + HOUR)
    assert settled(Denied(WHY), kept=again, by=again).episode == 1
    mended = settled(NEW, kept=again, by=again)
    assert (mended.state, mended.episode, mended.detail) == ("good", 2, "")


def test_secrets_do_not_show():
    assert repr(Renewed("s3cr3t", 1.0, "s3cr3t", 2.0)) == "Renewed(lifetime=1.0, life=2.0)"


def test_the_request_leaves_well_within_its_lease():
    assert renewal.DEADLINE * 2 <= LEASE
