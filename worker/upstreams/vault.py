"""The access tokens that this process holds, of grants whose tokens live in the ledger. `flows.tokens` fills it, requests empty their hands
into it: a token is shown only while it is good and nobody has refused it.

Engine and flows are different threads, so every step is one short lock.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from worker.core.outcomes import Fact
from worker.upstreams.base import Flow, Token

LEFT = 5.0
"""Seconds of a token's life that are not used any more: an exchange takes its time."""

EMPTY = Fact("token", text="it has not been looked up yet")


@dataclass(frozen=True, slots=True)
class _Held:
    """Instants on the engine's clock. `why`: what is told instead of a token that cannot be used."""

    generation: int = -1
    value: str = field(default="", repr=False)
    until: float = float("-inf")
    renew_at: float = float("-inf")
    refused: bool = False
    why: Fact = EMPTY


class Vault:
    """Access tokens by name. *clock*: the engine's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def __repr__(self) -> str:
        """Never a token."""
        return f"Vault({len(self._held)})"

    def keep(self, name: str, generation: int, value: str, left: float, renew_in: float) -> None:
        """Hold a token that is good for *left* seconds and renewed in *renew_in*. An older generation than what is held is passed over."""
        now = self._clock()
        with self._lock:
            old = self._held.get(name, _Held())
            if generation >= old.generation:
                refused = old.refused and generation == old.generation
                self._held[name] = _Held(generation, value, now + left, now + renew_in, refused, old.why)

    def lack(self, name: str, why: Fact) -> bool:
        """What to tell while no token can be used. Returns whether it is another reason than before."""
        with self._lock:
            held = self._held.get(name, _Held())
            self._held[name] = replace(held, why=why)
            return held.why.text != why.text

    def fresh(self, name: str) -> bool:
        """Whether nothing is to be done for it now."""
        held = self._held.get(name)
        return held is not None and not held.refused and self._clock() < held.renew_at

    def token(self, name: str) -> Token | Fact:
        """The token, or why there is none."""
        held = self._held.get(name, _Held())
        left = held.until - self._clock()
        return Token(held.value, left) if held.value and not held.refused and left > LEFT else held.why

    def refuse(self, name: str, token: Token) -> None:
        """The upstream does not take *token*: it is not shown again. One that has taken its place meanwhile is."""
        with self._lock:
            held = self._held.get(name)
            if held is not None and held.value == token.value:
                self._held[name] = replace(held, refused=True, why=Fact("token", 401, text="it was refused, and is renewed"))

    def refused(self, name: str) -> int | None:
        """The generation that was refused, if what is held was."""
        held = self._held.get(name)
        return held.generation if held is not None and held.refused else None


@dataclass(frozen=True, slots=True)
class Stored:
    """Credentials of a grant whose tokens live in the ledger."""

    name: str
    vault: Vault = field(repr=False, compare=False)

    def fetch(self) -> Flow[Token | Fact]:
        """What is held; nobody is asked."""
        yield from ()
        return self.vault.token(self.name)

    def held(self) -> Token | Fact:
        """What is held."""
        return self.vault.token(self.name)

    def refused(self, token: Token) -> None:
        """It is not shown again."""
        self.vault.refuse(self.name, token)
