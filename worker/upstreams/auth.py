"""How a grant gets its token: OAuth 2.0 client credentials. What is secret here shows in no repr, no fact and no exception.

Workiva: a grant is bound to one user of one workspace, so an approval made with its token is an approval by that user. No refresh token; a
token is good for about ten minutes (example 599 s). (facts: authentication.html, [26-help])
"""

import math
from dataclasses import dataclass, field, replace

import httpx

from worker.core.outcomes import Fact
from worker.upstreams.base import Flow, Token, decoded, fact_of

LIFETIME = 300.0
"""Seconds assumed where the answer names no `expires_in`: half of the "typically 10 minutes" [26-help]; a 401 drops the token anyway."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's (or service user's) authorisation, as the settings hold it."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """One grant at one token endpoint. `POST url` with a form body [OAS]; the token comes back as JSON."""

    url: str
    grant: Grant
    scope: str | None = None

    @property
    def name(self) -> str:
        """The cache key: endpoint and client id, so that two accounts with a grant `jane` each never share a token by accident."""
        return f"{self.url}#{self.grant.client_id}" + (f"#{self.scope}" if self.scope else "")

    def fetch(self) -> Flow[Token | Fact]:
        """Ask for a token. Anything but a clean 200 is a fact; so is a token that no header can carry."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.grant.client_id,
            "client_secret": self.grant.client_secret,
        }
        if self.scope:
            form["scope"] = self.scope
        answer = yield httpx.Request("POST", self.url, data=form, headers={"Accept": "application/json"})
        if answer.status_code != 200:
            return self._veiled(fact_of(answer, "token"))
        try:
            body = decoded(answer)
        except ValueError:
            return fact_of(answer, "token", "the answer is not JSON")
        value = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
            return fact_of(answer, "token", "no usable access_token")
        kind = body.get("token_type", "Bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return fact_of(answer, "token", "the token is not a bearer token")
        return Token(value, _lifetime(body.get("expires_in")))

    def _veiled(self, fact: Fact) -> Fact:
        """The fact without our secret, should the endpoint echo it."""
        secret = self.grant.client_secret
        if not secret or not fact.text:
            return fact
        return replace(fact, text=fact.text.replace(secret, "…"), code=fact.code and fact.code.replace(secret, "…"))


def _lifetime(asked: object) -> float:
    try:
        seconds = float(asked)  # type: ignore[arg-type]  # some servers send a text
    except (TypeError, ValueError, OverflowError):
        return LIFETIME
    return seconds if math.isfinite(seconds) and seconds > 0 else LIFETIME
