"""What must hold at the end of a world, by the sandbox's journal alone: it knows what took effect, where, and in which round.

DOUBLED              a submission took effect twice
NEXT-STEP            an effect on another step than commanded, with nobody else acting between the look it rests on and its coming (A12)
WRONG-ROUND          an effect in another round than commanded, though the look it rests on showed that the round had changed
FALSE-APPLIED        applied, and nothing took effect
FALSE-END            superseded, refused, expired or cancelled, and the effect stands
UNTOLD               a wrong effect that the upstream still shows, and no submission.misapplied or .duplicated tells of it
LOST                 neither ended nor held for a person
STUCK                due for ever
PARKED-FOR-NOTHING   parked, though nothing spoke against deciding it
EVENTS               a step's completion not told exactly once, a gap in a task's sequence, a wrong order, something of the past, or a
                     restart that never was
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.world import Effect, Plan, World, _plain
from worker.core.submission import ENDED, HELD
from worker.core.times import parse
from worker.sandbox.life import Task

IN_ANY_WORLD = frozenset({"UNTOLD", "LOST", "STUCK", "EVENTS"})
"""What must hold even where the assumptions do not."""


def judge(world: World) -> list[tuple[str, str]]:
    """Every broken invariant, with what broke it."""
    broken = [*_submissions(world), *_events(world)]
    if world.stuck:
        broken.append(("STUCK", "due for ever"))
    return [b for b in broken if world.options.conforming or b[0] in IN_ANY_WORLD]


def _submissions(world: World) -> Iterator[tuple[str, str]]:
    rows = {r.id: r for r in world.ledger.queries.listed()}
    told: dict[str, set[str]] = defaultdict(set)
    for _, event in world.ledger.queries.events(limit=5000):
        if event["type"].startswith("submission."):
            told[event["data"]["submission"]["id"]].add(event["type"].removeprefix("submission."))
    for plan in world.plans:
        row, effects = rows[plan.id], [e for e in world.effects if e.send.plan is plan]
        if len(effects) > 1:
            yield "DOUBLED", f"{plan.name} took effect {len(effects)} times"
        for e in effects:
            yield from _misplaced(world, e)
        standing = [e for e in effects if _stands(world, e)]
        if row.state == "applied" and not effects:
            yield "FALSE-APPLIED", plan.name
        if row.state in {"superseded", "refused", "expired", "cancelled"} and standing:
            yield "FALSE-END", f"{plan.name} is {row.state}: {row.reason}"
        wrong = [e for e in standing if e.entry.step is not None and e.entry.step != e.send.plan_step]
        if (wrong or len(standing) > 1) and not told[plan.id] & ({"misapplied", "duplicated"} | (set() if world.marks else {"parked"})):
            yield "UNTOLD", f"{plan.name} on step {', '.join(str(e.entry.step) for e in standing)}"
        if row.state not in ENDED | HELD:
            yield "LOST", f"{plan.name} is {row.state}: {row.reason}, due {row.next_at and row.next_at - world.hand.now}"
        if row.state == "parked" and _clear(world, plan):
            yield "PARKED-FOR-NOTHING", f"{plan.name}: {row.reason}"


def _misplaced(world: World, effect: Effect) -> Iterator[tuple[str, str]]:
    send, entry = effect.send, effect.entry
    plan, look = send.plan, send.look
    if entry.step is None or send.plan_step is None:
        return
    since = look.at if look else 0.0
    raced = any(since <= at <= entry.at for at in world.strangers[entry.task])
    if entry.step != send.plan_step and (not raced or (send.before and world.account.rules.when_exposed != "resend")):
        retry = "by a retry" if send.before else "by a first attempt that nobody raced"
        yield "NEXT-STEP", f"{plan.name} was meant for step {send.plan_step} and came on step {entry.step}, {retry}"
    issued = send.plan_issued
    if issued is None or look is None or issued.round in {entry.round, look.task.round}:
        return
    known = _shows(issued, look.task) if plan.pinned else _moved(look.task) and look.task.modified_at > plan.command.issued_at
    if known or (send.before and send.before[0].look and _shows(send.before[0].look.task, look.task)):
        yield "WRONG-ROUND", f"{plan.name} was meant for round {issued.round} and came in round {entry.round}"


def _answers(task: Task) -> list[tuple[str, str, float]]:
    return [(a.user, a.action, a.at) for s in task.steps for a in s.answers]


def _moved(task: Task) -> bool:
    """Whether the task was modified last by something that left no response."""
    return all(abs(at - task.modified_at) > 1.0 for _, _, at in _answers(task))


def _shows(before: Task, after: Task) -> bool:
    """Whether a client that saw both can tell that something other than responses has happened."""
    standing = _answers(after)
    return any(a not in standing for a in _answers(before)) or (after.modified_at != before.modified_at and _moved(after))


def _stands(world: World, effect: Effect) -> bool:
    """Whether the upstream still shows it."""
    entry, task = effect.entry, world.workspace.tasks[effect.entry.task]
    if entry.step is None:
        return [e for e in world.workspace.journal if e.task == entry.task][-1] is entry
    return any(a.user == entry.user and a.comment == entry.comment and a.at == entry.at for a in task.steps[entry.step - 1].answers)


def _clear(world: World, plan: Plan) -> bool:
    """Nothing speaks against deciding this one: all could be read, nobody else acted, the grant is proven."""
    command = plan.command
    task = world.workspace.tasks[command.task]
    user = world.grants[command.grant]
    exposed = any(user in s.participants for s in task.steps[(plan.step or 0) :])
    alone = all(p is plan or p.command.task != command.task for p in world.plans)
    return (
        command.action == "approve"
        and not exposed
        and alone
        and world.marks
        and world.proven
        and not world.frozen
        and not world.strangers[command.task]
        and len([s for s in plan.sends if not s.proven_unsent]) < 5
        and not plan.person_took_over
        and plan.name not in world.blind
    )


def _events(world: World) -> Iterator[tuple[str, str]]:
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, event in world.ledger.queries.events(limit=5000):
        by_task[event["subject"]].append(dict(event))
    for id_ in world.ids:
        events, name = by_task[id_], world.short(id_)
        numbers = [int(e["sequence"]) for e in events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield "EVENTS", f"{name}: the sequence is {numbers}"
        rounds = [e for e in world.workspace.journal if e.task == id_ and e.action in {"SUBMIT", "RESTART"}]
        if (told := sum(e["type"] == "task.restarted" for e in events)) > len(rounds):
            yield "EVENTS", f"{name}: {told} restarts were told, and there were {len(rounds)}"
        completed = [e for e in events if e["type"] == "step.completed"]
        facts = [(e["data"]["step"], frozenset((r["actor"], r["at"]) for r in e["data"]["responses"])) for e in completed]
        for (step, _), times in Counter(facts).items():
            if times > 1:
                yield "EVENTS", f"{name}: step {step} completed was told {times} times"
        yield from _complete(world, id_, facts)
        for event in completed:
            yield from _ordered(world, name, events, event)


def _complete(world: World, id_: str, facts: list[tuple[int, frozenset[tuple[str, str]]]]) -> Iterator[tuple[str, str]]:
    """What stands completed now, and came after the first look, was told; what came before was not."""
    task = world.workspace.tasks[id_]
    for number, step in enumerate(task.steps, 1):
        if not step.complete(task.round) or any(a.action == "REJECT" for a in step.answers):
            continue
        at = max(a.at for a in step.answers)
        ours = [f for f in facts if f[0] == number and {a for a, _ in f[1]} <= {a.user for a in step.answers}]
        newest = [f for f in ours if f[1] and abs(max(parse(t) for _, t in f[1]) - at) < 1.0]
        if id_ in world.baselines and not newest and all(a.action == "APPROVE" for a in step.answers):
            yield "EVENTS", f"{world.short(id_)}: step {number} is complete, and nobody was told"
        if newest and at < world.seen_first.get(id_, 0.0) - 1.0:
            yield "EVENTS", f"{world.short(id_)}: step {number} was complete before the first look, and was told"


def _ordered(world: World, name: str, events: list[dict[str, Any]], completed: dict[str, Any]) -> Iterator[tuple[str, str]]:
    at, step = int(completed["sequence"]), completed["data"]["step"]
    for r in completed["data"]["responses"]:
        for e in events:
            same = e["type"] == "response.recorded" and (e["data"]["response"]["actor"], e["data"]["response"]["at"]) == (
                r["actor"],
                r["at"],
            )
            if same and int(e["sequence"]) > at:
                yield "EVENTS", f"{name}: step {step} completed came before the response that completes it"
        plan = next((p for p in world.plans if p.name == _plain(r["comment"])), None)
        if plan is None or not world.marks:
            continue
        wrong = [e for e in world.effects if e.send.plan is plan and e.entry.step != e.send.plan_step and e.entry.step == step]
        if any(e.entry.comment == r["comment"] for e in wrong):
            told = [e for e in events if e["type"] == "submission.misapplied" and e["data"]["submission"]["id"] == plan.id]
            told += [e for e in events if e["type"] == "submission.duplicated" and e["data"]["submission"]["id"] == plan.id]
            if not completed["data"].get("disputed") or not any(int(t["sequence"]) < at for t in told):
                yield "EVENTS", f"{name}: step {step} completed holds the misplaced {plan.name} and is not disputed"
