"""How tokens are asked for: each flow against the simulated authentication service, and what an unkind one can bring."""

import base64
import json
from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.sandbox.site import MANAGER, Site
from worker.core.outcomes import Fact
from worker.core.renewal import Renewed
from worker.sandbox.exchange import Request
from worker.upstreams.auth import AuthorizationCode, ServiceAccount
from worker.upstreams.base import Token

BASE = "https://developer.api.autodesk.com/autodesk"
BACK = "http://127.0.0.1:8721/callback"
ROBOT = "S8DEPX8B2HXJZ2QA"
STATE, VERIFIER = "s" * 43, "v" * 86


@pytest.fixture
def site():
    return Site()


@pytest.fixture(scope="module")
def key():
    return generate_private_key(65537, 2048)


def by(site):
    """The sandbox as an httpx application."""

    def app(request):
        answer = site.autodesk(Request.of(request.method, str(request.url), dict(request.headers), request.content))
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)

    return app


def asked(flow, app):
    """What a flow of one request returns when *app* answers."""
    request = next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send(app(request))
    return end.value.value


def whose(site, token):
    return site.get("/users/me", bearer=token)["id"]


# ---- service accounts


@pytest.fixture
def robot(site, key):
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    site.authentication.enrol({"id": ROBOT, "client_id": "sandbox", "keys": {"k1": pem}})
    return ServiceAccount("sandbox", "sandbox", ROBOT, "k1", key, site.clock)


def test_a_service_account_acts_as_itself(site, robot):
    token = asked(robot.credentials(BASE).fetch(), by(site))
    assert (token.lifetime, whose(site, token.value)) == (3600, ROBOT)


def test_an_assertion_is_for_the_published_address_wherever_it_is_sent(robot):
    request = next(robot.credentials("http://127.0.0.1:1/autodesk").fetch())
    claims = json.loads(decoded(dict(parse_qsl(request.content.decode()))["assertion"].split(".")[1]))
    assert (claims["aud"], claims["scope"]) == ("https://developer.api.autodesk.com/authentication/v2/token", ["data:read", "data:write"])


def decoded(part):
    return base64.urlsafe_b64decode(part + "==")


@pytest.mark.parametrize("off", [-140, 140])
def test_a_clock_that_is_two_minutes_off_is_forgiven(site, robot, key, off):
    account = ServiceAccount("sandbox", "sandbox", ROBOT, "k1", key, lambda: site.clock() + off)
    assert isinstance(asked(account.credentials(BASE).fetch(), by(site)), Token)


@pytest.mark.parametrize("off", [-200, 200])
def test_a_clock_that_is_further_off_is_told(site, robot, key, off):
    account = ServiceAccount("sandbox", "sandbox", ROBOT, "k1", key, lambda: site.clock() + off)
    fact = asked(account.credentials(BASE).fetch(), by(site))
    assert (fact.status, "exp" in fact.text) == (400, True)


@pytest.mark.parametrize("shape", ["gateway", "oauth"])
def test_a_wrong_secret_is_a_fact_in_whichever_shape_it_is_told(robot, shape, key):
    site = Site(token_error=shape)
    fact = asked(ServiceAccount("sandbox", "hunter2", ROBOT, "k1", key, site.clock).credentials(BASE).fetch(), by(site))
    assert (fact.status, "invalid_client" in str(fact)) == (401, True)


def test_a_service_account_needs_neither_renewal_nor_consent(robot):
    assert robot.renewal(BASE) is None
    assert robot.consent(BASE, BACK, STATE, VERIFIER) is None


# ---- consents


def consent(secret="sandbox", client="sandbox", verifier=VERIFIER):
    return AuthorizationCode(f"{BASE}/authentication/v2", client, secret, BACK, STATE, verifier)


def back(site, address):
    """The query that the browser comes back with."""
    answer = by(site)(httpx.Request("GET", address))
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (302, BACK)
    return dict(httpx.URL(answer.headers["location"]).params)


@pytest.mark.parametrize("secret", ["sandbox", ""], ids=["with a secret", "public"])
def test_a_consent_brings_both_tokens_of_its_user(site, secret):
    flow = consent(secret)
    got = asked(flow.exchange(flow.code(back(site, flow.address))), by(site))
    assert (whose(site, got.access), got.lifetime) == (MANAGER, 3599)
    assert site.renew(got.refresh, client_secret=secret).status == 200


def test_what_was_consented_to_is_looking_and_closing(site):
    flow = consent()
    asked(flow.exchange(flow.code(back(site, flow.address))), by(site))
    assert [grant["scope"] for grant in site.authentication.grants()] == ["data:read data:write"]


def test_a_code_that_somebody_saw_is_no_use_without_the_verifier(site):
    flow, thief = consent(""), consent("", verifier="w" * 86)
    fact = asked(thief.exchange(flow.code(back(site, flow.address))), by(site))
    assert (fact.status, "code_verifier" in fact.text) == (400, True)


def test_the_address_tells_no_secret():
    assert VERIFIER not in consent("hunter2").address
    assert "hunter2" not in consent("hunter2").address


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"code": "c"}, "no state"),
        ({"code": "c", "state": "x"}, "another login"),
        ({"state": STATE}, "no code"),
        ({"state": STATE, "code": ""}, "no code"),
        ({"state": STATE, "error": "access_denied"}, "access_denied"),
        ({"state": STATE, "error": "access_denied", "error_description": "Jane\x00 said no", "code": "c"}, "Jane\ufffd said no"),
    ],
)
def test_an_answer_without_a_consent_is_a_fact(answer, told):
    fact = consent().code(answer)
    assert isinstance(fact, Fact)
    assert told in str(fact)


def test_a_denied_consent_comes_back_as_such(site):
    site.authentication.consenting = ""
    flow = consent()
    assert "access_denied" in str(flow.code(back(site, flow.address)))


def test_a_code_is_good_for_once(site):
    flow = consent()
    code = flow.code(back(site, flow.address))
    assert isinstance(asked(flow.exchange(code), by(site)), Renewed)
    assert asked(flow.exchange(code), by(site)).status == 400


# ---- what an unkind endpoint can bring


@pytest.fixture(params=["consent", "assertion"])
def flow(request, robot):
    """Each flow, begun with secrets that give themselves away."""
    if request.param == "consent":
        return consent("hunter2").exchange("hunter3-code-that-is-long-enough-to-be-cut")
    return ServiceAccount("sandbox", "hunter2", ROBOT, "k1", robot.key, robot.clock).credentials(BASE).fetch()


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.Response(200, text="<html>"),
        lambda request: httpx.Response(200, json=[]),
        lambda request: httpx.Response(200, json={"access_token": 1, "token_type": "Bearer"}),
        lambda request: httpx.Response(200, json={"access_token": "a b"}),
        lambda request: httpx.Response(302, headers={"Location": "/"}),
        lambda request: httpx.Response(429, headers={"Retry-After": "7"}, json={"developerMessage": "Quota limit exceeded."}),
        lambda request: httpx.Response(503, text=""),
    ],
)
def test_what_is_no_token_is_a_fact(flow, answer):
    assert isinstance(asked(flow, answer), Fact)


@pytest.mark.parametrize("field", ["developerMessage", "error_description", "errorCode"])
@pytest.mark.parametrize("before", ["", "." * 280])
def test_an_endpoint_that_echoes_the_request_betrays_nothing(flow, field, before):
    said = []

    def echo(request):
        said.append(unquote(request.content.decode()) + request.headers.get("authorization", ""))
        return httpx.Response(400, json={field: before + said[0]})

    fact = str(asked(flow, echo))
    form = dict(parse_qsl(said[0]))
    for secret in ("hunter", VERIFIER, form.get("assertion", VERIFIER)[-20:]):
        assert secret not in fact


def test_no_secret_is_shown(site, robot, key):
    flow = consent("hunter2")
    got = asked(consent().exchange(consent().code(back(site, consent().address))), by(site))
    shown = repr((flow, got, ServiceAccount("sandbox", "hunter2", ROBOT, "k1", key), robot.credentials(BASE)))
    for secret in ("hunter2", VERIFIER, STATE, got.access, got.refresh):
        assert secret not in shown
