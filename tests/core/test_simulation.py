"""Whole lives, drawn at random: one upstream task, two submissions, lost and late answers, other people. An upstream journal is the judge.

The worlds here keep to the stated assumptions: nothing takes effect after the end of its attempt's quiet period.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.make import FACT, NOW, REALM, RULES, approve, command, snap, step, task
from worker.core import submission as life
from worker.core.advance import Answer, Row, advance, credit_of
from worker.core.outcomes import Applied, InDoubt, Refused, Unknown, Unsent
from worker.core.pins import pin_of
from worker.core.submission import Context

DAY = 86_400.0
ENDED_WITHOUT_EFFECT = {"superseded", "refused", "expired", "cancelled"}


@dataclass(frozen=True)
class Effect:
    """What the journal of the upstream holds. `retry`: an earlier attempt was not proven unsent."""

    submission: str
    step: int
    retry: bool


FATES = st.sampled_from(["answered", "answer lost", "lost", "unsent", "late", "dies"])


class World(RuleBasedStateMachine):
    """Every rule is one thing that can happen; two seconds pass before each, so that no two responses are taken for one."""

    @initialize(
        first=st.sampled_from([("jane", "bob"), ("jane", "bob"), ("jane",)]),
        then=st.sampled_from([("eve",), ("bob",), ("jane", "eve")]),
        modes=st.tuples(*[st.sampled_from(["one", "all"])] * 2),
        second=st.sampled_from([1, 2]),
        exact=st.booleans(),
        again=st.booleans(),
        under_way=st.sampled_from([True, True, True, False]),
    )
    def begin(self, first, then, modes, second, exact, again, under_way):
        """`again`: a second response of one person to a step is recorded beside the first. `under_way`: s1 is being sent already."""
        self.now, self.again = NOW, again
        self.steps = tuple(step(*who, mode=mode) for who, mode in zip((first, then), modes, strict=True))
        self.modified, self.title = NOW - 100, 0
        self.row = task()
        self.live: dict[str, Any] = {}
        self.flights: dict[Any, str] = {}
        self.looks: dict[str, Any] = {}
        self.journal: list[Effect] = []
        for id_, who, number in (("s1", "jane", 1), ("s2", "bob", second)):
            asked = command(key=id_, grant=who, issued_at=NOW, step=number, wait_for_turn=True, not_after=NOW + DAY)
            pin = pin_of(REALM, self.shown(), number) if exact else None
            self.live[id_] = life.accept(asked, id_=id_, realm=REALM, task="T", pin=pin, now=NOW).submission
        if under_way:
            self.look("s1", slow=False)

    # --- the upstream

    def shown(self):
        status = "Completed" if self.active() is None else "Awaiting Approval"
        look = snap(*self.steps, status=status, modified=self.modified, date=self.now)
        return replace(look, title=f"Review {self.title}")

    def active(self):
        """The number of the step an approval lands on: the upstream's own truth, not the worker's guess."""
        for number, s in enumerate(self.steps, 1):
            answered = {r.actor for r in s.responses}
            if not answered or (s.mode == "all" and not answered >= set(s.participants)):
                return number
        return None

    def respond(self, who, comment):
        """The step that the response landed on, or None."""
        number = self.active()
        if number is None:
            return None
        active = self.steps[number - 1]
        if who not in active.participants or (not self.again and who in {r.actor for r in active.responses}):
            return None
        self.modified = self.now
        answered = replace(active, responses=(*active.responses, approve(who, self.now - NOW, comment)))
        self.steps = (*self.steps[: number - 1], answered, *self.steps[number:])
        return number

    def arrive(self, id_, n):
        """The request takes effect, or is refused."""
        s = self.live[id_]
        number = self.respond(s.command.grant, f"[{s.mark}]")
        if number is None:
            return Refused(FACT)
        retry = any(a.outcome != "unsent" for a in s.attempts if a.n < n)
        self.journal.append(Effect(id_, number, retry))
        return Applied(self.shown(), FACT)

    # --- the worker

    def context(self, s):
        return Context(now=self.now, dice=0.0, rules=RULES, acts_as=s.command.grant, grant="proven")

    def take(self, what, version, id_=None, attempt=None, asked=None):
        credits_ = {}
        for s in self.live.values():
            credits_.update(dict.fromkeys(s.hits, credit_of(s)))
        answer = Answer(REALM, "T", version, what, id_, attempt, asked_at=asked)
        decision = advance(Row(self.row, self.live, credits_), answer, self.context, self.now)
        self.row = decision.task
        for move in decision.moves:
            s = self.live[move.submission.id] = move.submission
            if move.begin:
                self.flights[s.id, move.begin.n] = "alive"
            if self.row.holder == s.id and (s.state in life.ENDED or (s.state == "waiting" and s.behind is None)):
                self.row = replace(self.row, holder=None)

    def pass_time(self, seconds=2.0):
        self.now += seconds
        for id_, n in list(self.flights):
            attempt = self.live[id_].attempts[n - 1]
            if self.now >= attempt.quiet_until:
                del self.flights[id_, n]  # the assumption: nothing comes of it any more
        self.looks = {who: look for who, look in self.looks.items() if look[2] > self.now - RULES.deadline}

    def ask(self, id_):
        s = self.live[id_]
        if s.state in life.OPEN:
            if self.row.holder not in {None, id_}:
                return False
            self.row = replace(self.row, holder=id_)
        self.looks[id_] = (self.shown(), self.row.version, self.now)
        return True

    def answer(self, id_):
        look, version, asked = self.looks.pop(id_)
        self.take(look, version, None if id_ == "poll" else id_, asked=asked)

    # --- what can happen

    @rule(seconds=st.sampled_from([20.0, 46.0, 77.0, 100.0, 700.0]))
    def wait(self, seconds):
        self.pass_time(seconds)

    @rule(id_=st.sampled_from(["s1", "s2"]), slow=st.booleans())
    def look(self, id_, slow):
        self.pass_time()
        if id_ not in self.looks and self.ask(id_) and not slow:
            self.answer(id_)

    @rule(slow=st.booleans())
    def poll(self, slow):
        self.pass_time()
        if "poll" not in self.looks:
            self.looks["poll"] = (self.shown(), self.row.version, self.now)
            if not slow:
                self.answer("poll")

    @precondition(lambda self: self.looks)
    @rule(data=st.data())
    def slow_look_comes_back(self, data):
        self.pass_time()
        if self.looks:
            self.answer(data.draw(st.sampled_from(sorted(self.looks))))

    @rule(id_=st.sampled_from(["s1", "s2"]))
    def look_fails(self, id_):
        self.pass_time()
        if id_ not in self.looks and self.ask(id_):
            del self.looks[id_]
            self.take(Unknown(FACT), self.row.version, id_, asked=self.now)

    @rule(id_=st.sampled_from(["s1", "s1", "s2"]), how=FATES)
    def goes_on(self, id_, how):
        """What comes next for this submission, when it is due: most of what happens is this."""
        s = self.live[id_]
        sending = [f for f, sender in self.flights.items() if f[0] == id_ and sender == "alive"]
        if sending:
            self.pass_time()
            id_, n = sending[0]
            if (id_, n) in self.flights:  # time may have ended it
                self.fate(id_, n, how)
        elif id_ in self.looks:
            self.pass_time()
            if id_ in self.looks:  # time may have ended it
                self.answer(id_)
        elif s.next_at is not None:
            self.pass_time(max(2.0, s.next_at - self.now))
            if self.ask(id_) and how != "late":
                self.answer(id_)

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), how=FATES)
    def a_request_ends(self, data, how):
        self.pass_time()
        if self.flights:
            id_, n = data.draw(st.sampled_from(sorted(self.flights)))
            self.fate(id_, n, how)

    def fate(self, id_, n, how):
        alive = self.flights[id_, n] == "alive"
        version = self.row.version
        match how:
            case "late" if alive:  # the sender gives up, the request travels on
                self.flights[id_, n] = "late"
                self.take(InDoubt(FACT), version, id_, n)
            case "dies":
                self.flights[id_, n] = "late"
            case "unsent" if alive:
                del self.flights[id_, n]
                self.take(Unsent(FACT), version, id_, n)
            case "lost":
                del self.flights[id_, n]
                if alive:
                    self.take(InDoubt(FACT), version, id_, n)
            case _:
                del self.flights[id_, n]
                result = self.arrive(id_, n)
                if alive:
                    self.take(result if how == "answered" else InDoubt(FACT), version, id_, n)

    @rule(what=st.sampled_from(["bob", "eve", "jane", "restart", "restart", "edit"]))
    def a_person(self, what):
        self.pass_time()
        match what:
            case "restart":
                self.steps = tuple(replace(s, responses=()) for s in self.steps)
                self.modified = self.now
            case "edit":
                self.title += 1
                self.modified = self.now
            case who:
                self.respond(who, None)

    # --- what must be so

    def effects(self, id_):
        return [e for e in self.journal if e.submission == id_]

    def standing(self, s):
        return [n for n, r in self.shown().responses() if r.comment == f"[{s.mark}]"]

    @invariant()
    def no_submission_takes_effect_twice(self):
        for id_ in getattr(self, "live", ()):
            assert len(self.effects(id_)) <= 1, self.live[id_]

    @invariant()
    def no_retry_touches_another_step(self):
        for e in getattr(self, "journal", ()):
            assert not e.retry or e.step == self.live[e.submission].command.step

    @invariant()
    def applied_has_an_effect_and_what_ended_otherwise_has_none_that_stands(self):
        for s in getattr(self, "live", {}).values():
            if s.state == "applied":
                assert [e.step for e in self.effects(s.id)] == [s.command.step]
            if s.state in ENDED_WITHOUT_EFFECT:
                assert not self.standing(s), s

    @invariant()
    def no_time_is_left_behind(self):
        for s in getattr(self, "live", {}).values():
            assert s.state not in life.OPEN or s.next_at is not None

    def teardown(self):
        """Everything comes to an end by itself, and a wrong effect that still stands is told."""
        if not hasattr(self, "live"):
            return
        self.pass_time(1000.0)
        for _ in range(60):
            due = [s for s in self.live.values() if s.next_at is not None]
            for s in due:
                self.pass_time(max(3600.0, s.next_at - self.now))
                if s.state in life.OPEN and s.lapsed(self.now):
                    self.live[s.id] = life.lapse(s, self.context(s)).submission
                    if self.row.holder == s.id:
                        self.row = replace(self.row, holder=None)
                elif self.ask(s.id):
                    self.answer(s.id)
                while self.flights:
                    id_, n = self.flights.popitem()[0]
                    self.take(self.arrive(id_, n), self.row.version, id_, n)
            if not due:
                break
            self.check()
        else:
            pytest.fail(f"never ends: {self.live}")
        for s in self.live.values():
            wrong = [n for n in self.standing(s) if n != s.command.step]
            assert not wrong or s.state in {"misapplied", "duplicated"}, s

    def check(self):
        self.no_submission_takes_effect_twice()
        self.no_retry_touches_another_step()
        self.applied_has_an_effect_and_what_ended_otherwise_has_none_that_stands()


World.TestCase.settings = settings(
    max_examples=200, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestWorld = World.TestCase
