"""Authentication v2: consents, refresh tokens that are good for once, service accounts."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.sandbox.site import MANAGER, Site
from worker.sandbox.authentication import AUDIENCE, JWT_BEARER, signed
from worker.sandbox.exchange import Request
from worker.sandbox.faults import Fault, Faulty, Script

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BACK = "http://127.0.0.1:9/callback"
SECRET = {"client_id": "sandbox", "client_secret": "sandbox"}
ROBOT = "S8DEPX8B2HXJZ2QA"


@pytest.fixture
def site():
    return Site()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def basic(client="sandbox", secret="sandbox"):
    return base64.b64encode(f"{client}:{secret}".encode()).decode()


def consent(site, **query):
    """Where the browser is sent, and with what."""
    asked = {"response_type": "code", "client_id": "sandbox", "redirect_uri": BACK, "scope": "data:read data:write", "state": "s1", **query}
    answer = site.autodesk(Request.of("GET", f"/autodesk/authentication/v2/authorize?{urlencode(asked)}"))
    if answer.status != 302:
        return answer
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def exchange(site, code, **form):
    return site.form("token", grant_type="authorization_code", code=code, redirect_uri=BACK, **form)


def whose(site, answer):
    return site.get("/users/me", bearer=answer.json()["access_token"])["id"]


def test_a_consent_and_its_tokens(site):
    back = consent(site)
    assert back["state"] == "s1"
    answer = exchange(site, back["code"], **SECRET)
    given = answer.json()
    assert (answer.status, given["token_type"], given["expires_in"]) == (200, "Bearer", 3599)
    assert whose(site, answer) == MANAGER
    assert exchange(site, back["code"], **SECRET).status == 400, "a code is good for once"


@pytest.mark.parametrize("how", ["client", "query", "control"])
def test_whose_consent_it_is(site, how):
    client = "sandbox:jane" if how == "client" else "sandbox"
    site.authentication.consenting = "jane" if how == "control" else None
    back = consent(site, client_id=client, **({"user": "jane"} if how == "query" else {}))
    assert whose(site, exchange(site, back["code"], client_id=client, client_secret="sandbox")) == "jane"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"scope": "data:everything"}, "invalid_scope"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_consent_that_cannot_be(site, query, told):
    assert consent(site, **query) == {"error": told, "state": "s1"}


def test_a_consent_that_is_denied(site):
    site.authentication.consenting = ""
    assert consent(site)["error"] == "access_denied"


def test_nobody_is_sent_to_where_no_client_is_known(site):
    assert consent(site, client_id="stranger").status == 400


@pytest.mark.parametrize(
    ("asked", "form", "status"),
    [
        ({"code_challenge": CHALLENGE}, {"client_id": "sandbox", "code_verifier": VERIFIER}, 200),
        ({"code_challenge": CHALLENGE}, {"code_verifier": VERIFIER, **SECRET}, 200),
        ({"code_challenge": CHALLENGE}, {"client_id": "sandbox", "code_verifier": "w" * 43}, 400),
        ({"code_challenge": CHALLENGE}, {"client_id": "sandbox", "code_verifier": "short"}, 400),
        ({"code_challenge": CHALLENGE}, {"client_id": "sandbox"}, 400),
        ({}, {"client_id": "sandbox"}, 401),
        ({}, {"client_id": "sandbox", "client_secret": "wrong"}, 401),
        ({}, {"client_id": "stranger", "client_secret": "sandbox"}, 401),
        ({}, {}, 401),
    ],
)
def test_who_exchanges_a_code(site, asked, form, status):
    assert exchange(site, consent(site, **asked)["code"], **form).status == status


def test_basic_or_body_but_not_both(site):
    code = consent(site)["code"]
    assert exchange(site, code, basic=basic(), client_id="sandbox").status == 400
    assert exchange(site, code, basic=basic()).status == 200
    assert exchange(site, consent(site)["code"], basic=basic(secret="wrong")).status == 401
    assert exchange(site, consent(site)["code"], basic="!").status == 401


def test_a_code_lives_five_minutes_and_for_one_address(site):
    code = consent(site)["code"]
    assert site.form("token", grant_type="authorization_code", code=code, redirect_uri=f"{BACK}/", **SECRET).status == 400
    code = consent(site)["code"]
    site.clock.pass_(300)
    assert exchange(site, code, **SECRET).status == 400


def test_an_access_token_lives_an_hour(site):
    bearer = site.bearer()
    site.clock.pass_(3598)
    assert site.call("GET", "/users/me", bearer=bearer).status == 200
    site.clock.pass_(1)
    assert site.call("GET", "/users/me", bearer=bearer).status == 401


def test_a_refresh_token_is_good_for_once_and_for_fifteen_days(site):
    first = site.authentication.grant("sandbox", "jane")["refresh_token"]
    site.clock.pass_(15 * 86_400 - 1)
    answer = site.renew(first)
    assert whose(site, answer) == "jane"
    assert site.renew(first).status == 400
    site.clock.pass_(15 * 86_400 - 1)
    answer = site.renew(answer.json()["refresh_token"])
    assert answer.status == 200, "each has fifteen days of its own"
    site.clock.pass_(15 * 86_400)
    assert site.renew(answer.json()["refresh_token"]).status == 400


@pytest.mark.parametrize(("waited", "status"), [(59, 200), (61, 400)])
def test_where_a_second_use_is_forgiven_it_is_for_a_minute(waited, status):
    site = Site(lost_refresh="grace")
    first = site.authentication.grant("sandbox")["refresh_token"]
    answered = site.renew(first).json()
    site.clock.pass_(waited)
    again = site.renew(first)
    assert again.status == status
    assert status == 400 or again.json() == answered


@pytest.mark.parametrize(("asked", "status"), [("data:read", 200), ("data:read data:write", 200), ("data:read data:create", 400)])
def test_a_refresh_may_ask_for_less(site, asked, status):
    """And for no more than what was consented to; a refused one leaves the token as it was."""
    first = site.authentication.grant("sandbox")["refresh_token"]
    answer = site.renew(first, scope=asked)
    assert answer.status == status
    if status == 400:
        assert site.renew(first).status == 200
    elif asked == "data:read":
        assert site.call("POST", "/items/x:transition", {}, bearer=answer.json()["access_token"]).status == 403


@pytest.mark.parametrize(("public", "form", "status"), [(True, {"client_secret": ""}, 200), (False, {"client_secret": ""}, 400)])
def test_who_renews_without_a_secret(site, public, form, status):
    token = site.authentication.grant("sandbox", public=public)["refresh_token"]
    assert site.renew(token, **form).status == status


def test_a_refresh_token_is_its_clients(site):
    token = site.authentication.grant("sandbox:jane")["refresh_token"]
    assert site.renew(token).status == 400
    assert site.renew(token, client_id="sandbox:jane").status == 200


def test_a_revoked_token(site):
    given = site.authentication.grant("sandbox")
    assert site.form("introspect", token=given["refresh_token"], **SECRET).json()["userid"] == MANAGER
    for token in (given["access_token"], given["refresh_token"], "unknown"):
        assert site.form("revoke", token=token, token_type_hint="refresh_token", **SECRET).status == 200
        assert site.form("introspect", token=token, **SECRET).json() == {"active": False}
    assert site.call("GET", "/users/me", bearer=given["access_token"]).status == 401
    assert site.renew(given["refresh_token"]).status == 400


def test_a_client_cannot_revoke_anothers(site):
    given = site.authentication.grant("sandbox:jane")
    site.form("revoke", token=given["refresh_token"], **SECRET)
    assert site.renew(given["refresh_token"], client_id="sandbox:jane").status == 200


def test_a_token_of_no_user(site):
    answer = site.form("token", basic=basic(), grant_type="client_credentials", scope="data:read")
    assert set(answer.json()) == {"access_token", "token_type", "expires_in"}
    shown = site.form("introspect", token=answer.json()["access_token"], **SECRET).json()
    assert (shown["active"], "userid" in shown) == (True, False)
    assert site.form("token", grant_type="client_credentials", client_id="sandbox").status == 401


@pytest.mark.parametrize("grant", ["", "password"])
def test_a_grant_that_is_none(site, grant):
    answer = site.form("token", grant_type=grant, **SECRET)
    assert answer.status == 400
    assert answer.json()["developerMessage"].startswith("unsupported_grant_type")


def test_a_body_that_is_no_form(site):
    answer = site.autodesk(Request.of("POST", "/autodesk/authentication/v2/token", {"content-type": "application/json"}, b"{}"))
    assert answer.status == 400


def test_a_path_with_two_slashes(site):
    """As one SDK of Autodesk's own asks."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"grant_type": "client_credentials", "scope": "data:read", **SECRET}).encode()
    assert site.autodesk(Request.of("POST", "/autodesk//authentication/v2/token", headers, body)).status == 200


# ---- service accounts


@pytest.fixture
def robot(site, key):
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    site.authentication.enrol({"id": ROBOT, "client_id": "sandbox", "keys": {"k1": pem}})
    return site


def assertion(site, key, head=None, **claims: Any):
    now = int(site.clock())
    told = {"iss": "sandbox", "sub": ROBOT, "aud": AUDIENCE, "exp": now + 300, "scope": ["data:read", "data:write"], **claims}
    return signed({"alg": "RS256", "kid": "k1", **(head or {})}, told, key)


def test_a_service_account_is_a_user(robot, key):
    answer = robot.form("token", basic=basic(), grant_type=JWT_BEARER, assertion=assertion(robot, key))
    given = answer.json()
    assert (answer.status, given["expires_in"], "refresh_token" in given) == (200, 3600, False)
    assert whose(robot, answer) == ROBOT
    item = robot.item([ROBOT])
    closed = robot.call("POST", f"{robot.ref(item)}:close", {"responseId": robot.reply()}, bearer=given["access_token"])
    assert closed.json()["respondedBy"] == ROBOT


@pytest.mark.parametrize(
    ("claims", "head"),
    [
        ({"aud": "http://127.0.0.1/token"}, {}),
        ({"iss": "other"}, {}),
        ({"sub": "other"}, {}),
        ({"exp": 1_790_000_301}, {}),
        ({"exp": 1_790_000_000}, {}),
        ({"exp": "soon"}, {}),
        ({"scope": "data:read"}, {}),
        ({"scope": ["data:everything"]}, {}),
        ({}, {"kid": "k2"}),
        ({}, {"alg": "RS512"}),
    ],
)
def test_an_assertion_that_is_refused(robot, key, claims, head):
    assert robot.form("token", basic=basic(), grant_type=JWT_BEARER, assertion=assertion(robot, key, head, **claims)).status == 400


def test_an_assertion_that_another_signed(robot, key):
    whole = assertion(robot, key)
    head, _, signature = whole.split(".")
    forged = assertion(robot, key, sub="other").split(".")[1]
    for text in (f"{head}.{forged}.{signature}", whole[:-8], "a.b.c", ""):
        assert robot.form("token", basic=basic(), grant_type=JWT_BEARER, assertion=text).status == 400


# ---- who it was


def test_an_id_token_is_signed_with_the_published_key(site):
    token = site.authentication.grant("sandbox", "jane", "openid data:read")["id_token"]
    signed_part, _, signature = token.rpartition(".")
    (jwk,) = site.autodesk(Request.of("GET", "/autodesk/authentication/v2/keys")).json()["keys"]
    n, e = (int.from_bytes(base64.urlsafe_b64decode(f"{jwk[part]}==")) for part in ("n", "e"))
    published = rsa.RSAPublicNumbers(e, n).public_key()
    published.verify(base64.urlsafe_b64decode(f"{signature}=="), signed_part.encode(), padding.PKCS1v15(), SHA256())
    claims = json.loads(base64.urlsafe_b64decode(f"{signed_part.split('.')[1]}=="))
    assert (claims["sub"], claims["aud"]) == ("jane", "sandbox")


def test_user_info(site):
    assert site.get("/autodesk/userinfo", user="jane")["sub"] == "jane"


@pytest.mark.parametrize(("when", "works"), [("before", True), ("after", False)])
def test_a_refresh_whose_answer_is_lost(site, when, works):
    """The old token is as good as it was, or it is dead and nobody has the new one: from outside the two look the same."""
    token = site.authentication.grant("sandbox")["refresh_token"]
    form = urlencode({"grant_type": "refresh_token", "refresh_token": token, **SECRET}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    upstream = Faulty(site.autodesk, Script(faults=[Fault("autodesk.token", "reset", when=when)]))
    assert upstream(Request.of("POST", "/autodesk/authentication/v2/token", headers, form)).how == "reset"
    (grant,) = site.authentication.grants()
    assert (grant["renewed"], grant["refresh_token"] == token) == ((0, True) if works else (1, False))
    assert (site.renew(token).status == 200) is works
