"""The consent of a person: the command, a real HTTP client in the place of the browser, the sandbox's authorize endpoint."""

import json
import signal
import socket

import httpx
import pytest

from tests.cli.tower import SECRET
from worker.sandbox.project import AUTODESK_USER as MANAGER


@pytest.mark.parametrize("public", [False, True])
def test_a_person_logs_in(terminal, public):
    if public:
        terminal.set(SECRET, "")
    result, page = terminal.login("--json")
    assert (result.exit_code, page.status_code) == (0, 200), result.output
    assert "You are logged in" in page.text
    about = json.loads(result.stdout)
    assert (about["account"], about["grant"], about["acts_as"], terminal.stored()) == ("tower", "mia", MANAGER, 1)
    assert about["access_until"] < about["refresh_until"]


def test_a_second_login_takes_the_place_of_the_first(terminal):
    assert [terminal.login()[0].exit_code for _ in range(2)] == [0, 0]
    assert terminal.stored() == 1


def test_the_consent_of_another_is_refused_with_both_named(terminal):
    terminal.sandbox.control("POST", "/autodesk/people", {"id": "JOE1", "roles": ["2"]})
    terminal.sandbox.control("POST", "/autodesk/consents", {"user": "JOE1"})
    result, page = terminal.login()
    assert (result.exit_code, result.stdout, terminal.stored()) == (1, "", 0)
    for said in (result.stderr, page.text):
        assert "JOE1" in said
        assert MANAGER in said
        assert "nothing was stored" in said


def test_a_stranger_to_the_project_is_no_proof(terminal):
    terminal.sandbox.control("POST", "/autodesk/people", {"id": "JOE2", "roles": []})
    terminal.sandbox.control("POST", "/autodesk/consents", {"user": "JOE2"})
    result, page = terminal.login()
    assert (result.exit_code, terminal.stored()) == (1, 0)
    assert "member of the project" in result.stderr
    assert "Not logged in" in page.text


def test_a_consent_that_is_denied(terminal):
    terminal.sandbox.control("POST", "/autodesk/consents", {"user": ""})
    result, page = terminal.login()
    assert (result.exit_code, terminal.stored()) == (1, 0)
    for said in (result.stderr, page.text):
        assert "access_denied" in said


def test_a_wrong_secret_is_told_and_not_shown(terminal):
    terminal.set(SECRET, 'client_secret = "hunter2"')
    result, page = terminal.login()
    assert (result.exit_code, terminal.stored()) == (1, 0)
    assert "check client_id and client_secret" in result.stderr
    assert "hunter2" not in result.output + page.text


def test_tokens_that_cannot_be_sealed_are_told_on_the_page_too(terminal):
    key = terminal.config.parent / "ledger.db.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    result, page = terminal.login()
    assert (result.exit_code, terminal.stored()) == (2, 0)
    assert "ledger.db.key" in result.stderr
    assert "Not logged in" in page.text


def test_what_others_send_the_browser_to_ends_nothing(terminal):
    """Any page of the web can make a browser call 127.0.0.1."""
    strangers = []

    def browse(address):
        here = f"http://127.0.0.1:{terminal.port}"
        strangers.append(httpx.get(f"{here}/favicon.ico").status_code)
        queries = ("", "?code=c", "?code=c&state=x", "?error=access_denied&state=<script>")
        strangers.extend("another login" in httpx.get(f"{here}/callback{query}").text for query in queries)
        with socket.create_connection(("127.0.0.1", terminal.port)):  # opened in advance, as browsers do, and silent
            return httpx.get(address, follow_redirects=True)

    terminal.browse = browse
    result, page = terminal.login()
    assert (result.exit_code, "You are logged in" in page.text, strangers) == (0, True, [404, True, True, True, True])


def test_the_page_loads_nothing_and_keeps_its_address_to_itself(terminal):
    _, page = terminal.login()
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")


def test_no_token_reaches_the_terminal_or_lies_open_in_the_ledger(terminal):
    result, page = terminal.login()
    (grant,) = terminal.sandbox.control("GET", "/autodesk/grants")
    kept = b"".join(file.read_bytes() for file in terminal.config.parent.glob("ledger.db*"))
    assert grant["refresh_token"] not in result.output + page.text
    assert grant["refresh_token"].encode() not in kept
    assert b"sandbox-access" not in kept


# ---- without a browser of its own


def test_the_address_is_pasted(terminal):
    process, address = terminal.begin("--paste")
    landed = httpx.get(address).headers["location"]
    out, err = process.communicate(landed + "\n", timeout=60)
    assert (process.returncode, terminal.stored()) == (0, 1), err
    assert "is logged in" in out


@pytest.mark.parametrize(
    ("pasted", "told"),
    [
        ("", "nothing was pasted"),
        ("http://127.0.0.1/callback\n", "the whole address"),
        ("http://127.0.0.1/callback?state=x&code=c\n", "another login"),
    ],
)
def test_a_pasted_address_that_is_none(terminal, pasted, told):
    result = terminal.run("--account", "tower", "--paste", stdin=pasted)
    assert (result.exit_code, terminal.stored()) == (1, 0)
    assert told in result.stderr


# ---- before anything is asked


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (("--account", "finance"), 2, "needs no login"),
        (("--account", "tower", "--as", "joe"), 2, "unknown grant"),
        ((), 2, "--account"),
        (("--account", "tower", "--within", "1ms", "--no-browser"), 6, "nobody came back"),
    ],
)
def test_what_cannot_be_says_why(terminal, args, status, told):
    result = terminal.run(*args)
    assert (result.exit_code, told in result.stderr) == (status, True), result.output


def test_a_port_that_is_taken(terminal):
    with socket.socket() as other:
        other.bind(("127.0.0.1", terminal.port))
        other.listen()
        result = terminal.run("--account", "tower")
    assert (result.exit_code, "cannot be had" in result.stderr) == (1, True)


def test_ctrl_c_leaves_nothing(terminal):
    process, _ = terminal.begin()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, terminal.stored()) == (1, 0)
    assert "Traceback" not in err
