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

from tests.faults.scene import Stage
from tests.faults.world import Effect, Plan, World, _plain
from worker.core.submission import ENDED, HELD
from worker.core.times import parse

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
        wrong = [e for e in standing if _astray(e) or _begun_under(world, e)]
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
    raced = any(since <= d.at <= entry.at for d in world.strangers[entry.task])
    if entry.step != send.plan_step and (not raced or (send.before and world.account.rules.when_exposed != "resend")):
        retry = "by a retry" if send.before else "by a first attempt that nobody raced"
        yield "NEXT-STEP", f"{plan.name} was meant for step {send.plan_step} and came on step {entry.step}, {retry}"
    issued = send.plan_issued
    if issued is None or look is None or issued.round in {entry.round, look.task.round}:
        return
    shows, at = world.scene.shows, (plan.step, plan.part)
    known = shows(issued, look.task, *at, None if plan.pinned else plan.command.issued_at)
    first = send.before[0].look if send.before else None
    if known or (first and shows(first.task, look.task, *at, None)):
        yield "WRONG-ROUND", f"{plan.name} was meant for round {issued.round} and came in round {entry.round}"


def _astray(effect: Effect) -> bool:
    """Whether it is on another step, on another part, or in another beginning of it than the look it rests on showed."""
    send, entry = effect.send, effect.entry
    if entry.step is None:
        return False
    if entry.step != send.plan_step or entry.part != send.plan.part:
        return True
    return entry.began is not None and send.look is not None and entry.began != send.look.task.began(entry.step, entry.part)


def _begun_under(world: World, effect: Effect) -> bool:
    """Whether it came in a review that was begun after the look it rests on, in a step that went on; and no later one hides that."""
    send, entry = effect.send, effect.entry
    if entry.part is None or entry.begun is None or send.look is None:
        return False
    return entry.begun != send.look.task.begun and world.scene.truth(entry.task).begun == entry.begun


def _stands(world: World, effect: Effect) -> bool:
    """Whether the upstream still shows it."""
    entry, task = effect.entry, world.scene.truth(effect.entry.task)
    if entry.step is None:
        return [e for e in world.recorded if e.task == entry.task][-1] is entry
    return any(a.user == entry.user and a.comment == entry.comment and a.at == entry.at for a in task.steps[entry.step - 1].answers)


def _clear(world: World, plan: Plan) -> bool:
    """Nothing speaks against deciding this one: all could be read, nobody else acted, the grant is proven."""
    command, task = plan.command, plan.issued.id
    alone = all(p is plan or p.issued.id != task for p in world.plans)
    return (
        command.action in {"approve", "close"}
        and not world.scene.exposed(task, world.grants[command.grant], plan.step)
        and alone
        and world.marks
        and world.proven
        and not world.scene.disturbed(world.strangers[task], plan.step, plan.part)
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
        rounds = world.scene.rounds(id_)
        if (told := sum(e["type"] == "task.restarted" for e in events)) > rounds:
            yield "EVENTS", f"{name}: {told} restarts were told, and there were {rounds}"
        completed = [e for e in events if e["type"] == "step.completed"]
        facts = [(e["data"]["step"], frozenset((r["actor"], r["at"]) for r in e["data"]["responses"])) for e in completed]
        for (step, by), times in Counter(facts).items():
            if times > 1 and by:  # what nobody answered may complete in each round
                yield "EVENTS", f"{name}: step {step} completed was told {times} times"
        yield from _complete(world, id_, facts)
        for event in completed:
            yield from _ordered(world, name, events, event)


def _complete(world: World, id_: str, facts: list[tuple[int, frozenset[tuple[str, str]]]]) -> Iterator[tuple[str, str]]:
    """What stands completed now, and came after the first look, was told; what came before was not."""
    for number, step in enumerate(world.scene.truth(id_).steps, 1):
        if not step.complete or not step.answers:
            continue
        last = max(step.answers, key=lambda a: a.at)
        told = [by for n, by in facts if n == number and by and all(_of(r, step) for r in by)]
        ours = any((e.entry.user, e.entry.at) == (last.user, last.at) for e in world.effects)
        if id_ in world.baselines and not told and step.plain and (world.options.watched or ours):
            yield "EVENTS", f"{world.short(id_)}: step {number} is complete, and nobody was told"
        if told and last.at < world.seen_first.get(id_, 0.0) - 1.0:
            yield "EVENTS", f"{world.short(id_)}: step {number} was complete before the first look, and was told"


def _of(told: tuple[str, str], step: Stage) -> bool:
    """Whether it stands, or stood in this round, where the upstream says when that began, and was replaced."""
    began = step.began.get(None)
    if began is not None:
        return parse(told[1]) >= began - 1.0
    return any(told[0] == a.user and abs(parse(told[1]) - a.at) < 1.0 for a in step.answers)


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
        wrong = [e for e in world.effects if e.send.plan is plan and _astray(e) and e.entry.step == step]
        if any(e.entry.comment == r["comment"] for e in wrong):
            about = [e for e in events if e["type"].startswith("submission.") and e["data"]["submission"]["id"] == plan.id]
            before = [e["type"].removeprefix("submission.") for e in about if int(e["sequence"]) < at]
            loud = [n for n, state in enumerate(before) if state in {"misapplied", "duplicated"}]
            resolved = loud and {"applied", "abandoned"} & set(before[loud[-1] :])  # by a person, before this was seen
            if not loud or not (completed["data"].get("disputed") or resolved):
                yield "EVENTS", f"{name}: step {step} completed holds the misplaced {plan.name} and is not disputed"
