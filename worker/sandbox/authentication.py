"""Authentication v2: whose a token is. Consent (with PKCE), refresh tokens that are good for once, service accounts, and tokens of no user.

Every rule is published [OAS-A][TOKEN][REFRESH][JWT] but for 44, 54, 65 and 66. A consent asks nobody: it is given at once, by the client's
user or by whoever the test names. Access tokens are opaque here; at Autodesk they are JWTs, which nobody is meant to look into.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from worker.sandbox.exchange import Request, Response, answer
from worker.sandbox.project import AUTODESK_USER, Project

AUDIENCE = "https://developer.api.autodesk.com/authentication/v2/token"
"""`aud` of a service account's assertion, wherever it is sent [JWT]."""

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {"data:read", "data:write", "data:create", "data:search", "account:read", "account:write", "user-profile:read", "openid"}
)
CODE_LIFE, ACCESS_LIFE, REFRESH_LIFE = 300.0, 3599.0, 15 * 86_400.0
GRACE = 60.0
"""For how long a used refresh token is answered again, where that is assumed (44)."""


@dataclass(frozen=True, slots=True)
class App:
    """A registered application, and who consents to it."""

    id: str
    secret: str
    user: str


@dataclass(frozen=True, slots=True)
class Account:
    """A service account: its app, and its keys by `kid`."""

    id: str
    client: str
    keys: Mapping[str, RSAPublicKey]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token. No user: of an application only."""

    client: str
    user: str | None
    scopes: frozenset[str]
    until: float
    family: int

    @property
    def app(self) -> str:
        """What is counted against the limit of an app: `sandbox:jane` and `sandbox:joe` are two users of one."""
        return self.client.partition(":")[0]


@dataclass(frozen=True, slots=True)
class _Code:
    client: str
    user: str
    scopes: frozenset[str]
    redirect: str
    challenge: str | None
    until: float


@dataclass(frozen=True, slots=True)
class _Renewal:
    """A refresh token. `used`: when it was, and what was answered."""

    client: str
    user: str
    scopes: frozenset[str]
    until: float
    family: int
    public: bool
    used: tuple[float, dict[str, Any]] | None = None


class _RefusedError(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error = status, error


class Authentication:
    """Who may do what for how long. The clock and the switches are the project's."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.apps: dict[str, App] = {"sandbox": App("sandbox", "sandbox", AUTODESK_USER)}
        self.accounts: dict[str, Account] = {}
        self.access_life = ACCESS_LIFE
        self.refresh_life = REFRESH_LIFE
        self.consenting: str | None = None
        """Who consents, if it is not the client's user; the empty string: nobody does."""
        self._tokens: dict[str, Token] = {}
        self._codes: dict[str, _Code] = {}
        self._renewals: dict[str, _Renewal] = {}
        self._given = 0
        self._key: RSAPrivateKey | None = None

    def app(self, client: str) -> App | None:
        """A registered one, or `sandbox:<user id>`: secret `sandbox`, acts as that user."""
        head, _, user = client.partition(":")
        return App(client, "sandbox", user) if head == "sandbox" and user else self.apps.get(client)

    def token(self, bearer: str, at: float) -> Token | None:
        """What a bearer may do, if anything."""
        token = self._tokens.get(bearer)
        return token if token is not None and token.until > at else None

    def expire(self, bearer: str | None = None) -> None:
        """That access token, or all of them, are valid no longer. Refresh tokens are."""
        if bearer is None:
            self._tokens.clear()
        else:
            self._tokens.pop(bearer, None)

    def forget(self) -> None:
        """No refresh token is valid any more, as after 15 days of silence or a changed password."""
        self._renewals.clear()

    def enrol(self, spec: Mapping[str, Any]) -> Account:
        """A service account: `id`, `client_id`, `keys` ({kid: PEM of the public key})."""
        keys = {}
        for kid, pem in spec["keys"].items():
            key = load_pem_public_key(pem.encode())
            if not isinstance(key, RSAPublicKey):
                raise TypeError("a key of a service account is an RSA key")
            keys[kid] = key
        account = Account(spec["id"], spec["client_id"], keys)
        self.accounts[account.id] = account
        return account

    def grant(self, client: str, user: str | None = None, scope: str = "data:read data:write", *, public: bool = False) -> dict[str, Any]:
        """Tokens as after a consent, for a test that is not about consents."""
        app = self.app(client)
        if app is None:
            raise ValueError(f"no client {client!r}")
        return self._answered(client, user or app.user, frozenset(scope.split()), self._next(), public=public)

    def grants(self) -> list[dict[str, Any]]:
        """Every consent: whose it is, how often it was renewed, and the refresh token that is good now, if any is."""
        found: dict[int, dict[str, Any]] = {}
        for key, held in self._renewals.items():
            fresh = {
                "client_id": held.client,
                "user": held.user,
                "scope": " ".join(sorted(held.scopes)),
                "renewed": 0,
                "refresh_token": None,
            }
            row = found.setdefault(held.family, fresh)
            row["renewed"] += held.used is not None
            if held.used is None and held.until > self.project.now():
                row["refresh_token"] = key
        return list(found.values())

    # ---- the endpoints

    def authorize(self, request: Request) -> Response:
        """GET /authorize: the consent, given at once, by a redirect."""
        asked = request.query
        app = self.app(asked.get("client_id", ""))
        scopes = frozenset(asked.get("scope", "").split())
        if app is None or not asked.get("redirect_uri") or asked.get("response_type") != "code":
            return self.error(400, "invalid_request", "client_id, redirect_uri and response_type=code are needed")
        back = {"state": asked["state"]} if "state" in asked else {}
        if asked.get("code_challenge") and asked.get("code_challenge_method", "S256") != "S256":
            return self._back(request, {"error": "invalid_request", **back})
        if not scopes or not scopes <= SCOPES:
            return self._back(request, {"error": "invalid_scope", **back})
        user = asked.get("user") or (app.user if self.consenting is None else self.consenting)
        if not user:
            return self._back(request, {"error": "access_denied", **back})
        code = f"sandbox-code-{self._next()}"
        until = self.project.now() + CODE_LIFE
        self._codes[code] = _Code(app.id, user, scopes, asked["redirect_uri"], asked.get("code_challenge"), until)
        return self._back(request, {"code": code, **back})

    def issue(self, request: Request) -> Response:
        """POST /token."""
        try:
            return answer(200, self._issued(request))
        except _RefusedError as refused:
            return self.error(refused.status, refused.error, str(refused))

    def _issued(self, request: Request) -> dict[str, Any]:
        form = _form(request)
        client, proved = self._client(request, form)
        match form.get("grant_type"):
            case "authorization_code":
                return self._exchange(form, client, proved=proved)
            case "refresh_token":
                return self._renew(form, client, proved=proved)
            case "client_credentials" if proved:
                return self._access(client, None, self._scopes(form.get("scope", "data:read"), SCOPES), self._next())
            case grant if grant == JWT_BEARER and proved:
                return self._asserted(form.get("assertion", ""), client)
            case "client_credentials" | "urn:ietf:params:oauth:grant-type:jwt-bearer":
                raise _RefusedError(401, "invalid_client", "the client has to prove itself")
            case _:
                raise _RefusedError(400, "unsupported_grant_type", "grant_type is missing or unknown")

    def revoke(self, request: Request) -> Response:
        """POST /revoke: 200, also for a token that nobody knows (RFC 7009)."""
        try:
            form = _form(request)
            client, _ = self._client(request, form)
        except _RefusedError as refused:
            return self.error(refused.status, refused.error, str(refused))
        token = form.get("token", "")
        for kept in (self._tokens, self._renewals):
            held: Any = kept.get(token)
            if held is not None and held.client == client:
                del kept[token]
        return Response(200)

    def introspect(self, request: Request) -> Response:
        """POST /introspect: what a token is."""
        try:
            form = _form(request)
            self._client(request, form)
        except _RefusedError as refused:
            return self.error(refused.status, refused.error, str(refused))
        held: Token | _Renewal | None = self._tokens.get(form.get("token", "")) or self._renewals.get(form.get("token", ""))
        if held is None or held.until <= self.project.now() or (isinstance(held, _Renewal) and held.used):
            return answer(200, {"active": False})
        shown = {"active": True, "scope": " ".join(sorted(held.scopes)), "client_id": held.client, "exp": int(held.until)}
        return answer(200, {**shown, "userid": held.user} if held.user else shown)

    def keys(self) -> Response:
        """GET /keys: what an `id_token` is signed with."""
        numbers = self._signing().public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "sandbox", "n": _number(numbers.n), "e": _number(numbers.e)}
        return answer(200, {"keys": [key]})

    def userinfo(self, token: Token) -> Response:
        """GET /userinfo, which at Autodesk is another host's [OAS-A]."""
        return answer(200, {"sub": token.user, "name": token.user, "preferred_username": token.user})

    def error(self, status: int, error: str, description: str = "") -> Response:
        """An error of the token endpoint (65)."""
        if self.project.switches.token_error == "oauth":
            return answer(status, {"error": error, "error_description": description})
        return gateway(status, f"{error}: {description}", "ERR-001" if status == 429 else "ERR-003" if status >= 500 else "AUTH-001")

    # ---- the grants

    def _exchange(self, form: Mapping[str, str], client: str, *, proved: bool) -> dict[str, Any]:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.client != client or code.until <= self.project.now() or code.redirect != form.get("redirect_uri"):
            raise _RefusedError(400, "invalid_grant", "the code is unknown, expired, used, or for another redirect_uri")
        verifier = form.get("code_verifier")
        if code.challenge is None and not proved:
            raise _RefusedError(401, "invalid_client", "a client without a secret needs PKCE")
        if code.challenge is not None and (verifier is None or not 43 <= len(verifier) <= 128 or _hashed(verifier) != code.challenge):
            raise _RefusedError(400, "invalid_grant", "the code_verifier does not fit the code_challenge")
        return self._answered(client, code.user, code.scopes, self._next(), public=not proved)

    def _renew(self, form: Mapping[str, str], client: str, *, proved: bool) -> dict[str, Any]:
        """Single use [REFRESH]; what a second use does is (44)."""
        rules, now = self.project.switches, self.project.now()
        given = form.get("refresh_token", "")
        held = self._renewals.get(given)
        if held is None or held.client != client or held.until <= now or not (proved or held.public):
            raise _RefusedError(400, "invalid_grant", "the refresh token is unknown or expired")
        if held.used is not None:
            if rules.lost_refresh == "grace" and now - held.used[0] <= GRACE:
                return held.used[1]
            if rules.lost_refresh == "family":
                self._end(held.family)
            raise _RefusedError(400, "invalid_grant", "the refresh token has been used")
        scopes = self._scopes(form["scope"], held.scopes) if form.get("scope") else held.scopes
        if rules.refresh_ends == "ends":
            self._tokens = {bearer: token for bearer, token in self._tokens.items() if token.family != held.family}
        answered = self._answered(client, held.user, scopes, held.family, public=held.public)
        self._renewals[given] = replace(held, used=(now, answered))
        return answered

    def _end(self, family: int) -> None:
        self._tokens = {bearer: token for bearer, token in self._tokens.items() if token.family != family}
        self._renewals = {key: held for key, held in self._renewals.items() if held.family != family}

    def _asserted(self, assertion: str, client: str) -> dict[str, Any]:
        """A service account's own signed word [JWT]. There is no refresh token."""
        try:
            signed, _, signature = assertion.rpartition(".")
            head, claims = (json.loads(_decoded(part)) for part in signed.split("."))
            account = self.accounts[claims["sub"]]
            account.keys[head["kid"]].verify(_decoded(signature), signed.encode(), PKCS1v15(), SHA256())
            expires, scopes = float(claims["exp"]), claims["scope"]
        except (ValueError, KeyError, TypeError, InvalidSignature, binascii.Error):
            raise _RefusedError(400, "invalid_grant", "the assertion is not signed as it should be") from None
        now = self.project.now()
        if head.get("alg") != "RS256":
            raise _RefusedError(400, "invalid_grant", "alg is RS256")
        if account.client != client or claims.get("iss") != client or claims.get("aud") != AUDIENCE:
            raise _RefusedError(400, "invalid_grant", f"iss is the client, aud is {AUDIENCE}")
        if not now < expires <= now + 300:
            raise _RefusedError(400, "invalid_grant", "exp is not later than five minutes from now, and not past")
        if not isinstance(scopes, list):
            raise _RefusedError(400, "invalid_scope", "scope is an array")
        return {**self._access(client, account.id, self._scopes(" ".join(map(str, scopes)), SCOPES), self._next()), "expires_in": 3600}

    def _answered(self, client: str, user: str, scopes: frozenset[str], family: int, *, public: bool) -> dict[str, Any]:
        renewal = f"sandbox-refresh-{self._next()}"
        self._renewals[renewal] = _Renewal(client, user, scopes, self.project.now() + self.refresh_life, family, public)
        answered = {**self._access(client, user, scopes, family), "refresh_token": renewal}
        return {**answered, "id_token": self._signed({"sub": user, "aud": client})} if "openid" in scopes else answered

    def _access(self, client: str, user: str | None, scopes: frozenset[str], family: int) -> dict[str, Any]:
        token = f"sandbox-access-{self._next()}"
        now = self.project.now()
        if len(self._tokens) > 10_000:  # a sandbox that runs for days
            self._tokens = {bearer: held for bearer, held in self._tokens.items() if held.until > now}
        self._tokens[token] = Token(client, user, scopes, now + self.access_life, family)
        return {"access_token": token, "token_type": "Bearer", "expires_in": int(self.access_life)}

    def _scopes(self, asked: str, allowed: frozenset[str]) -> frozenset[str]:
        scopes = frozenset(asked.split())
        if not scopes or not scopes <= allowed:
            raise _RefusedError(400, "invalid_scope", "a scope is unknown, or is more than what was consented to")
        return scopes

    def _client(self, request: Request, form: Mapping[str, str]) -> tuple[str, bool]:
        """Who asks, and whether they proved it: by Basic or in the body, never both [TOKEN]; a public app has no secret."""
        scheme, _, basic = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            if "client_id" in form or "client_secret" in form:
                raise _RefusedError(400, "invalid_request", "the client is told in the header and in the body")
            try:
                # an id of ours may hold a colon, the secret does not
                client, _, secret = base64.b64decode(basic).decode().rpartition(":")
            except ValueError:
                raise _RefusedError(401, "invalid_client", "the header cannot be read") from None
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        app = self.app(client)
        if app is None or (secret and app.secret != secret):
            raise _RefusedError(401, "invalid_client", "the client is unknown or its secret is wrong")
        return client, bool(secret)

    def _back(self, request: Request, told: Mapping[str, str]) -> Response:
        target = request.query["redirect_uri"]
        return Response(302, {"Location": f"{target}{'&' if '?' in target else '?'}{urlencode(told)}"})

    def _next(self) -> int:
        self._given += 1
        return self._given

    def _signing(self) -> RSAPrivateKey:
        if self._key is None:
            self._key = generate_private_key(65537, 2048)
        return self._key

    def _signed(self, claims: Mapping[str, Any]) -> str:
        return signed({"alg": "RS256", "kid": "sandbox"}, {**claims, "exp": int(self.project.now() + self.access_life)}, self._signing())


def signed(head: Mapping[str, Any], claims: Mapping[str, Any], key: RSAPrivateKey) -> str:
    """A JWT, RS256."""
    text = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{_encoded(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def gateway(status: int, message: str, code: str) -> Response:
    """An error of what stands before every API of Autodesk [AUTHERR]."""
    more = "https://aps.autodesk.com/en/docs/oauth/v2/developers_guide/error_handling"
    return answer(status, {"developerMessage": message, "userMessage": "", "errorCode": code, "more info": more})


def _form(request: Request) -> dict[str, str]:
    if "application/x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        raise _RefusedError(400, "invalid_request", "the body is a form")
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _hashed(verifier: str) -> str:
    return _encoded(hashlib.sha256(verifier.encode()).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
