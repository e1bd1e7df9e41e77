"""What the settings accept, where they come from, and that no fault ever tells a value."""

import re
from pathlib import Path

import pytest

from worker.errors import ApprovalsError, SettingsError
from worker.settings import Settings, Url, effective, load, seconds

CONFIG = Path(__file__).parent.parent / "config"

ACCOUNT = """
[accounts.finance]
kind = "workiva"
[accounts.finance.grants.jane]
client_id = "id"
client_secret = "hunter2"
acts_as = "user-1"
"""


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


def test_the_shipped_file_names_every_key():
    text = (CONFIG / "approvals.toml").read_text(encoding="utf-8")
    uncommented = re.sub(r"(?m)^# (?=\[|\w+ = |# )", "", text)
    for name, field in Settings.model_fields.items():
        assert re.search(rf"(?m)^\[?{name}\b", uncommented), name
        sections = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for section in sections:
            for key in getattr(section, "model_fields", {}):
                assert re.search(rf"(?m)^\[?(accounts\.finance\.)?{key}\b", uncommented), f"{name}.{key}"


def test_the_example_account_in_the_shipped_file_is_the_default_account(write):
    text = (CONFIG / "approvals.toml").read_text(encoding="utf-8")
    example = "\n".join(
        line.removeprefix("# ") for line in text.splitlines() if re.match(r"# (\[accounts|\w+ = )", line) and "secrets_dir" not in line
    )
    shown = load(write(example), {}).accounts["finance"]
    plain = load(write(ACCOUNT), {}).accounts["finance"]
    assert shown.model_copy(update={"grants": {}}) == plain.model_copy(update={"grants": {}})


def test_the_demo_variant():
    account = load(CONFIG / "demo.toml", {}).accounts["finance"]
    assert (account.request_deadline, account.lease, account.quiet_period) == (2.0, 3.0, 8.0)
    assert account.grants["jane"].client_secret.get_secret_value() == "sandbox"


def test_the_production_variant():
    settings = load(CONFIG / "production.toml", {"APPROVALS_LEDGER__ENCRYPTION_KEYS": "new, old"})
    assert settings.broker.url.startswith("amqp://")
    assert [key.get_secret_value() for key in settings.ledger.encryption_keys] == ["new", "old"]


@pytest.mark.parametrize(
    ("expected", "text"),
    [(0.5, "500ms"), (25.0, "25s"), (300.0, "5m"), (86400.0, "24h"), (604800.0, "7d"), (1.5, "1.5s")],
)
def test_durations(expected, text):
    assert seconds(text) == expected


@pytest.mark.parametrize("value", ["25", '"25"', '"-5s"', '"1 year"', "true"])
def test_a_duration_needs_its_unit(write, value):
    assert paths(write(ACCOUNT.replace('kind = "workiva"', f'kind = "workiva"\nslack = {value}'))) == ["accounts.finance.slack"]


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
        (found,) = {load(path, {"APPROVALS_LEDGER__ENCRYPTION_KEYS": keys}).ledger.encryption_keys}
        assert [key.get_secret_value() for key in found] == ["new", "old"]
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
        assert (sink.exchange, sink.events) == ("x", ("*",))

    def test_variables_of_other_programs_are_left_alone(self, write):
        assert load(write(""), {"APPROVALS_TEST_POSTGRES": "x", "LEDGER__URL": "y"}) == Settings()


class TestFaults:
    def test_all_are_told_at_once_each_by_its_path(self, write):
        path = write(
            ACCOUNT
            + """
[accounts.tower]
kind = "autodesk"
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
            "accounts.tower.kind",
            "broker",
            "brokr.url",
            "ledgr",
            "sinks.erp.kind",
        ]

    def test_what_comes_later_says_so(self, write):
        (fault,) = faults(write('[accounts.tower]\nkind = "autodesk"'))
        assert "later release" in fault

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

    def test_they_are_caught_as_ours(self):
        assert issubclass(SettingsError, ApprovalsError)


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

    def test_no_secret_is_shown(self, write):
        env = {
            "APPROVALS_LEDGER__URL": "postgresql+psycopg://u:hunter2@h/d?password=hunter2",
            "APPROVALS_LEDGER__ENCRYPTION_KEYS": "hunter2,hunter3",
            "APPROVALS_SENTRY__DSN": "https://hunter2@sentry.example.com/1",
        }
        path = write(ACCOUNT)
        assert "hunter" not in str(effective(path, env))
        assert "hunter" not in repr(load(path, env))


def test_an_address_is_usable_as_it_is_and_shown_without_its_password():
    address = Url("amqp://user:hunter2@host//")
    assert str(address) == "amqp://user:hunter2@host//"
    assert repr(address) == "Url('amqp://user:********@host//')"
