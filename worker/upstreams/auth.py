"""How a grant gets its token: OAuth 2.0. What is secret here shows in no repr, no fact and no exception.

Client credentials (Workiva): a grant is bound to one user of one workspace, so an approval made with its token is an approval by that user.
No refresh token; a token is good for about ten minutes (example 599 s). (facts: authentication.html, [26-help])

Refresh tokens (Autodesk): a person consents once (`AuthorizationCode`); each renewal uses the refresh token up and brings the next one
[REFRESH]. When that is done, and by whom, is for `flows.tokens`; here stands what is asked, and what each answer proves.

Assertions (Autodesk): a service account signs for itself whenever a token is needed, and there is nothing to renew [JWT][EXCH].
"""

import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from worker.core.outcomes import Fact
from worker.core.renewal import Answer, Dead, Denied, Lost, Renewed, Unsent
from worker.upstreams.base import EXCERPT, Flow, Token, clean, decoded, fact_of
from worker.upstreams.vault import Stored, Vault

LIFETIME = 300.0
"""Seconds assumed where the answer names no `expires_in`: half of the "typically 10 minutes" [26-help]; a 401 drops the token anyway."""

REFRESH_LIFE: Final = 15 * 86_400.0
"""Seconds that a refresh token is good for where the answer names no time: Autodesk's [OAS][REFRESH]."""

WORD: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""OAuth's word for an error, at the beginning of a gateway's sentence."""

UNCLEAR: Final = frozenset({408, 409, 425, 499})
"""Statuses below 500 that do not prove that a refresh token was left alone (A3)."""

AUTHENTICATION: Final = "/authentication/v2"
"""Autodesk's authentication service, on the host of its APIs [OAS]."""

AUDIENCE: Final = "https://developer.api.autodesk.com/authentication/v2/token"
"""`aud` of an assertion: the published address, wherever it is sent [JWT]."""

ASSERTED: Final = 150.0
"""Seconds until an assertion ends, of 0 to 300 allowed [JWT]: half, so that our clock may be two minutes off either way."""

SCOPE: Final = "data:read data:write"
"""To look and to close [CLOSE][TUT]."""


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
            return veiled(fact_of(answer, "token"), self.grant.client_secret)
        return token_of(answer)

    def held(self) -> None:
        """It is fetched, and the engine keeps it."""

    def refused(self, token: Token) -> None:
        """The engine has dropped it."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One person's consent to one client at one token endpoint. `POST url` with a form body, the client in it [TOKEN]. `client_secret`: ""
    for a public client. `vault`: where this process holds the access token.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    acts_as: str
    vault: Vault = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Endpoint, client and user: two accounts with the same consent share its tokens, and never two users."""
        return f"{self.url}#{self.client_id}#{self.acts_as}"

    @property
    def credentials(self) -> Stored:
        """What requests of this grant are authorised with."""
        return Stored(self.name, self.vault)

    def ask(self, refresh: str) -> Flow[Answer]:
        """Use the refresh token. Exactly one request; nobody repeats it."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": self.client_id}
        if self.client_secret:
            form["client_secret"] = self.client_secret
        answer = yield httpx.Request("POST", self.url, data=form, headers={"Accept": "application/json"})
        if answer.status_code == 200:
            got = tokens_of(answer)
            return Lost(got) if isinstance(got, Fact) else got
        fact, word = veiled(fact_of(answer, "token"), refresh, self.client_secret), error_of(answer)
        if answer.status_code == 429:
            return Unsent(fact)
        if answer.status_code == 400 and word == "invalid_grant":
            return Dead(fact)
        if 400 <= answer.status_code < 500 and answer.status_code not in UNCLEAR:
            return Denied(fact)
        return Lost(fact)


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """One consent: the address that a person opens, what comes back to `redirect`, and its exchange for tokens (RFC 6749, 7636).

    `url`: the authentication service, without its last part. `state` and `verifier` are random and serve once: the first ties the answer to
    the question, the second the exchange to whoever asked. The verifier has 43 to 128 characters.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def address(self) -> str:
        """What the browser opens. It holds no secret: of the verifier only its hash."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect,
            "scope": SCOPE,
            "state": self.state,
            "code_challenge": _base64(hashlib.sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return str(httpx.URL(f"{self.url}/authorize", params=asked))

    def code(self, back: Mapping[str, str]) -> str | Fact:
        """The code in the query of the redirect, or what speaks against it. An answer to another question is none."""
        if not back.get("state"):
            return Fact("consent", text="the answer has no state: is it the whole address that the browser ended at?")
        if back["state"] != self.state:
            return Fact("consent", text="the answer belongs to another login: its state is not the one that was sent")
        if "error" in back:
            return Fact("consent", code=clean(back["error"])[:80], text=clean(back.get("error_description", ""))[:EXCERPT] or None)
        return back.get("code") or Fact("consent", text="the answer has no code")

    def exchange(self, code: str) -> Flow[Renewed | Fact]:
        """The code for tokens: once, within five minutes [OAS]."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect, "code_verifier": self.verifier}
        form["client_id"] = self.client_id
        if self.client_secret:
            form["client_secret"] = self.client_secret
        answer = yield httpx.Request("POST", f"{self.url}/token", data=form, headers={"Accept": "application/json"})
        if answer.status_code != 200:
            return veiled(fact_of(answer, "token"), self.client_secret, code, self.verifier)
        return tokens_of(answer)


@dataclass(frozen=True, slots=True)
class JwtBearer:
    """A service account at a token endpoint: its signed word for an access token, by Basic auth [EXCH]."""

    url: str
    account: "ServiceAccount"

    @property
    def name(self) -> str:
        """The cache key: endpoint, client and user."""
        return f"{self.url}#{self.account.client_id}#{self.account.service_account_id}"

    def fetch(self) -> Flow[Token | Fact]:
        """Sign, and ask. The assertion is as good as a password until it ends."""
        assertion, secret = self.assertion(), self.account.client_secret
        basic = base64.b64encode(f"{self.account.client_id}:{secret}".encode()).decode()
        headers = {"Accept": "application/json", "Authorization": f"Basic {basic}"}
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        answer = yield httpx.Request("POST", self.url, data=form, headers=headers)
        return token_of(answer) if answer.status_code == 200 else veiled(fact_of(answer, "token"), secret, assertion, basic)

    def held(self) -> None:
        """It is fetched, and the engine keeps it."""

    def refused(self, token: Token) -> None:
        """The engine has dropped it."""

    def assertion(self) -> str:
        """The signed claims. `scope` is an array here, and only here [JWT]."""
        head = {"alg": "RS256", "kid": self.account.key_id}
        claims = {
            "iss": self.account.client_id,
            "sub": self.account.service_account_id,
            "aud": AUDIENCE,
            "exp": int(self.account.clock() + ASSERTED),
            "scope": SCOPE.split(),
        }
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{_base64(self.account.key.sign(text.encode(), PKCS1v15(), SHA256()))}"


@dataclass(frozen=True, slots=True)
class Consented:
    """A grant of Autodesk's, by the consent of its user. `client_secret`: "" for a public client. *base*: the address of the APIs."""

    client_id: str
    client_secret: str = field(repr=False)
    acts_as: str
    vault: Vault = field(repr=False, compare=False)

    @property
    def user(self) -> str:
        """Whose requests these are, to the upstream's limits."""
        return self.acts_as

    def credentials(self, base: str) -> Stored:
        """What this process holds; nobody is asked."""
        return self.renewal(base).credentials

    def renewal(self, base: str) -> RefreshToken:
        """How its tokens are renewed."""
        return RefreshToken(f"{base}{AUTHENTICATION}/token", self.client_id, self.client_secret, self.acts_as, self.vault)

    def consent(self, base: str, redirect: str, state: str, verifier: str) -> AuthorizationCode:
        """How its user consents."""
        return AuthorizationCode(base + AUTHENTICATION, self.client_id, self.client_secret, redirect, state, verifier)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A grant of Autodesk's that signs for itself. `clock`: seconds since the epoch. *base*: the address of the APIs."""

    client_id: str
    client_secret: str = field(repr=False)
    service_account_id: str
    key_id: str
    key: RSAPrivateKey = field(repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)

    @property
    def user(self) -> str:
        """Whose requests these are, to the upstream's limits."""
        return self.service_account_id

    def credentials(self, base: str) -> "JwtBearer":
        """A new token whenever one is needed."""
        return JwtBearer(f"{base}{AUTHENTICATION}/token", self)

    def renewal(self, base: str) -> None:
        """There is no refresh token [EXCH]."""

    def consent(self, base: str, redirect: str, state: str, verifier: str) -> None:
        """There is no person."""


def token_of(answer: httpx.Response) -> Token | Fact:
    """The access token of a 200. A token that no header can carry is a fact."""
    body = _object(answer)
    if body is None:
        return fact_of(answer, "token", "the answer is no JSON object")
    value = body.get("access_token")
    if not _carried(value):
        return fact_of(answer, "token", "no usable access_token")
    kind = body.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return fact_of(answer, "token", "the token is not a bearer token")
    return Token(value, _seconds(body.get("expires_in"), LIFETIME))


def tokens_of(answer: httpx.Response) -> Renewed | Fact:
    """Both tokens of a 200: of a consent, or of a renewal. Without a usable access token the refresh token is kept all the same."""
    body, token = _object(answer), token_of(answer)
    refresh = body.get("refresh_token") if body is not None else None
    if body is None or not _carried(refresh):
        return fact_of(answer, "token", "no usable refresh_token")
    value, lifetime = ("", 0.0) if isinstance(token, Fact) else (token.value, token.lifetime)
    return Renewed(value, lifetime, refresh, _seconds(body.get("refresh_token_expires_in"), REFRESH_LIFE))


def error_of(answer: httpx.Response) -> str | None:
    """OAuth's word for what is wrong: `error`, or what a gateway's `developerMessage` begins with (assumption 65)."""
    body = _object(answer) or {}
    said = body.get("error") or body.get("developerMessage")
    word = WORD.match(said.strip()) if isinstance(said, str) else None
    return word[0].lower() if word else None


def veiled(fact: Fact, *secrets: str) -> Fact:
    """The fact without our secrets, should the endpoint echo them."""
    text, code = fact.text or "", fact.code or ""
    for secret in filter(None, secrets):
        text, code = _blotted(text, secret), _blotted(code, secret)
    return replace(fact, text=text or None, code=code or None)


def _blotted(text: str, secret: str) -> str:
    """*text* without *secret*, one that an excerpt has cut at its end included."""
    text = text.replace(secret, "…")
    cut = next((n for n in range(len(secret) - 1, 3, -1) if text.endswith(secret[:n])), 0)
    return f"{text[:-cut]}…" if cut else text


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = decoded(answer)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _carried(value: object) -> TypeGuard[str]:
    """Whether a header can carry it."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _seconds(asked: object, otherwise: float) -> float:
    try:
        seconds = float(asked)  # type: ignore[arg-type]  # some servers send a text
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return seconds if math.isfinite(seconds) and seconds > 0 else otherwise
