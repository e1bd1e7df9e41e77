"""One world: the real flows, core, ledger and connector against a simulated upstream, with everything that may go wrong, in virtual time.

A tape of bytes decides all of it (`tape`), so a world can be run again, and made smaller. First the storm, as long as there is tape; then
the calm: nothing goes wrong any more, time runs on until nothing is due, past quiet periods and vigils. Then `judge` compares what the
ledger says with the sandbox's journal, which knows every effect by the comment that this harness chose for its command.

A conforming world keeps PROTOCOL's assumptions: no effect later than cut-off + slack after its request, no pause between gate and write and
no lag of reads beyond slack, clocks that do not jump. In another one effects may come hours late.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import sqlalchemy as sa

from tests.faults.autodesk import AutodeskScene
from tests.faults.scene import GRANTS, NAME, START, Deed, Look, Scene, Truth
from tests.faults.simulated import Broken, Simulated, answered, asked
from tests.faults.tape import Tape
from tests.faults.workiva import WorkivaScene
from worker.core.command import Command
from worker.core.pins import pin_of
from worker.core.submission import NotNow, Rules
from worker.errors import LedgerDown
from worker.flows import Runtime
from worker.flows.accept import accept
from worker.flows.poll import poll
from worker.flows.resolve import cancel, resolve
from worker.flows.submit import submit
from worker.ledger import Ledger, tables
from worker.sandbox.faults import Fault, Faulty, Script
from worker.upstreams.workiva import VERSIONS

SCENES: Mapping[str, Callable[[Any], Scene]] = {"workiva": WorkivaScene, "autodesk": AutodeskScene}

RULES = {"deadline": 25.0, "lease": 30.0, "cutoff": 29.0, "slack": 20.0}
LAG = 5.0
"""Seconds that a read may be behind the truth, and that lie between gate and write at most. With `LATE` below cut-off + slack."""
LATE = (2.0, 12.0, 30.0, 38.0)
TOO_LATE = (60.0, 110.0, 700.0, 4000.0)


@dataclass(frozen=True, slots=True)
class Options:
    """How likely things are. None: the tape decides."""

    conforming: bool = True
    faults: float = 0.5
    reads: float = 0.12
    late: float = 0.1
    lateness: float | None = None
    people: float = 0.04
    pauses: float = 0.05
    others: float = 0.05
    crash: float = 0.015
    ledger: float = 0.03
    stale: float = 0.05
    eager: float = 0.25
    by_hand: float = 0.08
    early: float = 0.0
    when_exposed: str | None = None
    exposed: bool | None = None
    frozen: bool | None = None
    marks: bool | None = None
    pinned: bool | None = None
    commands: int | None = None
    tasks: int | None = None
    plain: bool = False
    upstream: str = "workiva"
    version: str = next(iter(VERSIONS))
    replaces: bool | None = None
    """Autodesk: whether a second close of a part replaces the first."""
    goes_on: bool = False
    """Autodesk: a review that is sent again goes on where it was."""
    does: str = "anything"
    """Autodesk: what people do. "rounds": take items back and send them again; "beside": answer for themselves, or edit the item."""
    watched: bool = True
    """Whether anything but our own looks sees the tasks."""


class Crash(BaseException):
    """This worker is dead, in the middle of whatever it did."""


class Hand:
    """The clock of everything; only the world moves it."""

    now = START

    def __call__(self) -> float:
        return self.now


def new_ledger(path: str) -> tuple[Ledger, Hand]:
    """One ledger for many worlds: its file, its tables and its compiled SQL stay, its rows do not."""
    hand = Hand()
    ledger = Ledger(f"sqlite:///{path}", clock=hand, pool=4)
    ledger.migrate()
    return ledger, hand


@dataclass(slots=True, eq=False)
class Plan:
    """One command, and what its requester saw."""

    command: Command
    issued: Truth
    step: int | None
    part: str | None
    pinned: bool
    id: str = ""
    sends: list["Send"] = field(default_factory=list)
    person_took_over: bool = False

    @property
    def name(self) -> str:
        return self.command.comment or ""


@dataclass(slots=True, eq=False)
class Send:
    """One request with an effect that left a worker. `look`: what it rested on; `before`: earlier ones that may have had an effect."""

    plan: Plan
    look: Look | None
    at: float
    before: list["Send"]
    plan_step: int | None = None
    plan_issued: Truth | None = None
    proven_unsent: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """What the journal shows of a command."""

    entry: Deed
    send: Send


class Stopping(threading.Event):
    """A process's wish to stop; waiting is virtual."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def wait(self, timeout: float | None = None) -> bool:
        self._world.pass_time(timeout or 0.0)
        return self.is_set()


class Verbs:
    """The ledger's verbs, and how a process or a connection dies around a commit."""

    def __init__(self, verbs: Any, world: "World") -> None:
        self._verbs, self._world = verbs, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verbs, name)

    def claim(self, *args: Any, **more: Any) -> Any:
        return self._world.around("claim", lambda: self._verbs.claim(*args, **more))

    def settle(self, *args: Any, **more: Any) -> Any:
        return self._world.around("settle", lambda: self._verbs.settle(*args, **more))

    def accept(self, *args: Any, **more: Any) -> Any:
        return self._world.around("accept", lambda: self._verbs.accept(*args, **more))


class Brittle:
    """The ledger as one process has it."""

    def __init__(self, ledger: Ledger, world: "World") -> None:
        self._ledger = ledger
        self.submissions = Verbs(ledger.submissions, world)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class World:
    """See the module."""

    def __init__(self, tape: Tape, options: Options, ledger: Ledger, hand: Hand) -> None:
        self.tape, self.options, self.ledger, self.hand = tape, options, ledger, hand
        hand.now = START
        self.trace: list[str] = []
        self.stack: list[tuple[str, Runtime]] = []
        self.workers = 0
        self.script = Script()
        self.scene = SCENES[options.upstream](self)
        self.upstream = Faulty(self.scene.upstream, self.script, cutoff=RULES["cutoff"])
        self.recorded: list[Deed] = []
        self.late: dict[int, Send] = {}
        self.effects: list[Effect] = []
        self.plans: list[Plan] = []
        self.strangers: dict[str, list[Deed]] = defaultdict(list)
        self.answered: dict[tuple[str, str], float] = {}
        self.seen_first: dict[str, float] = {}
        self.baselines: set[str] = set()
        self.blind: set[str] = set()
        self.unread: set[str] = set()
        self.stuck = False
        self._wipe()
        self._make()

    # -- what there is

    def _wipe(self) -> None:
        o, tape = self.options, self.tape
        self.proven = not tape.happens(0.15)

        def work(c: sa.Connection) -> None:
            for table in reversed(tables.metadata.sorted_tables):
                c.execute(sa.delete(table))
            if self.proven:
                rows = [{"account": NAME, "grant": g, "acts_as": u, "state": "proven", "at": START} for g, u in self.grants.items()]
                c.execute(sa.insert(tables.grants), rows)

        self.grants = GRANTS
        self.ledger.database.write(work)
        self.marks = o.marks if o.marks is not None else not tape.happens(0.15)
        drawn = self.scene.draw()
        exposed = o.when_exposed or tape.pick(("once", "once", "resend", "resend", "park"))
        self.account = self.scene.account(Rules(**RULES, when_exposed=exposed, marks=self.marks))  # type: ignore[arg-type]
        self.say(f"world: when_exposed={exposed} marks={self.marks} proven={self.proven} {drawn}")

    def _make(self) -> None:
        o, tape = self.options, self.tape
        self.scene.make()
        self.pass_time(1000.0)
        self.ids = self.scene.ids
        self.to_come = o.commands or tape.pick((1, 1, 2, 2, 3, 4))
        feed = tape.happens(0.3)
        watches = [self.ledger.watches.add(NAME, id_, 300.0) for id_ in ([""] if feed else self.ids)]
        if tape.happens(0.5) or not o.watched:
            self.quietly(lambda: self.work(poll))
            self.baselines = set(self.ids)
        for watch in () if o.watched else watches:
            self.ledger.watches.remove(watch.id)

    def boot(self) -> float:
        """The boot-time clock."""
        return self.hand.now - START + 5000.0

    def short(self, id_: str) -> str:
        return "T" + str(self.scene.ids.index(id_) + 1)

    def say(self, text: str) -> None:
        who = self.stack[-1][0] if self.stack else "--"
        self.trace.append(f"{self.hand.now - START - 1000:9.2f} {who:3} {text}")

    def quietly(self, act: Callable[[], Any]) -> None:
        """Without anything special."""
        tape, self.tape = self.tape, Tape(b"")
        try:
            act()
        finally:
            self.tape = tape

    # -- time, people, other workers

    def pass_time(self, seconds: float) -> None:
        """Let time pass; effects come when they are due."""
        until = self.hand.now + seconds
        while due := sorted((p for p in self.upstream.pending if p.due <= until), key=lambda p: p.due):
            self.hand.now = max(self.hand.now, due[0].due)
            self.upstream.land(due[0])
            self._note(self.late.pop(id(due[0]), None), "comes late: ")
        self.hand.now = until
        self.scene.settle()
        self._note(None)

    def _note(self, send: Send | None, how: str = "") -> None:
        """Take down what has been done since the last time."""
        for e in self.scene.deeds(len(self.recorded)):
            self.recorded.append(e)
            self.say(f"{how}{e.by} {e.user} {e.action} {e.comment or ''} on {self.short(e.task)} step {e.step} round {e.round}")
            if e.by == "person":
                self.strangers[e.task].append(e)
            elif send and e.by == "api":
                self.effects.append(Effect(e, send))
            self.answered[e.task, e.user] = self.hand.now

    def answered_lately(self, id_: str, who: str) -> bool:
        """Two responses of one person do not come this close (C2)."""
        return self.hand.now - self.answered.get((id_, who), 0.0) < 1.5

    def moment(self, *, bounded: bool = False) -> None:
        """Between two steps of a worker."""
        o = self.options
        if bounded:
            happens = self.tape.event([("pause", o.pauses), ("person", o.people)])
        else:
            happens = self.tape.event([("person", o.people), ("pause", o.pauses), ("other", o.others), ("crash", o.crash), ("stop", 0.005)])
        match happens:
            case "pause":
                self.pass_time(self.tape.pick((0.3, 1.5, 4.0) if bounded else (0.3, 1.5, 4.0, 31.0, 90.0, 200.0)))
                self.say("was paused")
            case "person":
                self.person()
            case "other" if len(self.stack) < 3:
                self.pass_time(self.tape.pick((0.0, 31.0, 90.0)))
                self.work(submit if not self.tape.happens(0.2) else poll)
            case "crash" if self.stack:
                raise Crash
            case "stop" if self.stack:
                self.stack[-1][1].stopping.set()

    def person(self) -> None:
        """Somebody acts in the upstream's own pages."""
        id_ = self.ids[0] if len(self.ids) == 1 else self.tape.pick(self.ids)
        self.scene.person(id_, by_hand=self.tape.happens(self.options.by_hand))
        self._note(None)
        self.pass_time(0.05)

    def runtime(self) -> Runtime:
        """What one process works with."""
        return Runtime(
            ledger=Brittle(self.ledger, self),  # type: ignore[arg-type]
            engine=Simulated(self),  # type: ignore[arg-type]
            accounts={NAME: self.account},
            sinks={},
            dice=lambda: 0.5,
            stopping=Stopping(self),
            turn=1e9,
        )

    def work(self, verb: Callable[[Runtime, str], Any] = submit) -> None:
        """A worker process takes a turn."""
        self.workers += 1
        rt = self.runtime()
        self.stack.append((f"w{self.workers}", rt))
        try:
            verb(rt, NAME)
        except Crash:
            self.say("CRASH")
        except LedgerDown:
            self.say("the ledger is down")
        finally:
            self.stack.pop()

    def around(self, what: str, verb: Callable[[], Any]) -> Any:
        """A transaction, and what may become of it."""
        p = self.options.ledger / 5
        happens = self.tape.event([(n, p) for n in ("crash before", "crash after", "down before", "down after", "pause after")])
        if happens:
            self.say(f"{what}: {happens} the commit")
        if happens == "crash before":
            raise Crash
        if happens == "down before":
            raise LedgerDown("cannot be reached")
        out = verb()
        if happens == "crash after":
            raise Crash
        if happens == "down after":
            raise LedgerDown("the commit's outcome is unknown")
        if happens == "pause after":
            self.pass_time(self.tape.pick((1.0, 3.0, 31.0, 90.0)))
        for begun in getattr(out, "begun", ()):
            self.say(f"in_doubt is written: {begun.submission.command.comment}#{begun.attempt.n}")
        for s in getattr(out, "told", ()):
            self.say(f"{s.command.comment} is {s.state}: {s.reason}")
            if s.state == "parked" and s.command.comment in self.unread:
                self.blind.add(s.command.comment)
        return out

    # -- an exchange

    def task_of(self, request: httpx.Request) -> str:
        """The id of the task that it is about, or "" where it is about many or none."""
        return (self.upstream.upstream.task_of(asked(request)) or "").partition("/")[0]

    def exchange(self, ex: Any, request: httpx.Request) -> httpx.Response:
        """One request reaches the upstream or does not, and its answer comes or does not. Raises Broken."""
        task, act = self.task_of(request), request.method == "POST"
        fault = self._fate(act)
        send, look, whole = None, None, False
        if act and (fault is None or fault.what != "refuse"):
            send = self._send(ex)
        if not act and task:
            # Of one look the later reads lag no more than the earlier ones: an item is read before its steps.
            ex.behind = min(ex.behind, fault.seconds or 0.0 if fault and fault.what == "stale" else 0.0)
            if fault and fault.what == "stale":
                fault = replace(fault, seconds=ex.behind)
            look, whole = self.scene.glance(request, ex.behind, ex.look)
        if fault:
            self.script.add(fault)
            if not act and fault.what not in {"stale", "expire"}:
                self.unread.add(self.asker(ex.tag) or "")
        delivery = self.upstream(asked(request))
        self.script.clear()
        told = f"{self.text(request)}{' ~ ' + _told(fault) if fault else ''}"
        if act or fault:
            self.say(told)
        if delivery.pending and send:
            self.late[id(delivery.pending)] = send
        self._note(send, "effect: ")
        limit = max(0.0, ex.until - self.boot())
        if delivery.how == "refuse":
            ex.handed = False  # no connection, so the body was never asked for
            raise Broken("connect")
        if delivery.how in {"reset", "close", "half_head", "half_body", "garbage"}:
            self.pass_time(0.02)
            raise Broken("answer lost")
        wait = delivery.wait or self.tape.pick((0.02, 0.02, 0.02, 0.5, 3.0))
        self.pass_time(min(wait, limit))
        if wait >= limit or delivery.how == "stall":
            raise Broken("deadline")
        response = delivery.answer()
        if response is None or response.headers.get("Content-Encoding"):
            raise Broken("answer lost")
        if send and response.status in {401, 429}:
            send.proven_unsent = True
        if response.status == 200 and task:  # who acts, and the project's responses, are asked between the reads of one look
            ex.look = look
        if not act and response.status == 200 and whole:
            for id_ in [task] if task else self.ids:
                self.seen_first.setdefault(id_, look.at if look else self.hand.now - LAG)
        if look and whole and response.status == 200 and (name := self.asker(ex.tag)) is not None:
            ex.bag.looks[name] = look
            self.unread.discard(name)
        self.moment()
        return answered(response, request)

    def _send(self, ex: Any) -> Send:
        name = self.asker(ex.tag)
        plan = next(p for p in self.plans if p.name == name)
        before = [s for s in plan.sends if not s.proven_unsent]
        send = Send(plan, ex.bag.looks.get(name or ""), self.hand.now, before, plan.step, plan.issued)
        plan.sends.append(send)
        return send

    def _fate(self, act: bool) -> Fault | None:
        o, tape = self.options, self.tape
        happens = tape.event(
            [("late", o.late if act else 0.0), ("stale", 0.0 if act else o.stale), ("fault", o.faults if act else o.reads)]
        )
        if happens == "late":
            seconds = o.lateness or tape.pick(LATE if o.conforming or tape.happens(0.3) else TOO_LATE)
            return Fault("*", "late", seconds=seconds, status=tape.pick((None, None, 502, 409)))
        if happens == "stale":
            return Fault("*", "stale", seconds=tape.pick((0.3, 1.0, LAG)))
        if not happens:
            return None
        if not act:
            return tape.pick(READS)
        return tape.pick(ACTS)

    @staticmethod
    def asker(tag: Any) -> str | None:
        """The command that a look or a send is made for."""
        claimed = getattr(tag, "claimed", None) or getattr(tag, "begun", None)
        return claimed.submission.command.comment if claimed else None

    def text(self, request: httpx.Request) -> str:
        """A request in a few words."""
        id_ = self.task_of(request)
        what = self.short(id_) if id_ else request.url.path.rpartition("/")[2]
        return f"{request.method} {what} {_comment(request) or ''}".strip()

    # -- the requester

    def command(self) -> None:
        """A new command comes in: issued after a look, accepted some time later."""
        self.to_come -= 1
        o, tape = self.options, self.tape
        id_ = self.ids[0] if len(self.ids) == 1 else tape.pick(self.ids)
        wish, task = self.scene.wish(id_), self.scene.truth(id_)
        pinned = (tape.happens(0.5) if o.pinned is None else o.pinned) and wish.step is not None
        name = f"C{len(self.plans) + 1}"
        command = Command(
            key=f"k{name}",
            account=NAME,
            grant=wish.grant,
            task=f"{id_}/{wish.part}" if wish.part else id_,
            action=wish.action,
            issued_at=self.hand.now,
            pin=self._pin(id_, wish.step) if pinned and wish.step else None,
            step=None if pinned else wish.step,
            comment=name,
            not_after=self.hand.now + tape.pick((300.0, 600.0, 1200.0, 150.0)),
            wait_for_turn=not o.plain and tape.happens(0.5),
            **wish.fields,
        )
        plan = Plan(command, task, wish.step, wish.part, pinned)
        self.plans.append(plan)
        self.say(f"{name}: {wish.grant} is to {wish.action} {self.short(id_)} step {wish.step}{' (pinned)' if pinned else ''}")
        self.pass_time(0.05)
        if tape.happens(o.early):
            self.person()
        self.pass_time(tape.pick((0.05, 0.05, 5.0, 60.0)))
        while not plan.id:
            self.work(lambda rt, _: self._accept(rt, plan))
            self.pass_time(0.05)

    def _accept(self, rt: Runtime, plan: Plan) -> None:
        plan.id = accept(rt, [plan.command])[0].id  # type: ignore[union-attr]  # there is nothing to reject

    def _pin(self, id_: str, number: int) -> str:
        """What `approvals task show` would print."""
        found: list[Any] = []

        def ask() -> None:
            flow = self.account.connector.read(id_)
            token = self._token()
            try:
                request = next(flow)
                while True:
                    request.headers["authorization"] = f"Bearer {token}"
                    request = flow.send(answered(self.upstream(asked(request)).answer(), request))
            except StopIteration as end:
                found.append(end.value)

        self.quietly(ask)
        return pin_of(self.account.connector.realm, found[0], number).token()

    def _token(self) -> str:
        flow = self.account.connector.credentials("me").fetch()
        request = next(flow)
        try:
            flow.send(answered(self.upstream(asked(request)).answer(), request))
        except StopIteration as end:
            return str(end.value.value)
        raise AssertionError

    def decide(self) -> None:
        """A person looks after what is parked, with the truth before their eyes; or cancels what waits."""
        rows = {r.id: r.state for r in self.ledger.queries.listed()}
        for plan in self.plans:
            try:
                if rows.get(plan.id) in {"parked", "misapplied", "duplicated"}:
                    self._resolve(plan)
                elif rows.get(plan.id) in {"pending", "waiting"} and self.tape.happens(0.5):
                    cancel(self.runtime(), plan.id)
                    self.say(f"{plan.name}: a person cancels it")
            except NotNow:
                pass

    def _resolve(self, plan: Plan) -> None:
        done = any(e.send.plan is plan for e in self.effects)
        pending = any(s.plan is plan for s in self.late.values())
        id_ = plan.issued.id
        ready = None if done or pending else self.scene.again(id_, plan.command)
        step = ready if ready and self.tape.happens(0.6) else None
        verdict: Any = "applied" if done else "retry" if step else "abandoned"
        self.quietly(lambda: resolve(self.runtime(), plan.id, verdict, "seen", self._pin(id_, step) if step else None))
        self.say(f"{plan.name}: a person resolves it as {verdict}")
        if step:
            plan.issued, plan.pinned, plan.sends = self.scene.truth(id_), True, []
            plan.step = step if plan.step else None
        else:
            plan.person_took_over = True

    # -- the two halves

    def run(self) -> None:
        """The storm, then the calm."""
        self.command()
        for _ in range(24):
            if self.tape.spent or (not self.to_come and self._due() is None):
                break
            self._turn()
        self.tape.end()
        while self.to_come:
            self.command()
        for _ in range(250):
            due = self._due()
            if due is None and not self.upstream.pending:
                break
            self.pass_time(max(7.0, min(due or 1e12, *[p.due for p in self.upstream.pending], 1e12) - self.hand.now))
            self.work()
        else:
            self.stuck = True
        self.pass_time(400.0)
        self.work(poll)

    def _turn(self) -> None:
        match self.tape.event(
            [("command", 0.3 if self.to_come else 0.0), ("person", self.options.people), ("poll", 0.06), ("decide", 0.04)]
        ):
            case "command":
                self.command()
            case "person":
                self.person()
            case "poll":
                self.work(poll)
            case "decide":
                self.decide()
            case _:
                due = self._due()
                wait = 0.0 if due is None else max(0.0, due - self.hand.now)
                self.pass_time(self.tape.pick((wait, wait, wait, wait, wait + 1.0, wait + 8.0, 35.0, 95.0)))
                if wait < 100.0:
                    self.work()

    def _due(self) -> float | None:
        with self.ledger.database.read() as c:
            found: float | None = c.exec_driver_sql("SELECT min(next_at) FROM submissions").scalar()
        return found


def _comment(request: httpx.Request) -> str | None:
    import json

    if request.method != "POST" or request.content[:1] != b"{":
        return None
    body: dict[str, str | None] = json.loads(request.content)
    return body.get("comment") or body.get("responseComment")


def _plain(comment: str | None) -> str:
    return (comment or "").split(" [")[0]


def _told(fault: Fault) -> str:
    more: Mapping[str, Any] = {"status": fault.status, "seconds": fault.seconds, "retry_after": fault.retry_after}
    either = {"reset", "close", "stall", "status", "slow"}
    return " ".join([fault.what, *([fault.when] if fault.what in either else []), *[f"{k}={v}" for k, v in more.items() if v is not None]])


ACTS = (
    Fault("*", "reset", when="after"),
    Fault("*", "reset", when="before"),
    Fault("*", "close", when="after"),
    Fault("*", "half_body"),
    Fault("*", "half_head"),
    Fault("*", "garbage"),
    Fault("*", "malformed"),
    Fault("*", "bad_gzip"),
    Fault("*", "status", when="after", status=500),
    Fault("*", "status", when="before", status=503),
    Fault("*", "status", when="before", status=409),
    Fault("*", "status", when="before", status=400),
    Fault("*", "slow", seconds=20.0),
    Fault("*", "slow", seconds=27.0),
    Fault("*", "slow", seconds=33.0, when="after"),
    Fault("*", "slow", seconds=36.0),
    Fault("*", "stall", when="before"),
    Fault("*", "throttle", retry_after=4),
    Fault("*", "throttle"),
    Fault("*", "expire"),
    Fault("*", "refuse"),
)
READS = (
    Fault("*", "reset"),
    Fault("*", "status", status=503),
    Fault("*", "throttle", retry_after=3),
    Fault("*", "expire"),
    Fault("*", "malformed"),
    Fault("*", "refuse"),
    Fault("*", "slow", seconds=8.0, when="after"),
    Fault("*", "stall"),
)
