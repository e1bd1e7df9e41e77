"""Pausing, holding and resuming an account, as a person does it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from tests.cli.conftest import BOB, JANE
from tests.system.house import until
from worker.cli.doctor import ending
from worker.core.sunset import Sunset
from worker.core.times import parse
from worker.settings import load


def held(desk, key):
    return desk.json("show", key)["held"]


def test_nothing_is_sent_while_paused_and_all_of_it_after_the_resume(desk):
    tasks = [desk.task(JANE), desk.task(JANE)]
    for task in tasks:
        desk.submit(task, "--key", f"k-{task}")
    said = desk.json("pause", "finance", "--note", "quarter close", "--by", "ann")
    assert [said[n] for n in ("account", "said", "by", "note", "changed", "under_way")] == [
        "finance",
        "paused",
        "ann",
        "quarter close",
        True,
        0,
    ]
    desk.work()
    assert [desk.sandbox.journal(t) for t in tasks] == [[], []]
    about = desk.json("show", f"k-{tasks[0]}")
    assert (about["state"], about["attempts"]) == ("pending", [])
    assert about["held"].startswith("account paused by ann since ")
    assert about["held"].endswith(": quarter close")
    assert f"pending: held: {about['held']}" in desk("show", about["id"]).stdout
    assert f"finance sends nothing: {about['held']}" in desk("list").stderr
    again = desk.json("resume", "finance")
    assert (again["said"], again["changed"], again["waiting"]) == ("resumed", True, 2)
    until(lambda: desk.work() or {x["state"] for x in desk.lines("list")} == {"applied"}, what="both to be applied")
    began = sorted(parse(desk.json("show", f"k-{task}")["attempts"][0]["began_at"]) for task in tasks)
    assert began[1] - parse(again["since"]) > 0.99, "one a second at first"
    assert held(desk, f"k-{tasks[0]}") is None


def test_saying_it_again_changes_nothing(desk):
    assert "was not paused" in desk("resume", "finance").stdout
    desk("pause", "finance", "--by", "ann")
    again = desk("pause", "finance", "--by", "bob")
    assert (again.exit_code, "was paused already: account paused by ann" in again.stdout) == (0, True)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_account_that_the_settings_do_not_know(desk, verb):
    result = desk(verb, "nope")
    assert (result.exit_code, "unknown account 'nope': the settings have careful, finance" in result.stderr) == (2, True)


def test_what_is_on_its_way_is_told(desk):
    task = desk.task(JANE)
    desk.sandbox.fault("act", "stall", when="after", task=task)
    desk.submit(task, "--key", "k")
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(desk.work)
        until(lambda: desk.json("show", "k")["state"] == "in_doubt")
        said = desk.json("pause", "finance")
        working.result()
    assert (said["under_way"], said["under_way_until"] > said["since"]) == (1, True)
    assert desk.json("pause", "finance")["under_way"] == 0  # no answer came, so it is in doubt, and looked at as before


def test_a_dry_run_tells_of_the_pause(desk):
    desk("pause", "finance", "--by", "ann")
    result = desk.submit(desk.task(JANE, BOB), "--dry-run")
    assert (result.exit_code, "would wait: held: account paused by ann" in result.stdout) == (0, True)


def test_writes_that_the_settings_hold_are_lifted_by_resume(desk, monkeypatch):
    monkeypatch.setenv("APPROVALS_ACCOUNTS__FINANCE__WRITES", "hold")
    assert load(desk.config).accounts["finance"].writes == "hold"
    task = desk.task(JANE)
    desk.submit(task, "--key", "k")
    desk.work()
    assert desk.sandbox.journal(task) == []
    assert 'writes = "hold"' in held(desk, "k")
    [finding] = [f for f in desk.lines("doctor") if "sends nothing" in f["detail"]]
    assert (finding["check"], finding["verdict"]) == ("account finance", "WARN")
    assert "approvals resume finance" in finding["todo"]
    desk("resume", "finance", "--by", "ann")
    desk.work()
    assert desk.json("show", "k")["state"] == "applied"
    assert [f["detail"] for f in desk.lines("doctor") if "sends nothing" in f["detail"]] == []


@pytest.mark.parametrize(("version", "checks"), [("2022-01-01", ["account finance"]), ("2026-01-01", [])])
def test_doctor_tells_of_the_end_of_an_api_version(desk, monkeypatch, version, checks):
    monkeypatch.setenv("APPROVALS_ACCOUNTS__FINANCE__API_VERSION", version)
    ends = [f for f in desk.lines("doctor") if "API version" in f["detail"]]
    assert [f["check"] for f in ends] == checks
    assert all("docs/workiva-2022-to-2026.md" in f["todo"] for f in ends)


@pytest.mark.parametrize(
    ("day", "verdict", "words"),
    [
        ("2026-08-03", "OK", "in 181 days"),
        ("2026-08-04", "WARN", "in 180 days"),
        ("2027-01-31", "WARN", "in 0 days"),
        ("2027-02-03", "FAIL", "ended on 2027-01-31, 3 days ago"),
    ],
)
def test_the_end_is_a_warning_half_a_year_before_and_a_fault_after(day, verdict, words):
    finding = ending("account finance", Sunset("2022-01-01", date(2027, 1, 31), "go on"), parse(f"{day}T12:00:00Z"))
    assert (finding.verdict, words in finding.detail) == (verdict, True)
