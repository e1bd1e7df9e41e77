"""What the settings accept, where they come from, and that no fault ever tells a value."""

import re
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from worker.errors import ApprovalsError, SettingsError
from worker.settings import ExchangeSink, Settings, Url, WebhookSink, effective, load, seconds

CONFIG = Path(__file__).parent.parent / "config"

ACCOUNT = """
[accounts.finance]
kind = "workiva"
[accounts.finance.grants.jane]
client_id = "id"
client_secret = "hunter2"
acts_as = "user-1"
"""

TOWER = """
[accounts.tower]
kind = "autodesk"
project_id = "9eae7d59-1469-4389-bfb2-4114e2ba5545"
[accounts.tower.grants.mia]
client_id = "app"
acts_as = "WD43ZJGKDFLFH"
"""

ROBOT = """
[accounts.tower.grants.robot]
client_id = "app"
client_secret = "hunter2"
flow = "service_account"
service_account_id = "S8DEPX8B2HXJZ2QA"
key_id = "k1"
private_key_file = "{pem}"
acts_as = "S8DEPX8B2HXJZ2QA"
"""

LONG = "0123456789abcdef0123456789abcdef"
WHSEC = "whsec_" + b64encode(LONG.encode()).decode()


@pytest.fixture
def pem(tmp_path):
    """The file of a private key."""
    file = tmp_path / "tower.pem"
    file.write_bytes(generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@pytest.fixture
def write(tmp_path):
    def write(text, name="approvals.toml"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return tmp_path / "approvals.toml"

    return write


def faults(path=None, env=None):
    with pytest.raises(SettingsError) as refused:
        load(path, env or {})
    return [line.strip() for line in str(refused.value).splitlines()[1:]]


def paths(path=None, env=None):
    return [fault.partition(":")[0] for fault in faults(path, env)]


def test_nothing_set_is_the_embedded_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(env={})
    assert (settings.ledger.url, settings.broker.url) == ("sqlite:///var/approvals.db", "memory://")
    assert settings.accounts == {}
    assert [(name, sink.kind) for name, sink in settings.sinks.items()] == [("exchange", "exchange")]


def test_the_shipped_file_holds_every_default_and_no_other_value():
    assert load(CONFIG / "approvals.toml", {}) == Settings()


def models(annotation):
    """Every section that stands in a type."""
    if hasattr(annotation, "model_fields"):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for part in getattr(annotation, "__args__", ()):
        yield from models(part)


def test_the_shipped_file_names_every_key():
    text = (CONFIG / "approvals.toml").read_text(encoding="utf-8")
    uncommented = re.sub(r"(?m)^# (?=\[|\w+ = |# )", "", text)
    for model in {Settings, *models(Settings)}:
        for key in model.model_fields:
            assert re.search(rf"(?m)^\[?(accounts\.(finance|tower)\.)?{key}\b", uncommented), f"{model.__name__}.{key}"


def test_the_example_accounts_in_the_shipped_file_are_the_default_accounts(write, pem):
    text = (CONFIG / "approvals.toml").read_text(encoding="utf-8").partition("# Ways out for events")[0]
    example = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if re.match(r"# (\[accounts|\w+ = )", line) and "secrets_dir" not in line
    )
    shown = load(write(example.replace("/run/secrets/tower.pem", str(pem))), {}).accounts
    plain = load(write(ACCOUNT + TOWER), {}).accounts
    for name in ("finance", "tower"):
        assert shown[name].model_copy(update={"grants": {}}) == plain[name].model_copy(update={"grants": {}})
    assert [grant.flow for grant in shown["tower"].grants.values()] == ["refresh_token", "service_account"]


def test_the_demo_variant():
    account = load(CONFIG / "demo.toml", {}).accounts["finance"]
    assert (account.request_deadline, account.lease, account.quiet_period) == (2.0, 3.0, 8.0)
    secret = account.grants["jane"].client_secret
    assert secret
    assert secret.get_secret_value() == "sandbox"


def test_the_production_variant():
    settings = load(CONFIG / "production.toml", {"APPROVALS_LEDGER__ENCRYPTION_KEYS": f"{LONG}2, {LONG}1"})
    assert settings.broker.url.startswith("amqp://")
    assert [key.get_secret_value() for key in settings.ledger.encryption_keys] == [f"{LONG}2", f"{LONG}1"]


def test_the_example_webhook_in_the_shipped_file_is_the_default_webhook(write):
    text = (CONFIG / "approvals.toml").read_text(encoding="utf-8").partition("# [sinks.erp]")[2].partition("[intake]")[0]
    example = "[sinks.erp]\n" + "\n".join(line.removeprefix("# ") for line in text.splitlines() if re.match(r"# \w+ = ", line))
    shown = load(write(example.replace("whsec_…", WHSEC)), {}).sinks["erp"]
    plain = load(write(f'[sinks.erp]\nkind = "webhook"\nurl = "https://erp.example.com/hooks/approvals"\nsecrets = "{WHSEC}"'), {})
    assert shown == plain.sinks["erp"]


@pytest.mark.parametrize(
    ("expected", "text"),
    [(0.5, "500ms"), (25.0, "25s"), (300.0, "5m"), (86400.0, "24h"), (604800.0, "7d"), (1.5, "1.5s")],
)
def test_durations(expected, text):
    assert seconds(text) == expected


@pytest.mark.parametrize("value", ["25", '"25"', '"-5s"', '"1 year"', "true"])
def test_a_duration_needs_its_unit(write, value):
    assert paths(write(ACCOUNT.replace('kind = "workiva"', f'kind = "workiva"\nslack = {value}'))) == ["accounts.finance.slack"]


@pytest.mark.parametrize(("value", "wrong"), [(0, False), (10, False), (9, True), (-1, True)])
def test_a_share_of_the_budget_is_large_enough_to_work_with(write, value, wrong):
    settings = write(ACCOUNT.replace('kind = "workiva"', f'kind = "workiva"\nrequests_per_minute = {value}'))
    assert (paths(settings) if wrong else [load(settings, {}).accounts["finance"].requests_per_minute]) == (
        ["accounts.finance.requests_per_minute"] if wrong else [value]
    )


class TestSources:
    def test_environment_is_stronger_than_a_secret_file_and_that_than_the_configuration(self, write, tmp_path):
        path = write(f'secrets_dir = "{tmp_path}/secrets"\n[broker]\nurl = "amqp://file"\n' + ACCOUNT)
        write("amqp://secret\n", "secrets/broker__url")
        write("postgresql+psycopg://secret/db\n", "secrets/APPROVALS_LEDGER__URL")
        write("kubernetes keeps such", "secrets/..data__link")
        settings = load(path, {"APPROVALS_BROKER__URL": "amqp://environment"})
        assert settings.broker.url == "amqp://environment"
        assert settings.ledger.url == "postgresql+psycopg://secret/db"

    def test_an_account_can_come_from_the_environment_alone(self, write):
        settings = load(
            write(""),
            {
                "APPROVALS_ACCOUNTS__FINANCE__KIND": "workiva",
                "APPROVALS_ACCOUNTS__FINANCE__GRANTS__JANE__CLIENT_ID": "id",
                "APPROVALS_ACCOUNTS__FINANCE__GRANTS__JANE__CLIENT_SECRET": "hunter2",
                "APPROVALS_ACCOUNTS__FINANCE__GRANTS__JANE__ACTS_AS": "user-1",
            },
        )
        assert settings.accounts["finance"].grants["jane"].acts_as == "user-1"

    def test_accounts_may_stand_in_files_of_their_own(self, write):
        path = write("")
        write(ACCOUNT, "accounts.d/finance.toml")
        assert list(load(path, {}).accounts) == ["finance"]

    def test_an_account_in_two_files_has_no_one_truth(self, write):
        path = write(ACCOUNT)
        write(ACCOUNT, "accounts.d/finance.toml")
        assert paths(path) == ["accounts.finance"]

    def test_only_accounts_may_stand_in_accounts_d(self, write):
        path = write("")
        write('namespace = "other"', "accounts.d/finance.toml")
        assert paths(path) == ["namespace"]

    def test_the_variable_names_the_file(self, write):
        assert load(env={"APPROVALS_CONFIG": str(write('namespace = "staging"'))}).namespace == "staging"

    def test_a_file_that_was_named_must_exist(self, tmp_path):
        assert faults(tmp_path / "none.toml") == [f"{tmp_path}/none.toml: there is no such file"]

    def test_the_mapping_is_read_and_not_the_environment_behind_it(self, write, monkeypatch):
        monkeypatch.setenv("APPROVALS_NAMESPACE", "outside")
        monkeypatch.setenv("APPROVALS_LEDGR__URL", "x")
        assert load(write(""), {"APPROVALS_LOG__LEVEL": "debug"}).namespace == "approvals"
        assert Settings().namespace == "approvals"
        monkeypatch.delenv("APPROVALS_LEDGR__URL")
        assert load(write("")).namespace == "outside"

    @pytest.mark.parametrize("keys", ["new,old", " new , old ", '["new", "old"]', ' ["new","old"] '])
    def test_a_list_is_written_as_json_or_with_commas(self, write, tmp_path, keys):
        path = write("")
        keys = keys.replace("new", f"{LONG}2").replace("old", f"{LONG}1")
        (found,) = {load(path, {"APPROVALS_LEDGER__ENCRYPTION_KEYS": keys}).ledger.encryption_keys}
        assert [key.get_secret_value() for key in found] == [f"{LONG}2", f"{LONG}1"]
        write(keys + "\n", "secrets/ledger__encryption_keys")
        assert load(path, {"APPROVALS_SECRETS_DIR": f"{tmp_path}/secrets"}).ledger.encryption_keys == found

    def test_only_files_named_after_a_key_are_secrets_of_ours(self, write, tmp_path):
        path = write("")
        for name in ("token", "namespace", "kubernetes.io/service__account"):
            write("other", f"secrets/{name}")
        assert load(path, {"APPROVALS_SECRETS_DIR": f"{tmp_path}/secrets"}).namespace == "approvals"

    def test_a_list_is_replaced_and_a_section_completed(self, write):
        path = write('[sinks.exchange]\nexchange = "x"\nevents = ["step.*", "submission.*"]')
        sink = load(path, {"APPROVALS_SINKS__EXCHANGE__EVENTS": "*"}).sinks["exchange"]
        assert isinstance(sink, ExchangeSink)
        assert (sink.exchange, sink.events) == ("x", ("*",))

    def test_variables_of_other_programs_are_left_alone(self, write):
        assert load(write(""), {"APPROVALS_TEST_POSTGRES": "x", "LEDGER__URL": "y"}) == Settings()


class TestFaults:
    def test_all_are_told_at_once_each_by_its_path(self, write):
        path = write(
            ACCOUNT
            + """
[accounts.tower]
kind = "procore"
[accounts.site]
kind = "autodesk"
colour = "red"
lease = "29s"
[accounts.site.grants.robot]
flow = "service_account"
[accounts.site.grants.mia]
flow = "password"
[accounts.old]
kind = "workiva"
api_version = "2024-01-01"
lease = "29s"
request_deadline = "25s"
base_url = "ftp://x"
timezone = "Mars/Base"
colour = "red"
[accounts.Upper]
kind = "workiva"
[sinks.erp]
kind = "webhook"
[ledgr]
url = "sqlite://"
"""
        )
        assert paths(path, {"APPROVALS_BROKR__URL": "x", "APPROVALS_BROKER": "x"}) == [
            "accounts.Upper",
            "accounts.old.api_version",
            "accounts.old.base_url",
            "accounts.old.colour",
            "accounts.old.lease",
            "accounts.old.timezone",
            "accounts.site.colour",
            "accounts.site.grants.mia.flow",
            "accounts.site.grants.robot.acts_as",
            "accounts.site.grants.robot.client_id",
            "accounts.site.grants.robot.client_secret",
            "accounts.site.grants.robot.key_id",
            "accounts.site.grants.robot.private_key_file",
            "accounts.site.grants.robot.service_account_id",
            "accounts.site.lease",
            "accounts.site.project_id",
            "accounts.tower.kind",
            "broker",
            "brokr.url",
            "ledgr",
            "sinks.erp.secrets",
            "sinks.erp.url",
        ]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("url", "http://erp.example.com/hunter2"),
            ("url", "https://jane:hunter2@erp.example.com/"),
            ("url", "https://erp.example.com/#hunter2"),
            ("url", "ftp://hunter2/"),
            ("secrets", "hunter2"),
            ("secrets", "whsec_aHVudGVyMg=="),
            ("secrets", f"{WHSEC}, whsec_hunter2"),
            ("allow", "hunter2/8"),
            ("deadline", "90s"),
            ("rate", "-1"),
            ("schedule", "5s, hunter2"),
        ],
    )
    def test_a_webhook_that_cannot_be_called_safely_is_refused_in_words(self, write, key, value):
        right = {"KIND": "webhook", "URL": "https://erp.example.com/", "SECRETS": WHSEC}
        env = {f"APPROVALS_SINKS__ERP__{k}": v for k, v in (right | {key.upper(): value}).items()}
        (fault,) = faults(write(""), env)
        assert fault.startswith(f"sinks.erp.{key}")
        assert "hunter" not in fault

    def test_a_sink_of_an_account_that_is_not_there_would_let_out_nothing(self, write):
        path = write(ACCOUNT + '[sinks.exchange]\naccounts = ["finance", "tower"]')
        assert paths(path) == ["sinks.exchange.accounts"]
        assert load(path, {"APPROVALS_SINKS__EXCHANGE__ACCOUNTS": "finance"}).sinks["exchange"].accounts == ("finance",)

    def test_a_webhook_without_encryption_has_to_be_asked_for(self, write):
        env = {"KIND": "webhook", "URL": "http://erp.example.com/", "SECRETS": WHSEC, "ALLOW_HTTP": "true"}
        sink = load(write(""), {f"APPROVALS_SINKS__ERP__{k}": v for k, v in env.items()}).sinks["erp"]
        assert isinstance(sink, WebhookSink)
        assert (sink.url, sink.allow_http) == ("http://erp.example.com/", True)

    def test_no_fault_tells_a_value(self, write):
        path = write(ACCOUNT.replace('"id"', '["hunter2"]').replace('"user-1"', "42"))
        told = "\n".join(
            faults(
                path,
                {
                    "APPROVALS_BROKER__URL": "ampq://user:hunter2@host",
                    "APPROVALS_LEDGER__URL": "mysql://user:hunter2@host",
                    "APPROVALS_SENTRY__DSN": "hunter2",
                    "APPROVALS_LOG__LEVEL": "hunter2",
                    "APPROVALS_INTAKE__BATCH": "hunter2",
                    "APPROVALS_NAMESPACE": "hunter-2",
                    "APPROVALS_CONSOLE__BIND": "hunter2",
                },
            )
        )
        assert "hunter" not in told
        assert len(told.splitlines()) == 9

    def test_broken_toml_tells_where_and_not_what(self, write):
        (fault,) = faults(write('[ledger]\nurl = "hunter2'))
        assert "hunter" not in fault
        assert "line 2" in fault or "end of document" in fault

    def test_a_section_is_no_value(self, write):
        assert paths(write(""), {"APPROVALS_LEDGER__URL": "sqlite://", "APPROVALS_LEDGER__URL__X": "1"}) == ["ledger.url"]
        assert set(paths(write(""), {"APPROVALS_BROKER": "x", "APPROVALS_BROKER__URL": "memory://"})) == {"broker"}

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("LEDGR__URL", "ledgr.url"),
            ("LEDGER__ULR", "ledger.ulr"),
            ("NAMESPACE__X", "namespace.x"),
            ("CONFIG__X", "config.x"),
            ("ACCOUNTS__FINANCE__COLOUR", "accounts.finance.colour"),
            ("ACCOUNTS__FINANCE__GRANTS__JANE__CLIENT_SECRT", "accounts.finance.grants.jane.client_secrt"),
        ],
    )
    def test_a_misspelt_variable_or_secret_is_told(self, write, tmp_path, name, key):
        path = write(ACCOUNT)
        assert faults(path, {f"APPROVALS_{name}": "hunter2"}) == [f"{key}: unknown key (environment APPROVALS_{name})"]
        write("hunter2", f"secrets/{name.lower()}")
        assert faults(path, {"APPROVALS_SECRETS_DIR": f"{tmp_path}/secrets"}) == [f"{key}: unknown key ({tmp_path}/secrets/{name.lower()})"]

    def test_a_folder_of_secrets_must_exist_and_hold_text(self, write, tmp_path):
        path = write("")
        assert paths(path, {"APPROVALS_SECRETS_DIR": f"{tmp_path}/none"}) == ["secrets_dir"]
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets/broker__url").write_bytes(b"hunter2\xff")
        (fault,) = faults(path, {"APPROVALS_SECRETS_DIR": f"{tmp_path}/secrets"})
        assert fault.startswith("secrets_dir: ")
        assert "hunter" not in fault

    def test_a_secret_that_the_library_passes_over_is_told(self, write, tmp_path):
        path = write("")
        write("memory://", "elsewhere")
        (tmp_path / "secrets/..data").mkdir(parents=True)
        write("debug", "secrets/..data/log__level")
        (tmp_path / "secrets/log__level").symlink_to("..data/log__level")  # as Kubernetes mounts them
        env = {"APPROVALS_SECRETS_DIR": f"{tmp_path}/secrets"}
        assert load(path, env).log.level == "debug"
        (tmp_path / "secrets/broker__url").symlink_to(tmp_path / "elsewhere")
        assert paths(path, env) == ["secrets_dir"]

    def test_a_broken_list_hides_no_other_fault_and_is_not_shown(self, write):
        env = {"APPROVALS_LEDGER__ENCRYPTION_KEYS": '["hunter2', "APPROVALS_LOG__LEVEL": "loud", "APPROVALS_SINKS": "{hunter2"}
        found = faults(write(""), env)
        assert [fault.partition(":")[0] for fault in found] == ["ledger.encryption_keys", "log.level", "sinks"]
        assert "hunter" not in str(found)

    def test_accounts_that_are_no_section(self, write):
        path = write("")
        write("accounts = 5", "accounts.d/a.toml")
        assert paths(path) == ["accounts"]

    def test_two_grants_of_one_workspace_may_not_act_as_one_user(self, write):
        second = ACCOUNT.replace('[accounts.finance]\nkind = "workiva"', "").replace("jane", "joan").replace('"id"', '"other"')
        assert paths(write(ACCOUNT + second)) == ["accounts.finance.grants.joan.acts_as"]

    def test_a_shared_client_gives_a_shared_workspace_away(self, write):
        assert paths(write(ACCOUNT + ACCOUNT.replace("finance", "audit"))) == ["accounts.audit.grants.jane.acts_as"]

    def test_one_person_may_have_grants_in_two_workspaces(self, write):
        other = ACCOUNT.replace("finance", "audit").replace('"id"', '"other"')
        assert list(load(write(ACCOUNT + other), {}).accounts) == ["finance", "audit"]

    def test_two_grants_of_one_project_may_not_act_as_one_user(self, write):
        again = TOWER.replace("tower", "annex").replace("9eae", "9EAE").replace('"app"', '"other"')
        assert paths(write(TOWER + again)) == ["accounts.annex.grants.mia.acts_as"]

    def test_one_person_may_have_grants_in_two_projects_with_one_client(self, write):
        again = TOWER.replace("tower", "annex").replace("9eae", "0eae")
        assert list(load(write(TOWER + again), {}).accounts) == ["tower", "annex"]

    def test_they_are_caught_as_ours(self):
        assert issubclass(SettingsError, ApprovalsError)


class TestAutodesk:
    def test_the_defaults_are_its_own(self, write):
        account = load(write(TOWER), {}).accounts["tower"]
        assert (account.base_url, account.quiet_period) == ("https://developer.api.autodesk.com", 110.0)
        assert (account.grants["mia"].flow, account.grants["mia"].client_secret) == ("refresh_token", None)

    def test_a_project_id_is_one_however_it_is_written(self, write):
        assert (
            load(write(TOWER.replace("9eae", "9EAE")), {}).model_dump()["accounts"]["tower"]["project_id"]
            == "9eae7d59-1469-4389-bfb2-4114e2ba5545"
        )

    @pytest.mark.parametrize(("written", "hint"), [("b.9eae7d59", "without the b."), ("tower-9eae7d59", "UUID")])
    def test_a_project_id_that_is_none_comes_with_a_hint(self, write, written, hint):
        (fault,) = faults(write(TOWER.replace("9eae7d59", written)))
        assert fault.startswith("accounts.tower.project_id: ")
        assert hint in fault

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (
                ACCOUNT.replace("[accounts.finance.g", 'project_id = "x"\n[accounts.finance.g'),
                "finance.project_id: belongs to autodesk accounts",
            ),
            (TOWER.replace("project_id", 'workspace = "x"\nproject_id'), "tower.workspace: belongs to workiva accounts"),
            (TOWER.replace("project_id", 'api_version = "2026-01-01"\nproject_id'), "tower.api_version: belongs to workiva accounts"),
            (TOWER + 'key_id = "k"', "tower.grants.mia.key_id: belongs to service_account grants"),
            (ACCOUNT + 'flow = "refresh_token"', "finance.grants.jane.flow: belongs to refresh_token grants and service_account grants"),
            (TOWER + 'colour = "red"', "tower.grants.mia.colour: unknown key"),
        ],
    )
    def test_a_key_of_the_other_kind_says_where_it_belongs(self, write, text, told):
        path = write(text)
        assert faults(path) == [f"accounts.{told} ({path})"]

    def test_an_account_can_come_from_the_environment_alone(self, write, pem):
        account = {"KIND": "autodesk", "PROJECT_ID": "9eae7d59-1469-4389-bfb2-4114e2ba5545"}
        grant = {"FLOW": "service_account", "CLIENT_ID": "app", "CLIENT_SECRET": "hunter2", "ACTS_AS": "S8", "KEY_ID": "k1"}
        grant |= {"SERVICE_ACCOUNT_ID": "S8", "PRIVATE_KEY_FILE": str(pem)}
        env = {f"APPROVALS_ACCOUNTS__TOWER__{key}": value for key, value in account.items()}
        env |= {f"APPROVALS_ACCOUNTS__TOWER__GRANTS__ROBOT__{key}": value for key, value in grant.items()}
        assert load(write(""), env).model_dump()["accounts"]["tower"]["grants"]["robot"]["private_key_file"] == pem

    def test_a_section_that_is_a_value_is_told(self, write):
        assert paths(write(TOWER), {"APPROVALS_ACCOUNTS__TOWER__GRANTS__ANN": "x", "APPROVALS_ACCOUNTS__OTHER": "x"}) == [
            "accounts.other",
            "accounts.tower.grants.ann",
        ]

    def test_a_private_key_that_signs_is_taken(self, write, pem):
        assert (
            load(write(TOWER + ROBOT.format(pem=pem)), {}).model_dump()["accounts"]["tower"]["grants"]["robot"]["private_key_file"] == pem
        )

    @pytest.mark.parametrize(
        ("content", "hint"),
        [
            (None, "cannot be read"),
            (b"", "RSA private key"),
            (b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", "RSA private key"),
            (ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "RSA private key"),
            (
                generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")),
                "without a password",
            ),
        ],
        ids=["missing", "empty", "broken", "another kind", "encrypted"],
    )
    def test_a_private_key_that_cannot_sign_stops_the_start(self, write, pem, content, hint):
        if content is None:
            pem.unlink()
        else:
            pem.write_bytes(content)
        (fault,) = faults(write(TOWER + ROBOT.format(pem=pem)))
        assert fault.startswith("accounts.tower.grants.robot.private_key_file: ")
        assert hint in fault
        assert "hunter" not in fault

    def test_tokens_in_postgresql_need_a_key(self, write, pem):
        shared = '[ledger]\nurl = "postgresql+psycopg://h/d"\n'
        (fault,) = faults(write(shared + TOWER))
        assert fault.startswith("ledger.encryption_keys: is needed to store the tokens of accounts.tower.grants.mia")
        path = write(shared + TOWER)
        assert load(path, {"APPROVALS_LEDGER__ENCRYPTION_KEYS": LONG}).accounts
        unattended = TOWER[: TOWER.index("[accounts.tower.grants.mia]")] + ROBOT.format(pem=pem)
        assert load(write(shared + ACCOUNT + unattended), {}).accounts, "a service account stores nothing"

    def test_a_short_key_is_told_and_not_shown(self, write):
        (fault,) = faults(write(""), {"APPROVALS_LEDGER__ENCRYPTION_KEYS": f"{LONG},hunter2"})
        assert fault.startswith("ledger.encryption_keys: ")
        assert "hunter" not in fault


class TestEffective:
    def test_each_key_with_its_value_and_origin(self, write):
        path = write(ACCOUNT)
        rows = {row.key: row[1:] for row in effective(path, {"APPROVALS_BROKER__URL": "amqp://user:hunter2@host/v"})}
        assert rows["broker.url"] == ("amqp://user:********@host/v", "environment APPROVALS_BROKER__URL")
        assert rows["accounts.finance.kind"] == ("workiva", str(path))
        assert rows["accounts.finance.lease"] == ("30s", "default")
        assert rows["accounts.finance.quiet_period"] == ("79s", "lease + upstream_cutoff + slack")
        assert rows["accounts.finance.grants.jane.client_secret"] == ("********", str(path))

    def test_the_origin_is_the_strongest_source_that_holds_the_key(self, write, tmp_path):
        path = write(f'secrets_dir = "{tmp_path}/secrets"\n[broker]\nurl = "amqp://file"\n[log]\nlevel = "debug"')
        write("amqp://secret", "secrets/APPROVALS_BROKER__URL")
        write(ACCOUNT, "accounts.d/finance.toml")
        grant = '{"client_id": "id", "client_secret": "hunter3", "acts_as": "user-2"}'
        env = {"APPROVALS_ACCOUNTS__FINANCE__LEASE": "40s", "APPROVALS_ACCOUNTS__FINANCE__GRANTS__JOAN": grant}
        origins = {row.key: row.origin for row in effective(path, env)}
        assert origins["broker.url"] == f"{tmp_path}/secrets/APPROVALS_BROKER__URL"
        assert origins["log.level"] == str(path)
        assert origins["log.format"] == "default"
        assert origins["accounts.finance.kind"] == f"{tmp_path}/accounts.d/finance.toml"
        assert origins["accounts.finance.lease"] == "environment APPROVALS_ACCOUNTS__FINANCE__LEASE"
        assert origins["accounts.finance.grants.joan.acts_as"] == "environment APPROVALS_ACCOUNTS__FINANCE__GRANTS__JOAN"

    def test_no_secret_is_shown(self, write, pem):
        env = {
            "APPROVALS_LEDGER__URL": "postgresql+psycopg://u:hunter2@h/d?password=hunter2",
            "APPROVALS_LEDGER__ENCRYPTION_KEYS": f"hunter2{LONG},hunter3{LONG}",
            "APPROVALS_SENTRY__DSN": "https://hunter2@sentry.example.com/1",
        }
        path = write(ACCOUNT + TOWER + ROBOT.format(pem=pem))
        assert "hunter" not in str(effective(path, env))
        assert "hunter" not in repr(load(path, env))


def test_an_address_is_usable_as_it_is_and_shown_without_its_password():
    address = Url("amqp://user:hunter2@host//")
    assert str(address) == "amqp://user:hunter2@host//"
    assert repr(address) == "Url('amqp://user:********@host//')"
