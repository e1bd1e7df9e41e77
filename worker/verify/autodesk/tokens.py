"""What a refresh leaves, and what a refresh token that was used is still good for: by one renewal, of the first grant that has any."""

from contextlib import suppress
from dataclasses import dataclass

from worker.core.renewal import Answer, Dead, Renewed
from worker.upstreams.base import Token
from worker.verify.autodesk.trial import Trial
from worker.verify.verdict import CannotTell, Verdict, told


@dataclass(frozen=True, slots=True)
class Seen:
    """What one renewal has shown. `before`: the status of a request with the access token that was given before it; `again`: what a second
    use of the refresh token came to, and `after`: what then became of its successor. None: not tried.
    """

    before: int | None
    again: Answer | None
    after: Answer | None


def used_refresh_token_is_dead(t: Trial) -> Verdict:
    """44. The successor is used last, and what it brings is what is kept: where that is nothing, the grant is lost."""
    if not t.risk:
        raise CannotTell("may end a grant, which then needs `approvals login` again: --risk-grant")
    seen = _renewed(t)
    if not isinstance(seen.again, Renewed | Dead) or not isinstance(seen.after, Renewed | Dead):
        raise CannotTell("what a second use came to cannot be told from the answers")
    second = "is refused" if isinstance(seen.again, Dead) else "brings tokens"
    after = "is good" if isinstance(seen.after, Renewed) else "is dead, and the grant needs `approvals login` again"
    text = f"a second use of a refresh token {second}; after it the successor {after}"
    return told(isinstance(seen.again, Dead) and isinstance(seen.after, Renewed), text)


def access_tokens_outlive_a_refresh(t: Trial) -> Verdict:
    """66. A renewal as the worker makes one every hour."""
    status = _renewed(t).before
    if status is None:
        raise CannotTell("no access token was at hand before the renewal")
    return told(status == 200, f"an access token of before a refresh: {status}")


def _renewed(t: Trial) -> Seen:
    if t.renewed is None:
        t.renewed = _renew(t)
    if not isinstance(t.renewed, Seen):
        raise CannotTell(str(t.renewed))
    return t.renewed


def _renew(t: Trial) -> Seen | str:
    """What is seen; or why nothing is."""
    who = next((person for person in t.people if t.connector.renewal(person.grant) is not None), None)
    if who is None:
        return "needs a grant with a refresh token: service accounts have none"
    t.get("/users/me", who=who)  # so that there is a token now
    held = t.connector.credentials(who.grant).held()
    seen: list[Seen] = []

    def use(refresh: str) -> Answer:
        first = t.wire.renew(who.grant, refresh)
        if not isinstance(first, Renewed):
            return first
        before = None
        with suppress(CannotTell):  # whatever becomes of this question, the new tokens are kept
            before = t.get("/users/me", token=held.value).status if isinstance(held, Token) else None
        if not t.risk:
            seen.append(Seen(before, None, None))
            return first
        again = t.wire.renew(who.grant, refresh)
        after = t.wire.renew(who.grant, first.refresh)
        seen.append(Seen(before, again, after))
        return next((answer for answer in (after, again) if isinstance(answer, Renewed)), after if isinstance(after, Dead) else first)

    if not t.spend(who.grant, use):
        return "the tokens cannot be renewed now: they are less than a minute old, or another process renews them"
    return seen[0] if seen else "the renewal that the check needs failed"
