"""One sandbox, whole: its clock, its upstreams, its faults; and `/_control`, by which a test steers it.

GET    /_control/journal?task=ID      every effect that took place, in order: what doubles are counted with
GET    /_control/faults               the script, with how often each was met and has struck
POST   /_control/faults               one fault or an array of them -> their ids
DELETE /_control/faults               none any more; effects that are still to come do come
GET    /_control/tasks                the truth of every task          POST: makes one (`shapes.made`)
GET    /_control/tasks/ID             the truth of one, its round and active step included
POST   /_control/person               {"task", "action", "user"?, "comment"?} or {"task", "patch": [operation]}: a person acts
GET    /_control/assumptions          the numbered list, with the value in force        POST: {"switch": value}
POST   /_control/clients              {"client_id", "client_secret", "user"}: another grant
POST   /_control/tokens               {"expires_in"?: seconds of those to come, "expire"?: true: none is valid any more}
POST   /_control/clock                {"offset": seconds}: the upstream's clock against the machine's
GET    /_control/stats                requests by route, the most at once and in any second, ten seconds and minute, answers by status
POST   /_control/reset                no tasks, journal, faults, stats; switches as at first

GET    /_control/autodesk/items       the truth of every item          POST: makes one (`Project.make`)
GET    /_control/autodesk/items/ID    the truth of one, its round, active step and the references of its tasks included
POST   /_control/autodesk/people      {"id", "roles", "companies", "groups"}: a member; without roles, a stranger
POST   /_control/autodesk/templates   {"name", "steps"}: a review template
POST   /_control/autodesk/responses   {"value", "isApproval", "isActive", "categoryId", "id"?}: one more, or one changed
POST   /_control/autodesk/grants      {"client_id"?, "user"?, "scope"?}: tokens as after a consent
GET    /_control/autodesk/grants      every consent, how often it was renewed, and the refresh token that is good now
POST   /_control/autodesk/accounts    {"id", "client_id", "keys": {kid: PEM}}: a service account
POST   /_control/autodesk/consents    {"user"}: who consents from now on; "": nobody; null: the client's user
POST   /_control/autodesk/tokens      {"refresh_expires_in"?, "forget"?: true: no refresh token is valid any more}
"""

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from worker.sandbox import assumptions, autodesk, shapes, submittal_json
from worker.sandbox.assumptions import Switches
from worker.sandbox.authentication import App
from worker.sandbox.autodesk import Autodesk
from worker.sandbox.exchange import Clock, Request, Response, answer
from worker.sandbox.faults import CUTOFF, Fault, Faulty, Script
from worker.sandbox.project import Project
from worker.sandbox.workiva import Workiva
from worker.sandbox.workspace import Client, Workspace

ROOT = "/_control"


@dataclass(slots=True)
class Shifted:
    """A clock that can be set against the machine's."""

    clock: Clock = time.time
    offset: float = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch, as the upstream believes."""
        return self.clock() + self.offset


WINDOWS = (1, 10, 60)
"""Seconds."""

UNCOUNTED = frozenset({"token", "consent", "revoke", "introspect", "keys"})
"""Routes that no limit of a minute is for."""


@dataclass(slots=True)
class Busiest:
    """The most requests that came in any window of so many seconds, wherever it begins."""

    seconds: int
    most: int = 0
    times: deque[float] = field(default_factory=deque)

    def add(self, at: float) -> None:
        """One more."""
        self.times.append(at)
        while self.times[0] <= at - self.seconds:
            self.times.popleft()
        self.most = max(self.most, len(self.times))


@dataclass(slots=True)
class Stats:
    """What came in. `second` counts by the sandbox's clock; `busiest`: for each upstream, the most in a window; `answers`: for each
    upstream, by status.
    """

    requests: Counter[str] = field(default_factory=Counter)
    second: Counter[int] = field(default_factory=Counter)
    busiest: dict[str, tuple[Busiest, ...]] = field(default_factory=dict)
    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    now: int = 0
    most: int = 0

    def begun(self, route: str, at: float) -> None:
        """A request came in."""
        self.requests[route] += 1
        upstream, _, operation = route.partition(".")
        if operation not in UNCOUNTED:
            for window in self.busiest.setdefault(upstream, tuple(Busiest(seconds) for seconds in WINDOWS)):
                window.add(at)
        self.second[int(at)] += 1
        self.now += 1
        self.most = max(self.most, self.now)

    def ended(self) -> None:
        """It was answered, or its connection is gone."""
        self.now -= 1

    def json(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "requests": dict(self.requests),
            "concurrency": self.now,
            "max_concurrency": self.most,
            "busiest": {upstream: {str(w.seconds): w.most for w in windows} for upstream, windows in self.busiest.items()},
            "answers": {upstream: {str(status): n for status, n in sorted(by.items())} for upstream, by in self.answers.items()},
            "per_second": [[second, count] for second, count in sorted(self.second.items())],
        }


class Sandbox:
    """Everything one sandbox consists of. `upstreams`: where each one is mounted. *made*: ids of tasks and items go on after that many."""

    def __init__(self, *, clock: Clock = time.time, script: Script | None = None, cutoff: float = CUTOFF, made: int = 0) -> None:
        self.clock = Shifted(clock)
        self.script = script or Script()
        effects: list[Any] = []
        self.workspace = Workspace(self.clock, journal=effects, made=made)
        self.workiva = Workiva(self.workspace)
        self.project = Project(self.clock, journal=effects, made=made)
        self.autodesk = Autodesk(self.project)
        self.upstreams = {
            self.workiva.prefix: Faulty(self.workiva, self.script, cutoff=cutoff),
            self.autodesk.prefix: Faulty(self.autodesk, self.script, cutoff=autodesk.CUTOFF),
        }
        self.stats = Stats()
        self.shut: Callable[[float], None] | None = None
        """Closes the port for so many seconds: set by the server, which alone can."""

    def mounted(self, path: str) -> Faulty | None:
        """The upstream that answers this path."""
        return self.upstreams.get(path[: path.find("/", 1)] if path.count("/") > 1 else path)

    def fault(self, fault: Fault) -> int:
        """One more fault. Behind a server a `refuse` without `after` closes the port now, whatever its route: 0."""
        if fault.what == "refuse" and not fault.after and self.shut is not None:
            self.shut(1.0 if fault.seconds is None else fault.seconds)
            return 0
        return self.script.add(fault)

    def journal(self, task: str | None = None) -> list[dict[str, Any]]:
        """Every effect that took place, in order."""
        for upstream in self.upstreams.values():
            upstream.advance()
        self.project.settle()
        whole = f"{task}/"
        return [entry.json() for entry in self.workspace.journal if task is None or f"{entry.task}/".startswith(whole)]

    def turn(self, switches: Switches) -> None:
        """These are the assumptions in force, of both upstreams."""
        self.workspace.switches = self.project.switches = switches

    def reset(self) -> None:
        """As new, but for clients and the clock."""
        self.script.clear()
        self.turn(Switches())
        self.workspace.reset()
        self.project.reset()
        self.stats = Stats(now=self.stats.now)
        for upstream in self.upstreams.values():
            upstream.pending.clear()

    def control(self, request: Request) -> Response:
        """`/_control`."""
        try:
            body = json.loads(request.body) if request.body else {}
            return self._control(request, body)
        except KeyError as missing:
            return answer(400, {"error": f"missing: {missing}"})
        except (ValueError, TypeError, AttributeError) as wrong:
            return answer(400, {"error": str(wrong)})

    def _control(self, request: Request, body: Any) -> Response:
        match request.method, *request.path.removeprefix(ROOT).strip("/").split("/"):
            case "GET", "journal":
                return answer(200, self.journal(request.query.get("task")))
            case "GET", "faults":
                return answer(200, self.script.json())
            case "POST", "faults":
                given = [Fault.of(each) for each in (body if isinstance(body, list) else [body])]
                return answer(201, {"ids": [self.fault(each) for each in given]})
            case "DELETE", "faults":
                self.script.clear()
                return answer(204)
            case "GET", "tasks":
                return answer(200, [shapes.truth_json(task) for task in self.workspace.all()])
            case "POST", "tasks":
                return answer(201, shapes.truth_json(self.workspace.make(body)))
            case "GET", "tasks", id_:
                task = self.workspace.look(id_)
                return answer(404, {"error": "no such task"}) if task is None else answer(200, shapes.truth_json(task))
            case "POST", "person":
                of_item = body["task"].partition("/")[0] in self.project.items
                upstream: Workiva | Autodesk = self.autodesk if of_item else self.workiva
                if "patch" in body:
                    return upstream.edit(body["task"], body["patch"])
                return upstream.person(body["task"], body["action"], body.get("user"), body.get("comment"))
            case method, "autodesk", *rest:
                return self._autodesk(method, rest, body) or answer(404, {"error": f"no {request.method} {request.path}"})
            case "GET", "assumptions":
                return answer(200, assumptions.table(self.workspace.switches))
            case "POST", "assumptions":
                self.turn(self.workspace.switches.turned(**body))
                return answer(200, assumptions.table(self.workspace.switches))
            case "POST", "clients":
                self.workspace.clients[body["client_id"]] = Client(body["client_secret"], body["user"])
                self.autodesk.authentication.apps[body["client_id"]] = App(body["client_id"], body["client_secret"], body["user"])
                return answer(201, {"client_id": body["client_id"]})
            case "POST", "tokens":
                self.workiva.token_lifetime = float(body.get("expires_in", self.workiva.token_lifetime))
                self.autodesk.authentication.access_life = float(body.get("expires_in", self.autodesk.authentication.access_life))
                if body.get("expire"):
                    self.workiva.expire_all()
                    self.autodesk.authentication.expire()
                return answer(200, {"expires_in": self.workiva.token_lifetime})
            case "POST", "clock":
                self.clock.offset = float(body["offset"])
                return answer(200, {"now": self.clock(), "offset": self.clock.offset})
            case "GET", "stats":
                return answer(200, self.stats.json())
            case "POST", "reset":
                self.reset()
                return answer(204)
            case _:
                return answer(404, {"error": f"no {request.method} {request.path}"})

    def _autodesk(self, method: str, rest: list[str], body: Any) -> Response | None:
        """`/_control/autodesk`."""
        project, authentication = self.project, self.autodesk.authentication
        match method, *rest:
            case "GET", "items":
                return answer(200, [submittal_json.truth_json(item, project.switches) for item in project.all()])
            case "POST", "items":
                return answer(201, submittal_json.truth_json(project.make(body), project.switches))
            case "GET", "items", id_:
                item = project.look(id_)
                return (
                    answer(404, {"error": "no such item"})
                    if item is None
                    else answer(200, submittal_json.truth_json(item, project.switches))
                )
            case "POST", "people":
                return answer(201, submittal_json.person_json(project.join(body)))
            case "POST", "templates":
                return answer(201, submittal_json.template_json(project, project.template(body).id))
            case "POST", "responses":
                return answer(201, submittal_json.reply_json(project.reply(**body), project))
            case "GET", "grants":
                return answer(200, authentication.grants())
            case "POST", "grants":
                return answer(201, authentication.grant(**{"client": body.pop("client_id", "sandbox"), **body}))
            case "POST", "accounts":
                return answer(201, {"id": authentication.enrol(body).id})
            case "POST", "consents":
                authentication.consenting = body["user"]
                return answer(200, {"user": body["user"]})
            case "POST", "tokens":
                authentication.refresh_life = float(body.get("refresh_expires_in", authentication.refresh_life))
                if body.get("forget"):
                    authentication.forget()
                return answer(200, {"refresh_expires_in": authentication.refresh_life})
            case _:
                return None


def read_faults(text: str) -> list[Fault]:
    """Faults as a person writes them: JSON (an object or an array), or `route:what:key=value,key=value` with `;` between faults.

    For example `act:reset:when=after,times=3;read:stale:seconds=5`. Raises ValueError naming what is wrong.
    """
    if text.lstrip()[:1] in {"[", "{"}:
        data = json.loads(text)
        return [Fault.of(each) for each in (data if isinstance(data, list) else [data])]
    return [_short(part.strip()) for part in text.split(";") if part.strip()]


def _short(text: str) -> Fault:
    route, _, rest = text.partition(":")
    what, _, pairs = rest.partition(":")
    return Fault.of({"route": route, "what": what, **dict(_pairs(pairs.split(",")))})


def _pairs(texts: Iterable[str]) -> Iterable[tuple[str, Any]]:
    for text in filter(None, texts):
        key, _, value = text.partition("=")
        try:
            yield key.strip(), json.loads(value)
        except ValueError:
            yield key.strip(), value.strip()
