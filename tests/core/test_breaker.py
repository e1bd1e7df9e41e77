"""B4: when an upstream is called away, when it is tried again, and how it begins after that."""

import pytest

from tests.core.make import NOW, TWO
from worker.core import breaker
from worker.core.breaker import FAILURES, FIRST, LONGEST, SLOW, STEP, Breaker
from worker.core.outcomes import Applied, Fact, Gone, InDoubt, Page, Refused, Unknown, Unsent
from worker.core.pause import Shut

ROW = Breaker("finance")
BAD, GOOD = "answer 503", ""


def heard(row, *answers, at=NOW, by="me", dice=1.0):
    return row.heard(answers, by, at, dice)


@pytest.fixture
def opened():
    return heard(ROW, *[BAD] * FAILURES)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (TWO, ""),
        (Applied(TWO, Fact("answer", 200)), ""),
        (Gone(Fact("answer", 404)), ""),
        (Refused(Fact("answer", 422)), ""),
        (Page((), None, NOW), ""),
        (Unknown(Fact("answer", 429)), ""),
        (Unsent(Fact("answer", 401)), ""),
        (InDoubt(Fact("answer", 408)), ""),
        (Unknown(Fact("unreadable", 200)), ""),
        (Unknown(Fact("answer", 500)), "answer 500"),
        (InDoubt(Fact("answer", 504)), "answer 504"),
        (Unknown(Fact("deadline")), "deadline"),
        (InDoubt(Fact("answer lost", text="reset")), "answer lost reset"),
        (Unsent(Fact("connect", text="refused")), "connect refused"),
        (Unknown(Fact("token unanswered")), "token unanswered"),
        (Unknown(Fact("token", 503)), "token 503"),
        (Unknown(Fact("token", text="there is none yet")), None),
        (Unsent(Fact("gate closed")), None),
        (Unknown(Fact("lapsed")), None),
    ],
)
def test_only_silence_and_5xx_speak_against_an_upstream(what, said):
    assert breaker.trouble(what) == said


def test_it_opens_after_so_many_in_a_row_and_any_answer_between_them_begins_anew(opened):
    almost = heard(ROW, *[BAD] * (FAILURES - 1))
    assert (almost.state, heard(almost, GOOD), heard(almost, GOOD, BAD).state) == ("closed", heard(ROW, BAD, GOOD), "closed")
    assert (heard(almost, BAD), opened.state, opened.episode) == (opened, "open", 1)


def test_open_it_lets_one_ask_at_a_time_and_waits_twice_as_long_after_each_in_vain(opened):
    row, now, waits = opened, NOW, []
    for _ in range(12):
        waits.append(row.next_at - now)
        assert (row.room(row.next_at - 0.01, 128), row.room(row.next_at, 128)) == (0, 1)
        now = row.next_at
        row = row.taken("me", now, 30.0)
        assert row.room(now + 29.9, 128) == 0
        assert row.room(now + 30.0, 128) == 1, "who took it is gone"
        row = heard(row, BAD, at=now)
    assert waits == [min(LONGEST, FIRST * 2**n) for n in range(12)]
    assert (row.episode, row.at) == (1, NOW)


def test_what_was_under_way_when_it_opened_says_nothing_new_but_an_answer_does(opened):
    assert heard(opened, BAD, BAD) == opened
    taken = opened.taken("me", NOW + 5, 30.0)
    assert heard(taken, BAD, by="another") == taken
    closed = heard(taken, GOOD, by="another", at=NOW + 6)
    assert (closed.state, closed.episode) == ("closed", 2)


def test_after_it_closed_what_may_be_in_flight_doubles(opened):
    closed = heard(opened, GOOD)
    assert [closed.room(NOW + STEP * n, 128) for n in range(8)] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert (closed.room(NOW + SLOW - 0.01, 1000), closed.room(NOW + SLOW, 1000)) == (64, 1000)
    waits = [breaker.opens(n) for n in range(200)]
    for n in range(7):
        assert sum(1 for w in waits if w <= STEP * n) == 2 ** (n + 1) - 1
    assert max(waits) == SLOW


def test_what_opens_again_at_once_is_left_alone_for_longer_and_is_another_episode(opened):
    row = heard(opened, GOOD, *[BAD] * FAILURES, at=NOW + 1)
    assert (row.tries, row.episode, row.next_at) == (1, 3, NOW + 1 + 2 * FIRST)
    later = heard(heard(opened, GOOD, at=NOW), *[BAD] * FAILURES, at=NOW + 3600)
    assert (later.tries, later.next_at) == (0, NOW + 3600 + FIRST)


def test_people_are_told_since_when_why_and_when_it_is_tried_again(opened):
    why = "away: no answer from the upstream since 2023-11-14T22:13:20.000Z: answer 503; tried again at 2023-11-14T22:13:21.000Z"
    assert opened.shut() == Shut(why, NOW + FIRST)
