"""How a review lives: who may answer what and when, what ends a step, what begins a round, and what each does to the item."""

from typing import Final

from worker.verify.answers import instant
from worker.verify.autodesk.review import Review, Task
from worker.verify.autodesk.trial import DUE, Trial
from worker.verify.verdict import CannotTell, Verdict, told, word

LONG: Final = "has two steps whose tasks are all for users of the grants"

INSTANT: Final = 0.01
"""Seconds between two times that are the same: some are cut to three digits (58)."""

SOON: Final = 1.0
"""Seconds in which the system is to have moved an item. One example shows 0.13 [TUT]; a program that looks again a second later sees it."""


def second_close_is_refused(t: Trial) -> Verdict:
    """40."""
    review = t.review(LONG, t.long)
    task = review.steps[0].needed[0]
    first, second = t.reply(approves=True), t.reply(approves=False)
    if not t.close(review.id, task, response=first).ok:
        raise CannotTell("a task that waits for its user could not be closed")
    status = t.close(review.id, task, response=second).status
    stands = t.look(review.id).task(task).raw.get("responseId")
    text = f"a second :close: {status}, and the {'first' if stands == first else 'second'} response stands"
    return told(status == 403 and stands == first, text)


def early_close_is_refused(t: Trial) -> Verdict:
    """41."""
    review = t.review(LONG, t.long)
    waiting = t.close(review.id, review.steps[1].needed[0]).status
    if t.me not in t.managers:
        return told(waiting == 403, f":close before its step: {waiting}; of an item that is not under review: not tried without a manager")
    if not t.returned(review).ok:
        raise CannotTell("the item cannot be returned to its manager")
    aside = t.close(review.id, review.steps[0].needed[0]).status
    return told((waiting, aside) == (403, 403), f":close before its step: {waiting}; of an item that is not under review: {aside}")


def response_touches_the_item(t: Trial) -> Verdict:
    """42. Each time a pause apart."""
    review = t.review(
        "has two steps, two required tasks in the first one, all for users of the grants",
        lambda review: t.long(review) and sum(task.required for task in review.steps[0].tasks) > 1,
    )
    before, moved = review.updated, []
    first, *others = review.steps[0].needed
    t.pause()
    t.answer(review.id, first)
    moved.append((look := t.look(review.id)).updated > before)
    before = look.updated
    t.pause()
    for task in others:
        t.answer(review.id, task)
    look = t.until(review.id, lambda now: now.statuses[1] != "not-started")
    moved.append(look.updated > before)
    t.through(review, but=1)
    before = t.look(review.id).updated
    t.pause()
    t.finish(review.id, t.look(review.id).steps[-1])
    look = t.until(review.id, lambda now: now.state != "rev")
    moved.append(look.updated > before)
    names = ("one of several", "one that ends a step", "the last one")
    text = "; ".join(f"{name}: {'moves' if each else 'does not move'} updatedAt" for name, each in zip(names, moved, strict=True))
    return told(moved == [False, True, True], text)


def optional_tasks_are_left(t: Trial) -> Verdict:
    """49."""

    def optional(review: Review) -> Task | None:
        first = review.steps[0]
        if not any(task.required for task in first.tasks):
            return None
        return next((task for task in first.tasks if not task.required and t.closer(task)), None)

    review = t.review(
        "has two steps, a required and an optional task in the first one, all for users of the grants",
        lambda review: t.long(review) and optional(review) is not None,
    )
    task = optional(review)
    assert task is not None
    t.finish(review.id, review.steps[0])
    look = t.until(review.id, lambda now: now.statuses[1] == "in-progress").task(task)
    answer = t.close(review.id, task)
    text = f"an optional task of a step that has ended: {word(look.status)}, its :close: {answer.status}"
    return told(look.status == "in-progress" and not look.answered and answer.refused, text)


def step_without_required_waits_for_all(t: Trial) -> Verdict:
    """50."""
    review = t.review(
        "has two steps, no required and two optional tasks in the first one, all for users of the grants",
        lambda review: t.long(review) and len(review.steps[0].tasks) > 1 and not any(task.required for task in review.steps[0].tasks),
    )
    t.answer(review.id, review.steps[0].tasks[0])
    t.pause()
    one = t.look(review.id)
    if one.statuses[0] == "in-progress":
        t.finish(review.id, one.steps[0])
    every = t.until(review.id, lambda now: now.statuses[0] != "in-progress")
    text = f"a step without a required task after one of several: {word(one.statuses[0])}, after all: {word(every.statuses[0])}"
    return told((one.statuses[0], every.statuses[0]) == ("in-progress", "completed"), text)


def rejection_counts_like_any_other(t: Trial) -> Verdict:
    """51."""
    review = t.review(LONG, t.long)
    first, *others = review.steps[0].needed
    t.answer(review.id, first, response=t.reply(approves=False))
    t.pause()
    if (state := t.state(review.id)) == "rev":
        for task in others:
            t.answer(review.id, task)
        look = t.until(review.id, lambda now: now.statuses[1] != "not-started")
        return told(look.statuses[1] == "in-progress", f"after a response that is no approval the next step is {word(look.statuses[1])}")
    return told(False, f"after a response that is no approval the item is in {word(state)}")


def managers_answer_for_others(t: Trial) -> Verdict:
    """52."""
    t.manages()

    def foreign(review: Review) -> Task | None:
        return next((task for task in review.steps[0].tasks if task.user not in {None, t.me.user}), None)

    review = t.review("has a task in its first step for another user than the first grant's", lambda review: foreign(review) is not None)
    task = foreign(review)
    assert task is not None
    answer = t.close(review.id, task, t.me)
    if not answer.ok:
        return told(False, f"a manager's :close of another's task: {answer.status}")
    by = answer.needed.get("respondedBy")
    return told(
        by == t.me.user, f"a manager's :close of another's task: {answer.status}, respondedBy {'them' if by == t.me.user else 'another'}"
    )


def system_moves_the_item_soon(t: Trial) -> Verdict:
    """56. By the upstream's own times."""
    review = t.review("has tasks for users of the grants only", t.ours)
    answered = instant(t.through(review).get("respondedAt"))
    look = t.until(review.id, lambda now: now.state != "rev")
    if look.state != "mgr-2":
        return told(False, f"after the last response: {word(look.state)}")
    seconds = instant(look.item.get("receivedFromReview")) - answered
    return told(INSTANT < seconds <= SOON, f"the item moves {seconds:.2f} s after the last response")


def next_step_begins_at_once(t: Trial) -> Verdict:
    """57. By the upstream's own times."""
    review = t.review(LONG, t.long)
    t.finish(review.id, review.steps[0])
    look = t.until(review.id, lambda now: now.statuses[1] == "in-progress")
    seconds = look.steps[1].started - look.steps[0].completed
    return told(abs(seconds) <= INSTANT, f"the next step begins {seconds:.2f} s after the end of the one before")


def sent_again_begins_anew(t: Trial) -> Verdict:
    """59."""
    t.manages()
    review = t.review(LONG, t.long)
    t.finish(review.id, review.steps[0])
    t.until(review.id, lambda now: now.statuses[1] == "in-progress")
    t.pause()
    if not (t.returned(review).ok and t.go(review.id, "rev").ok):
        raise CannotTell("the item cannot be returned and sent again")
    again = t.look(review.id)
    same = [step.id for step in again.steps] == [step.id for step in review.steps]
    later = again.fresh and again.steps[0].started > review.steps[0].started
    ids, start = "the same" if same else "other", "a later" if later else "no later"
    text = f"sent to review again: steps {_words(again)}, {ids} ids, {start} startedAt"
    return told(again.fresh and same and later, text)


def return_for_review_begins_the_last_step(t: Trial) -> Verdict:
    """60."""
    t.manages()
    review = t.review(LONG, t.long)
    t.through(review)
    if t.until(review.id, lambda now: now.state == "mgr-2").state != "mgr-2":
        raise CannotTell("the review does not end in mgr-2")
    sent = t.go(review.id, "rev", stepDueDate=DUE)
    if not sent.ok:
        raise CannotTell(f"the item cannot be returned for review: {sent.status}")
    again = t.look(review.id)
    return told(again.statuses == ["completed"] * (len(again.steps) - 1) + ["in-progress"], f"mgr-2 to rev: steps {_words(again)}")


def wrong_transition_is_refused(t: Trial) -> Verdict:
    """61. rev to mgr-2 is the system's alone [TUT]; and what a manager may do, somebody who is none may not."""
    review = t.review("has begun", lambda _: True)
    by_state = t.go(review.id, "mgr-2").status
    stranger = next((person for person in t.people if person not in t.managers), None)
    text = f"rev to mgr-2: {by_state}; rev to mgr-1 by who is no manager: "
    if stranger is None:
        return told(by_state == 403, text + "not tried without a grant of such a user")
    by_role = t.returned(review, stranger).status
    return told((by_state, by_role) == (403, 403), f"{text}{by_role}")


def _words(review: Review) -> str:
    return ", ".join(word(status) for status in review.statuses)
