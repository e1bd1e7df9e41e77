"""The page docs/workiva-2022-to-2026.md, step by step, as a person types it."""

VARIABLE = "APPROVALS_ACCOUNTS__FINANCE__API_VERSION"


def test_a_variable_tries_the_new_version_before_anything_is_changed(desk, monkeypatch):
    """Doctor reads by it and sends nothing; an account that the new version does not let in is found here."""
    text = desk.config.read_text(encoding="utf-8")
    desk.config.write_text(text.replace('kind = "workiva"', 'kind = "workiva"\napi_version = "2022-01-01"'), encoding="utf-8")
    for version in ("2022-01-01", "2026-01-01"):
        monkeypatch.setenv(VARIABLE, version)
        found = {f["check"]: f for f in desk.lines("doctor") if f["check"].startswith("grant finance/")}
        assert all("tasks can be read" in f["detail"] and f["verdict"] != "FAIL" for f in found.values()), found
        rows = {row["key"]: row for row in desk.lines("config")}
        assert rows["accounts.finance.api_version"]["value"] == version
        assert VARIABLE in rows["accounts.finance.api_version"]["origin"]
    desk.sandbox.fault("GET /workiva/tasks", "status", status=403, times=None)
    assert {f["verdict"] for f in desk.lines("doctor") if f["check"].startswith("grant finance/")} == {"FAIL"}
    assert desk.sandbox.journal() == []
