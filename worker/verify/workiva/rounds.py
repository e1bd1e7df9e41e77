"""How a task lives: rounds, steps, who may do what, and what a change does to it."""

from worker.verify.verdict import CannotTell, Verdict, told, word
from worker.verify.workiva.trial import Trial, every, one, users


def response_moves_modified(t: Trial) -> Verdict:
    """1."""
    task = t.awaiting(one(t.me), one(t.me), one(t.me))
    still = []
    for action in ("APPROVE", "SKIP", "REJECT"):
        t.pause()
        after = t.do(task, action)
        if after.modified <= task.modified:
            still.append(action)
        task = after
    return told(not still, f"not moved by {', '.join(still)}" if still else "moved by APPROVE, SKIP and REJECT")


def rejection_returns(t: Trial) -> Verdict:
    """2."""
    comment = t.comment()
    task = t.do(t.awaiting(one(t.me)), "REJECT", comment=comment)
    stays = task.landed(comment) is not None
    return told(task.status == "Returned" and stays, f"after a REJECT: {word(task.status)}, its response {'stays' if stays else 'is gone'}")


def new_round_clears(t: Trial) -> Verdict:
    """3. Begun by RESTART; and by SUBMIT, where a rejected task takes one."""
    seen = []
    for how in ("RESTART", "SUBMIT"):
        old, new = t.comment(), t.comment()
        task = t.do(t.awaiting(one(t.me), one(t.me)), "APPROVE", comment=old)
        if how == "SUBMIT":
            task = t.do(task, "REJECT")
            if task.awaiting:
                continue  # a rejection that leaves the task awaiting is another number's business
        task = t.do(task, how)
        kept = task.landed(old) is not None
        task = task if task.awaiting else t.do(task, "SUBMIT")
        landed = t.do(task, "APPROVE", comment=new).landed(new)
        seen.append(("kept" if kept else "emptied", landed, how))
    text = "; ".join(f"{how}: responses {kept}, then on step {landed}" for kept, landed, how in seen)
    return told(all((kept, landed) == ("emptied", 1) for kept, landed, _ in seen), text)


def rejection_among_all(t: Trial) -> Verdict:
    """4. Held against a rejection on a ONE step, whatever that does."""
    alone = t.do(t.awaiting(one(t.me)), "REJECT")
    if alone.awaiting:
        raise CannotTell("here a rejection does not show in the status")
    among = t.do(t.awaiting(every(t.me, t.other)), "REJECT")
    return told(among.status == alone.status, f"after one REJECT: {word(among.status)}; on a ONE step: {word(alone.status)}")


def outsider_is_refused(t: Trial) -> Verdict:
    """5."""
    task = t.awaiting(one(t.other), one(t.me))
    statuses = [t.act(task, action).status for action in ("REJECT", "APPROVE")]
    return told(statuses == [403, 403], f"REJECT, APPROVE by a participant of the next step: {statuses[0]}, {statuses[1]}")


def second_response_is_refused(t: Trial) -> Verdict:
    """6."""
    task = t.do(t.awaiting(every(t.me, t.other)), "APPROVE")
    status = t.act(task, "APPROVE").status
    return told(status == 409, f"a second APPROVE by one user: {status}")


def action_must_fit(t: Trial) -> Verdict:
    """7."""
    task = t.awaiting(one(t.me))
    submitted = t.act(task, "SUBMIT").status
    task = t.do(task, "APPROVE")
    approved = t.act(task, "APPROVE").status
    return told((submitted, approved) == (409, 409), f"SUBMIT while awaiting: {submitted}; APPROVE when completed: {approved}")


def last_step_completes(t: Trial) -> Verdict:
    """8."""
    status = t.do(t.awaiting(one(t.me)), "APPROVE").status
    return told(status == "Completed", f"after the last APPROVE: {word(status)}")


def restart_awaits(t: Trial) -> Verdict:
    """9."""
    task = t.do(t.do(t.awaiting(one(t.me), one(t.me)), "APPROVE"), "RESTART")
    return told(task.awaiting, f"after RESTART: {word(task.status)}")


def roles_are_kept(t: Trial) -> Verdict:
    """10. The other one is a participant, so that they see the task, but neither assignee nor owner."""
    task = t.make(one(t.other))
    submitted = t.act(task, "SUBMIT", t.other).status
    if submitted == 200:
        task = t.read(task).task
    task = task if task.awaiting else t.do(task, "SUBMIT")
    cancelled = t.act(task, "CANCEL", t.other).status
    skipped = t.act(t.awaiting(one(t.other)), "SKIP").status
    text = f"SUBMIT, CANCEL by a participant: {submitted}, {cancelled}; SKIP by the owner: {skipped}"
    return told((submitted, cancelled, skipped) == (403, 403, 200), text)


def change_restarts(t: Trial) -> Verdict:
    """11. Told by the step that the next approval lands on: what a restart does to responses and status are other numbers."""
    task = t.do(t.awaiting(one(t.me), one(t.me), assignees=[]), "APPROVE")
    task = t.patch(task, assignees=users(t.me)).task
    task = task if task.awaiting else t.do(task, "SUBMIT")
    comment = t.comment()
    landed = t.do(task, "APPROVE", comment=comment).landed(comment)
    created = t.patch(t.make(one(t.me), assignees=[]), assignees=users(t.me)).task
    cancelled = t.patch(t.do(t.awaiting(one(t.me), assignees=[]), "CANCEL"), assignees=users(t.me)).task
    text = f"after a change of assignees the next APPROVE is on step {landed}; created: {word(created.status)}, cancelled: "
    return told((landed, created.status, cancelled.status) == (1, "Created", "Cancelled"), text + word(cancelled.status))


def patched_steps_keep_responses(t: Trial) -> Verdict:
    """13."""
    comment = t.comment()
    task = t.do(t.awaiting(one(t.me), one(t.me)), "APPROVE", comment=comment)
    task = t.patch(task, approvalSteps=[one(t.me), every(t.me)]).task
    landed = task.landed(comment)
    task = t.patch(task, approvalSteps=[one(t.me)]).task
    text = f"the response is {'gone' if landed is None else f'on step {landed}'}; when the open step is taken away: {word(task.status)}"
    return told(landed == 1 and task.done, text)


def deleted_is_not_found(t: Trial) -> Verdict:
    """27."""
    task = t.awaiting(one(t.me))
    deleted = t.delete(task).status
    status = t.act(task, "APPROVE").status
    return told(status == 404, f"DELETE: {deleted}; APPROVE after it: {status}")


def no_step_completes(t: Trial) -> Verdict:
    """30."""
    answer = t.act(t.make(), "SUBMIT")
    if not answer.ok:
        return told(False, f"SUBMIT: {answer.status}")
    return told(answer.task.done, f"SUBMIT: {word(answer.task.status)}")


def skip_completes(t: Trial) -> Verdict:
    """38. Told by the step that the next approval of the same user lands on."""
    task = t.do(t.awaiting(every(t.me, t.other), one(t.me)), "SKIP")
    comment = t.comment()
    answer = t.act(task, "APPROVE", comment=comment)
    landed = answer.task.landed(comment) if answer.ok else None
    return told(landed == 2, f"after one SKIP on an ALL step the next APPROVE is {'refused' if landed is None else f'on step {landed}'}")


def restart_fits_what_is_over(t: Trial) -> Verdict:
    """39. What SUBMIT and the responses fit is 7's."""
    completed = t.act(t.do(t.awaiting(one(t.me)), "APPROVE"), "RESTART").status
    cancelled = t.act(t.do(t.awaiting(one(t.me)), "CANCEL"), "RESTART").status
    created = t.act(t.make(one(t.me)), "RESTART")
    text = f"RESTART of a completed task: {completed}, of a cancelled one: {cancelled}, of a new one: {created.status}"
    return told((completed, cancelled) == (200, 200) and created.refused, text)
