"""What requests may carry and what answers carry."""

from datetime import timedelta
from typing import Any

from worker.verify.verdict import CannotTell, Verdict, told
from worker.verify.workiva.task import author_of, written
from worker.verify.workiva.trial import DUE, Trial, every, one

LONGEST_COMMENT = 2000
LARGEST_BODY = 10_485_760
"""Bytes [26-lim]."""


def location_stays(t: Trial) -> Verdict:
    """12. On a location that is known to exist: the named task lends its own."""
    if t.lent is None:
        raise CannotTell("the named task has no location to lend")
    task = t.make(one(t.me), location=dict(t.lent))
    if not isinstance(task.raw.get("location"), dict):
        raise CannotTell("a task was made without the location that was asked for")
    status = t.patch(task, location=None).status
    return told(status == 400, f"PATCH that takes a location away: {status}")


def comments_have_a_limit(t: Trial) -> Verdict:
    """14."""
    task = t.awaiting(one(t.me), one(t.me))
    above = t.act(task, "APPROVE", comment="x" * (LONGEST_COMMENT + 1)).status
    within = t.act(task, "APPROVE", comment="x" * LONGEST_COMMENT).status
    text = f"a comment of {LONGEST_COMMENT + 1} characters: {above}; of {LONGEST_COMMENT}: {within}"
    return told((above, within) == (400, 200), text)


def rejection_needs_no_comment(t: Trial) -> Verdict:
    """15."""
    status = t.act(t.awaiting(one(t.me)), "REJECT", comment=None).status
    return told(status == 200, f"REJECT without a comment: {status}")


def answers_follow_the_schemas(t: Trial) -> Verdict:
    """16."""
    comment = t.comment()
    task = t.do(t.awaiting(one(t.me), dueDate=DUE), "APPROVE", comment=comment)
    created = task.response(comment).get("created")
    found = [name for name in ("dueDate", "dueAt") if task.raw.get(name) is not None]
    found += [name for name in ("user", "user_id") if isinstance(created, dict) and created.get(name) is not None]
    return told(found == ["dueDate", "user"], f"set in an answer: {', '.join(found) or 'none of dueDate, dueAt, user, user_id'}")


def times_are_written_alike(t: Trial) -> Verdict:
    """17. Over several answers, because a precision may vary from one to the next."""
    comment = t.comment()
    task = t.do(t.awaiting(one(t.me), one(t.me)), "APPROVE", comment=comment)
    looks = [task, *(t.read(task).task for _ in range(3))]
    of_tasks = {_shape(look.raw.get(name)) for look in looks for name in ("created", "modified")}
    of_responses = {_shape(look.response(comment).get("created")) for look in looks}
    text = f"of a task: {' and '.join(sorted(of_tasks))}; of a response: {' and '.join(sorted(of_responses))}"
    return told(of_tasks == {"3 digits Z"} and of_responses == {"3 digits +00:00"}, text)


def changes_name_their_user(t: Trial) -> Verdict:
    """18."""
    task = t.make(one(t.me))
    missing = [name for name in ("created", "modified") if not author_of(task.raw.get(name))]
    return told(not missing, f"without a user: {', '.join(missing)}" if missing else "created and modified name a user")


def bad_bodies_are_refused(t: Trial) -> Verdict:
    """24."""
    task = t.awaiting(one(t.me))
    url = f"{t.url(task.id)}/actionSubmission"
    no_json = t.ask(t.request("POST", url, content=b"{")).status
    wrong: tuple[Any, ...] = ([], {}, {"action": 7})
    shapes = {t.ask(t.request("POST", url, body)).status for body in wrong}
    text = f"no JSON: {no_json}; wrong shapes: {', '.join(map(str, sorted(shapes)))}"
    holds = no_json == 400 and shapes == {400}
    if not t.slow:
        return told(holds, text + "; too large: not tried without --slow")
    large = t.ask(t.request("POST", url, content=b'{"action":"' + b"x" * LARGEST_BODY + b'"}'), patient=True).status
    return told(holds and large == 413, f"{text}; too large: {large}")


def creation_takes_no_status(t: Trial) -> Verdict:
    """25."""
    completed = t.post(one(t.me), status="Completed")
    chosen = "a-number-of-our-own"
    extra = t.post(one(t.me), id=chosen, sourceUrl="https://example.com/")
    ignored = extra.ok and extra.task.id != chosen and extra.task.raw.get("sourceUrl") != "https://example.com/"
    text = f"POST with status Completed: {completed.status}; with an id and a sourceUrl: {extra.status}"
    return told(completed.refused and ignored, text + (", ignored" if ignored else ""))


def participants_count_once(t: Trial) -> Verdict:
    """26."""
    empty = t.post(one())
    twice = t.post(every(t.me, t.me))
    text = f"POST of a step without participants: {empty.status}; of one that names a user twice: {twice.status}"
    if not twice.ok:
        return told(False, text)
    done = t.do(t.do(twice.task, "SUBMIT"), "APPROVE").done
    return told(empty.refused and done, f"{text}, which one APPROVE {'completes' if done else 'does not complete'}")


def _shape(action: Any) -> str:
    """How a time is written: its digits and its zone, never the time."""
    text = action.get("dateTime") if isinstance(action, dict) else None
    moment = written(text)
    if moment is None:
        return "no time"
    rest = str(text).partition(".")[2]
    digits = len(rest) - len(rest.lstrip("0123456789"))
    if moment.tzinfo is None:
        return f"{digits} digits without a zone"
    if moment.utcoffset() != timedelta(0):
        return f"{digits} digits, another zone"
    return f"{digits} digits {'Z' if str(text).endswith(('Z', 'z')) else '+00:00'}"
