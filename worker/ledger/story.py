"""One submission as it is shown to whoever asks: the same object for `approvals show --json` and for the console's API."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.core.breaker import AWAY
from worker.core.command import ON_A_STEP
from worker.core.evidence import Link
from worker.core.pause import HELD, shut
from worker.core.submission import outline
from worker.core.task import from_json
from worker.core.times import iso
from worker.ledger import Ledger
from worker.ledger.queries import Listed, Queries
from worker.ledger.rows import pin_in

OPEN = ("pending", "waiting", "in_doubt")
"""States of what may still be sent."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that the ledger knows of a submission. `fault`: the first of its chain of evidence, if any; `now`: the ledger's time."""

    listed: Listed
    attempts: Sequence[Mapping[str, Any]]
    links: Sequence[Link]
    fault: str | None
    holder: str | None
    behind: Sequence[str]
    now: float


def read(queries: Queries, listed: Listed) -> Story:
    """The story of *listed*."""
    links, fault = queries.story(listed.id)
    holder, behind = queries.slot(listed.id)
    return Story(listed, queries.attempts(listed.id), links, fault, holder, behind, queries.now())


def whole(story: Story, held: str | None = None) -> dict[str, Any]:
    """The story as JSON: what was asked, sent, seen and decided. *held*: why nothing of its account is sent now."""
    links = story.links
    return as_object(story.listed, held) | {
        "attempts": [{k: iso(v) if isinstance(v, float) else v for k, v in a.items()} for a in story.attempts],
        "slot": {"holder": story.holder, "waiting_behind": list(story.behind)},
        "evidence": [link_object(link) for link in links],
        "chain": {"holds": story.fault is None, "fault": story.fault, "links": len(links), "head": links[-1].digest if links else ""},
    }


def standstill(ledger: Ledger, hold: Collection[str]) -> Callable[[str], str | None]:
    """Account -> why nothing of it is sent now, in words; None where it sends, were it slowly. *hold*: those whose settings say so."""
    words, now = ledger.accounts.words(), ledger.queries.now()
    away = {b.name: b.shut() for b in ledger.breakers.all() if b.state == "open"}

    def why(name: str) -> str | None:
        word = words.get(name)
        found = None if word and word.slow(now) else shut(word, name in hold, now, 0.0)
        found = found or away.get(name)
        return found.why.removeprefix(HELD).removeprefix(AWAY) if found else None

    return why


def as_object(s: Listed, held: str | None = None) -> dict[str, Any]:
    """A submission as it stands, as JSON."""
    pin = pin_in(s.progress)
    part, state = s.progress["part"], s.command.get("state")
    times = {n: s.command.get(n) for n in ("not_before", "not_after")} | {"issued_at": s.progress.get("issued_at")}
    return {
        "id": s.id,
        "key": s.key,
        "state": s.state,
        "reason": s.reason,
        "account": s.account,
        "as": s.grant,
        "task": s.task,
        "action": s.action,
        "part": f"{s.task}/{part}" if part else None,
        "step": (pin.step if pin else s.command.get("step")) if s.action in ON_A_STEP else None,
        "pin": pin.token() if pin else s.command.get("pin"),
        "response": s.command.get("response"),
        "transition": None if state is None else {"state": state, "fields": s.command.get("fields") or {}},
        "comment": s.command.get("comment"),
        "wait_for_turn": s.command.get("wait_for_turn", False),
        "behind": s.behind,
        "held": held if s.state in OPEN else None,
        "requested_by": s.command.get("requested_by"),
        "labels": s.command.get("labels") or {},
        "accepted_at": iso(s.accepted_at),
        "updated_at": iso(s.updated_at),
        "next_at": iso(s.next_at) if s.next_at else None,
        **{n: iso(at) if at else None for n, at in times.items()},
    }


def link_object(link: Link) -> dict[str, Any]:
    """A link of evidence as JSON."""
    kept = {"public": dict(link.public), "private": None if link.private is None else dict(link.private)}
    return {"n": link.n, "at": iso(link.at), "kind": link.kind, "text": words(link), **kept, "seal": link.seal, "digest": link.digest}


def words(link: Link) -> str:
    """A link of evidence as a sentence of one line, without what a terminal would obey."""
    public, private = link.public, link.private
    inside: Mapping[str, Any] = private or {}
    forgotten = " (its private part was forgotten)" if private is None else ""
    look = inside.get("look")
    seen = f"; seen: {look['status']}; {outline(from_json(look))}" if look else ""
    match link.kind:
        case "accepted":
            said = {**public, **inside}
            about = "".join(f", {n} {said[n]}" for n in ("step", "part", "state", "response") if said.get(n))
            about += "".join(f", {n} {said[n]!r}" for n in ("fields", "comment") if said.get(n))
            text = f"accepted: {public.get('action')}{about}"
        case "attempt":
            text = f"attempt {public.get('n')} written, then sent{seen}"
        case "answer":
            about = " ".join(str(public[n]) for n in ("fact", "status", "code") if public.get(n))
            text = f"attempt {public.get('n')} answered: {public.get('outcome')} ({about}){seen}"
        case "state":
            text = f"{public.get('state')}: {inside.get('reason') or ''}{seen}"
        case "resolved":
            text = f"resolved by a person as {public.get('as')}: {inside.get('note') or ''}"
        case _:
            text = f"{link.kind}: {dict(public)}{seen}"
    return "".join(c if c.isprintable() else " " if c in "\t\r\n" else "\ufffd" for c in text + forgotten)
