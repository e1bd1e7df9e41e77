"""The hash chain over what happened to one submission (A18).

Each link covers the one before it, what may stay for ever (`public`) and a salted digest of what may have to be forgotten (`private`:
comments, people, snapshots). Emptying `private` later leaves the chain verifiable; without the salt nobody can try out what it was. Each
submission event carries the head of the chain, so that whoever received it is a witness. It shows tampering after the fact, not a lie told
in the first place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.core.keys import canonical, digest


@dataclass(frozen=True, slots=True)
class Link:
    """One link. `seal` is the digest of salt and `private`; it stays when `private` and `salt` are emptied."""

    n: int
    at: float
    kind: str
    public: Mapping[str, Any]
    private: Mapping[str, Any] | None
    salt: str | None
    seal: str
    digest: str


def link(before: str, n: int, at: float, kind: str, public: Mapping[str, Any], private: Mapping[str, Any], salt: str) -> Link:
    """The next link after the one whose digest is *before* ("" for the first)."""
    seal = digest([salt, canonical(private)])
    return Link(n, at, kind, public, private, salt, seal, _digest(before, n, at, kind, public, seal))


def verify(links: Iterable[Link]) -> str | None:
    """The first fault of a chain in order, in words, or None where it holds."""
    before = ""
    for expected, each in enumerate(links, 1):
        if each.n != expected:
            return f"link {expected} is missing"
        if each.private is not None and (each.salt is None or each.seal != digest([each.salt, canonical(each.private)])):
            return f"link {each.n} ({each.kind}): its private part was changed"
        if each.digest != _digest(before, each.n, each.at, each.kind, each.public, each.seal):
            return f"link {each.n} ({each.kind}) was changed, or the one before it"
        before = each.digest
    return None


def _digest(before: str, n: int, at: float, kind: str, public: Mapping[str, Any], seal: str) -> str:
    return digest([before, n, round(at * 1e6), kind, public, seal])
