"""GET items: its filters and sort orders [ITEMS]; and the pages that every list of Submittals comes in."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlencode

from worker.sandbox.assumptions import Switches
from worker.sandbox.exchange import Request
from worker.sandbox.life import Refusal
from worker.sandbox.submittal_json import plain_json
from worker.sandbox.submittals import COMPANY, DRAFT, ROLE, USER, VOID, Item, Person, in_court

MOST = 50
"""The greatest `limit` [ITEMS]."""

_TEXTS = (
    *("title", "statusId", "specId", "responseId", "typeId", "packageId", "stateId", "identifier", "leadTime", "revision", "manager"),
    *("managerType", "subcontractor", "subcontractorType", "createdBy", "id"),
)
_COURTS = {"ballInCourtUsers": USER, "ballInCourtCompanies": COMPANY, "ballInCourtRoles": ROLE}
_DAYS = ("dueDate", "submitterDueDate", "managerDueDate", "requiredDate", "requiredApprovalDate", "requiredOnJobDate")
_TIMES: Mapping[str, Callable[[Item], float | None]] = {
    "createdAt": lambda item: item.created_at,
    "updatedAt": lambda item: item.updated_at,
    "sentToSubmitter": lambda item: item.sent_to_submitter,
    "receivedFromSubmitter": lambda item: item.received_from_submitter,
    "sentToReview": lambda item: item.sent_to_review,
    "receivedFromReview": lambda item: item.received_from_review,
    "publishedDate": lambda item: item.published_at,
}
SORTABLE = frozenset({*_TEXTS, *_DAYS, *_TIMES, "respondedAt"}) - {"id"}


class BadQueryError(Exception):
    """A filter, an order or a page that cannot be."""


def listed(items: Sequence[Item], request: Request, person: Person, rules: Switches) -> list[Item]:
    """Those that fit, in order. `void` ones only if their state is asked for [ITEMS]; drafts for managers only [ITEMS]."""
    wanted: list[Callable[[Item], bool]] = []
    for name, value in request.query.items():
        if name.startswith("filter["):
            one = _filter(name[7:].removesuffix("]"), value, rules)
            wanted += [one] if one else []
    if VOID not in request.query.get("filter[stateId]", "").split(",") and request.query.get("filter[statusId]") != "4":
        wanted.append(lambda item: item.state != VOID)
    if not person.manages:
        wanted.append(lambda item: item.state != DRAFT)
    if text := request.query.get("search", "").lower():
        wanted.append(lambda item: text in item.title.lower() or text == (item.custom_identifier or "").lower())
    found = [item for item in items if all(fits(item) for fits in wanted)]
    return _sorted(found, request.query.get("sort", ""), rules)


def _filter(name: str, value: str, rules: Switches) -> Callable[[Item], bool] | None:
    values = frozenset(value.split(","))
    if name in _TIMES:
        zone = _zone(rules.filter_zone)
        first, last = _days(name, value)
        return lambda item: (at := _TIMES[name](item)) is not None and first <= datetime.fromtimestamp(at, zone).date().isoformat() <= last
    if name in _DAYS:
        first, last = _days(name, value)
        return lambda item: first <= str(_shown(item, name, rules) or "") <= last
    if name == "reviewResponseId":
        return lambda item: any(task.reply in values for step in item.steps for task in step.tasks)
    if name in {"id", "stateId"}:  # without the whole of the JSON: what is asked for most
        return lambda item: (item.id if name == "id" else item.state) in values
    if name in _COURTS:
        return lambda item: not values.isdisjoint(in_court(item)[1].get(_COURTS[name], ()))
    if name == "watchers":
        return lambda item: not values.isdisjoint(_ids(_shown(item, name, rules)))
    if name in _TEXTS:
        none = name == "packageId" and "noPackage" in values
        return lambda item: ((shown := _shown(item, name, rules)) is not None and str(shown) in values) or (none and shown is None)
    if rules.unknown_filter == "ignored":
        return None
    raise BadQueryError(f"there is no filter[{name}]")  # (64)


def _shown(item: Item, name: str, rules: Switches) -> Any:
    return plain_json(item, rules)[name]


def _ids(rows: list[Any]) -> list[str]:
    return [str(row["id"]) if isinstance(row, Mapping) else str(row) for row in rows]


def _days(name: str, value: str) -> tuple[str, str]:
    """`YYYY-MM-DD` or `YYYY-MM-DD..YYYY-MM-DD`: days, no times [ITEMS]."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?", value)
    if found is None:
        raise BadQueryError(f"filter[{name}] takes YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD")
    return found[1], found[2] or found[1]


def _zone(name: str) -> tzinfo:
    """(43)"""
    return UTC if name == "UTC" else timezone(timedelta(hours=int(name.partition(":")[0])))


def _sorted(items: list[Item], order: str, rules: Switches) -> list[Item]:
    """By several, the first one first; rows that are equal stay in the order of their creation, also when it descends."""
    for part in reversed([part.strip() for part in order.split(",") if part.strip()]):
        name, _, way = part.partition(" ")
        if name not in SORTABLE or way not in {"", "asc", "desc"}:
            if rules.unknown_filter == "ignored":
                continue
            raise BadQueryError(f"there is no sort by {part!r}")
        by = _TIMES.get(name)
        keyed = [(by(item) if by else _shown(item, name, rules), item) for item in items]
        known = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: pair[0], reverse=way == "desc")  # type: ignore[arg-type,return-value]
        items = [item for _, item in known] + [item for value, item in keyed if value is None]
    return items


def page(rows: Sequence[Any], request: Request, rules: Switches, *, example: int = 20) -> tuple[Sequence[Any], dict[str, Any]] | Refusal:
    """One page and its `pagination`. `example`: how many the tutorial shows where nothing was asked for (46)."""
    default = example if rules.default_limit == "example" else 20
    try:
        limit, offset = int(request.query.get("limit", default)), int(request.query.get("offset", 0))
    except ValueError:
        return Refusal(400, "limit and offset are whole numbers")
    if "limit" in request.query and rules.limit_range == "clamped":
        limit, offset = min(max(limit, 1), MOST), max(offset, 0)
    elif offset < 0 or ("limit" in request.query and not 1 <= limit <= MOST):
        return Refusal(400, f"limit is 1 to {MOST}, offset is not negative")  # (47)
    pagination: dict[str, Any] = {"limit": limit, "offset": offset, "totalResults": len(rows)}

    def at(start: int) -> str:
        return f"{request.origin}{request.path}?{urlencode({**request.query, 'limit': limit, 'offset': start})}"

    if rules.next_url != "never":
        pagination["previousUrl"] = at(max(0, offset - limit)) if offset else None
        pagination["nextUrl"] = at(offset + limit) if offset + limit < len(rows) else None
        if rules.next_url == "absent":
            pagination = {name: value for name, value in pagination.items() if value is not None}
    return rows[offset : offset + limit], pagination
