"""GET /tasks: `$filter`, `$orderBy` and paging [P-list]; the page of 2026 was not to be had, its rules are taken to be the same.

The only logical operator is `and`. How literals are quoted is assumption 19, what `$next` holds is assumption 20.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.sandbox.assumptions import Switches
from worker.sandbox.life import Task
from worker.sandbox.shapes import BadShapeError, instant

PAGE = 1000
"""The default and the greatest `$maxpagesize` [OAS]."""

_ORDERED = frozenset({"eq", "lt", "gt", "le", "ge"})

PREDICATES: Mapping[str, frozenset[str]] = {
    "approvalSteps.participants": frozenset({"eq", "in"}),
    "assignees": frozenset({"eq", "in"}),
    "created.dateTime": _ORDERED,
    "dueDate": _ORDERED,
    "modified.dateTime": _ORDERED,
    "location.resource": frozenset({"eq"}),
    "location.segment": frozenset({"eq"}),
    "status": frozenset({"eq"}),
    "taskType": frozenset({"contains"}),
    "title": frozenset({"contains"}),
}
"""[P-list]"""

SORTABLE = frozenset({"approvalSteps.participants", "created.dateTime", "dueDate", "modified.dateTime", "status", "taskType", "title"})
"""[P-list]: not `assignees`."""

_TIMES = frozenset({"created.dateTime", "dueDate", "modified.dateTime"})

_VALUE: Mapping[str, Callable[[Task], Any]] = {
    "approvalSteps.participants": lambda t: [user for step in t.steps for user in step.participants],
    "assignees": lambda t: list(t.assignees),
    "created.dateTime": lambda t: t.created_at,
    "dueDate": lambda t: None if t.due is None else instant(t.due),
    "modified.dateTime": lambda t: t.modified_at,
    "location.resource": lambda t: t.location and t.location["resource"],
    "location.segment": lambda t: t.location and t.location["segment"],
    "status": lambda t: t.status,
    "taskType": lambda _: "General",
    "title": lambda t: t.title,
}

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|[(),]|[^\s(),'"]+""")

Predicate = Callable[[Task], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """One listing. It is also what `$next` holds, with the position to go on from."""

    filter: str = ""
    order: str = ""
    size: int = PAGE
    start: int = 0
    after: str = ""
    """The id of the last row, where `$next` names it instead of a position."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Query":
        """From the parameters. `$next` brings all of its own."""
        if "$next" in query:
            try:
                values = json.loads(base64.urlsafe_b64decode(query["$next"].encode()))
                return cls(*values)
            except (ValueError, TypeError):
                raise BadShapeError("$next", "not one of ours") from None
        size = query.get("$maxpagesize", str(PAGE))
        if not size.isdecimal() or not 1 <= int(size) <= PAGE:
            raise BadShapeError("$maxpagesize", f"$maxpagesize is 1 to {PAGE}")
        return cls(query.get("$filter", ""), query.get("$orderBy", ""), int(size))

    @property
    def token(self) -> str:
        """For `$next`."""
        return base64.urlsafe_b64encode(json.dumps([self.filter, self.order, self.size, self.start, self.after]).encode()).decode()


def page(tasks: Iterable[Task], query: Query, rules: Switches) -> tuple[list[Task], Query | None]:
    """The tasks of one page, and the query of the next one. Raises BadShapeError for what is not published."""
    tests = predicates(query.filter, rules.quotes)
    unlisted = rules.process_tasks != "listed"  # (21)
    found = [task for task in tasks if not (task.process_made and unlisted) and all(test(task) for test in tests)]
    for name, descending in reversed(orders(query.order)):
        value = _VALUE[name]
        found.sort(key=lambda t, value=value: (value(t) is not None, value(t)), reverse=descending)  # type: ignore[misc]
    start = next((n for n, task in enumerate(found, 1) if task.id == query.after), query.start)
    end = start + query.size
    after = found[end - 1].id if end < len(found) and rules.paging == "row" else ""
    more = Query(query.filter, query.order, query.size, end, after) if end < len(found) else None
    return found[start:end], more


def orders(text: str) -> list[tuple[str, bool]]:
    """`modified.dateTime desc, title` as pairs of name and whether it descends."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, direction = part.partition(" ")
        if name not in SORTABLE or direction.strip().lower() not in {"", "asc", "desc"}:
            raise BadShapeError("$orderBy", f"cannot sort by {part!r}")
        found.append((name, direction.strip().lower() == "desc"))
    return found


def predicates(text: str, quotes: str = "any") -> list[Predicate]:
    """`status eq 'Created' and title contains 'x'` as tests that must all hold."""
    tokens = _TOKEN.findall(text)
    if not _faithful(tokens, text):
        raise BadShapeError("$filter", "a quote is not closed")
    found: list[Predicate] = []
    while tokens:
        name, operator, literals, tokens = _clause(tokens, quotes)
        if name not in PREDICATES or operator not in PREDICATES[name]:
            raise BadShapeError("$filter", f"cannot filter {name!r} by {operator!r}")
        found.append(_test(name, operator, literals))
        if tokens and tokens.pop(0).lower() != "and":
            raise BadShapeError("$filter", "the only logical operator is `and`")
        if text and not tokens and text.rstrip().lower().endswith(" and"):
            raise BadShapeError("$filter", "ends in `and`")
    return found


def _faithful(tokens: list[str], text: str) -> bool:
    """Whether the tokens are all of the text but spaces between them."""
    at = 0
    for token in tokens:
        found = text.find(token, at)
        if text[at:found].strip():
            return False
        at = found + len(token)
    return not text[at:].strip()


def _clause(tokens: list[str], quotes: str) -> tuple[str, str, list[str], list[str]]:
    """The name, the operator and the literals of the first clause, and the tokens after it."""
    match tokens:
        case ["contains", "(", name, ",", value, ")", *rest]:
            return name, "contains", [_literal(value, quotes)], rest
        case [name, "in", "(", *rest] if ")" in rest:
            end = rest.index(")")
            return name, "in", [_literal(value, quotes) for value in rest[:end] if value != ","], rest[end + 1 :]
        case [name, operator, value, *rest]:
            return name, operator.lower(), [_literal(value, quotes)], rest
        case _:
            raise BadShapeError("$filter", f"cannot read {' '.join(tokens)!r}")


def _literal(text: str, quotes: str) -> str:
    single = len(text) >= 2 and text[0] == text[-1] == "'"
    double = len(text) >= 2 and text[0] == text[-1] == '"'
    if text in {"(", ")", ","} or (quotes == "single" and not single) or (quotes == "bare" and (single or double)):
        raise BadShapeError("$filter", f"cannot read the literal {text}")
    if single:
        return text[1:-1].replace("''", "'")
    return text[1:-1] if double else text


def _test(name: str, operator: str, literals: list[str]) -> Predicate:
    value = _VALUE[name]
    if name in {"approvalSteps.participants", "assignees"}:
        wanted = set(literals)
        return lambda t: not wanted.isdisjoint(value(t))
    if operator == "contains":
        part = literals[0].lower()
        return lambda t: part in value(t).lower()
    if name not in _TIMES:
        return lambda t: value(t) == literals[0]
    try:
        limit = instant(literals[0])
    except ValueError:
        raise BadShapeError("$filter", f"{literals[0]!r} is no date-time with an offset") from None

    def compare(task: Task) -> bool:
        at = value(task)
        if at is None:
            return False
        match operator:
            case "eq":
                return bool(at == limit)
            case "lt":
                return bool(at < limit)
            case "gt":
                return bool(at > limit)
            case "le":
                return bool(at <= limit)
            case _:
                return bool(at >= limit)

    return compare
