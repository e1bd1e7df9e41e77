"""What the doctor says of an account whose grants work by consent or sign for themselves."""

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from worker.sandbox.project import PROJECT

ROBOT = "S8DEPX8B2HXJZ2QA"


def test_before_the_first_consent(terminal):
    (found,) = terminal.findings("grant tower/mia")
    assert found["verdict"] == "FAIL"
    assert "approvals login --account tower --as mia" in found["todo"]


def test_after_it(terminal):
    terminal.login()
    (found,) = terminal.findings("grant tower/mia")
    assert (found["verdict"], "acts_as proven" in found["detail"]) == ("OK", True), found


def test_a_grant_that_acts_as_another(terminal):
    """Two accounts of one client cannot share tokens of two users, so this takes an edited acts_as and the old tokens under its name."""
    terminal.sandbox.control("POST", "/autodesk/people", {"id": "JOE1", "roles": ["2"]})
    robot(terminal, acts_as="JOE1")
    (found,) = terminal.findings("grant tower/robot")
    assert (found["verdict"], ROBOT in found["detail"], "JOE1" in found["detail"]) == ("FAIL", True, True), found
    assert f"set acts_as to {ROBOT}" in found["todo"]


def test_a_consent_that_is_dead(terminal):
    terminal.login()
    terminal.sandbox.control("POST", "/autodesk/tokens", {"forget": True})
    terminal.lapse(days=1)
    (found,) = terminal.findings("grant tower/mia")
    assert (found["verdict"], "refresh token" in found["detail"]) == ("FAIL", True), found
    assert "approvals login --account tower --as mia" in found["todo"]


def test_tokens_that_nobody_renews(terminal):
    """As when no beat runs: what is not used is renewed after three days all the same."""
    terminal.login()
    terminal.sandbox.control("POST", "/tokens", {"expires_in": 30 * 86_400})
    terminal.lapse(days=1)
    assert terminal.findings("grant tower/mia")[0]["verdict"] == "OK", "renewed, because it was needed"
    terminal.lapse(days=10)
    (found,) = terminal.findings("grant tower/mia")
    assert (found["verdict"], "beat" in found["todo"]) == ("WARN", True), found


def test_a_project_that_is_not_there(terminal):
    terminal.login()
    terminal.set(PROJECT, "00000000-0000-0000-0000-000000000000")
    (found,) = terminal.findings("grant tower/mia")
    assert (found["verdict"], "project_id" in found["todo"]) == ("FAIL", True), found


def test_what_is_to_be_done_where_nobody_says_whose_the_token_is(terminal):
    """It is the network, or the token: project and membership are sent to be looked at only where the upstream has said no."""
    terminal.login()
    terminal.sandbox.fault("autodesk.me", "reset", times=None)
    (unreached,) = terminal.findings("grant tower/mia")
    terminal.sandbox.control("DELETE", "/faults")
    terminal.sandbox.control("POST", "/tokens", {"expire": True})
    (refused,) = terminal.findings("grant tower/mia")
    assert ("network" in unreached["todo"], "is refused" in refused["detail"]) == (True, True), (unreached, refused)
    assert "token good" not in unreached["detail"] + refused["detail"]


def test_a_project_id_with_its_prefix_is_refused_with_a_hint(terminal):
    terminal.set(f'"{PROJECT}"', f'"b.{PROJECT}"')
    result = terminal.run("--account", "tower")
    assert (result.exit_code, "without the b." in result.stderr) == (2, True)


def robot(terminal, acts_as=ROBOT):
    """A service account, in the settings and at the sandbox."""
    key, file = generate_private_key(65537, 2048), terminal.config.parent / "robot.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    terminal.sandbox.control("POST", "/autodesk/people", {"id": ROBOT, "roles": ["2"]})
    terminal.sandbox.control("POST", "/autodesk/accounts", {"id": ROBOT, "client_id": "sandbox", "keys": {"k1": public}})
    grant = {"flow": "service_account", "client_id": "sandbox", "client_secret": "sandbox", "acts_as": acts_as}
    grant |= {"service_account_id": ROBOT, "key_id": "k1", "private_key_file": str(file)}
    lines = "\n".join(f'{key} = "{value}"' for key, value in grant.items())
    terminal.config.write_text(f"{terminal.config.read_text()}\n[accounts.tower.grants.robot]\n{lines}\n")
    return file


def test_a_service_account_needs_nobody(terminal):
    robot(terminal)
    (found,) = terminal.findings("grant tower/robot")
    assert (found["verdict"], "acts_as proven" in found["detail"]) == ("OK", True), found
    result = terminal.run("--account", "tower", "--as", "robot")
    assert (result.exit_code, "needs no login" in result.stderr) == (2, True)


def test_a_private_key_that_others_can_read(terminal):
    file = robot(terminal)
    file.chmod(0o640)
    found = terminal.findings("grant tower/robot")
    assert [finding["verdict"] for finding in found] == ["WARN", "OK"]
    assert "chmod 600" in found[0]["todo"]
