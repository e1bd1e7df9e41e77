import json
import re

import pytest

from tests.cli.conftest import BOB, JANE
from tests.system.house import until


def test_a_decision_goes_in_and_takes_effect(desk, review):
    made = json.loads(review.submit("--comment", "fine", "--label", "po=4711", "--json").stdout)
    assert made["state"] == "pending"
    assert not made["existing"]
    desk.work(review.account)
    assert review.effects() == [(review.at[3], review.user)]
    about = desk.json("show", made["id"])
    assert about["state"] == "applied"
    assert about["comment"] == "fine"
    assert about["labels"] == {"po": "4711"}
    assert (about["task"], about["step"], about["transition"]) == (review.task, 1, None)
    assert about["chain"]["holds"]
    assert [a["outcome"] for a in about["attempts"]] == ["applied"]
    assert [e["kind"] for e in about["evidence"]] == ["accepted", "attempt", "answer", "state"]


def test_without_a_key_a_repeat_meets_what_stands_and_does_nothing(desk, review):
    first = json.loads(review.submit("--json").stdout)
    again = review.submit("--comment", "another comment is the same decision", "--json")
    assert again.exit_code == 1
    told = json.loads(again.stdout)
    assert re.fullmatch(r"\d+ s", told.pop("age"))
    assert told == {"id": first["id"], "key": first["key"], "state": "pending", "did": "nothing"}
    assert len(desk.lines("list")) == 1


def test_after_the_window_a_repeat_is_a_new_decision_under_a_counted_key(desk):
    desk.config.write_text('[intake]\ndedupe_window = "0s"\n' + desk.config.read_text())
    task = desk.task()
    first = json.loads(desk.submit(task, "--json").stdout)
    assert desk.submit(task).exit_code == 1, "it is still open, whatever its age"
    desk.work()
    again = desk.submit(task, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["key"] == f"{first['key']}/2"


def test_the_same_key_and_content_is_the_same_submission(desk):
    task = desk.task()
    first = json.loads(desk.submit(task, "--key", "po-1", "--json").stdout)
    again = desk.submit(task, "--key", "po-1", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == first | {"existing": True}


def test_a_dry_run_prints_the_request_and_writes_nothing(desk, review):
    result = review.submit("--comment", "fine", "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert told["would_send"]
    assert (told["method"], told["path"], told["step"], told["acts_as"]) == ("POST", review.path, 1, review.user)
    comment = told["body"].pop("comment", None) or told["body"].pop("responseComment")
    assert re.fullmatch(r"fine \[aw:[a-z2-7]{6}\]", comment)
    assert told["body"] == review.body
    assert not desk.lines("list")
    assert not desk.lines("event", "list")
    assert not review.effects()


def test_a_dry_run_tells_who_is_exposed(desk):
    task = desk.task(JANE, JANE)
    assert json.loads(desk.submit(task, "--dry-run", "--json").stdout)["exposed"]


def test_a_dry_run_knows_the_keys_that_were_used(desk):
    task = desk.task()
    at = ("--key", "po-1", "--issued-at", "2026-11-22T09:00:00Z")
    desk.submit(task, *at)
    same, other = desk.submit(task, *at, "--dry-run"), desk.submit(task, *at, "--comment", "other", "--dry-run")
    assert (same.exit_code, "would do nothing" in same.stdout) == (0, True)
    assert (other.exit_code, "other content" in other.stderr) == (3, True)


def test_a_dry_run_of_an_action_without_a_step_names_none_and_of_a_later_one_its_time(desk):
    task = desk.task(BOB, JANE)
    restart = ("submit", "--account", "careful", "--task", task, "--action", "restart", "--dry-run")
    desk.config.write_text(desk.config.read_text(encoding="utf-8").replace('when_exposed = "park"', ""), encoding="utf-8")
    assert desk(*restart).stdout.startswith(f"would send, for the task as {JANE}:")
    assert desk.json(*restart)["step"] is None
    assert "not before 2030-01-01T00:00:00.000Z" in desk(*restart, "--not-before", "2030-01-01T00:00:00Z").stdout


def test_a_dry_run_has_no_end_to_wait_for(desk):
    result = desk.submit(desk.task(), "--dry-run", "--wait", "1")
    assert (result.exit_code, "--wait" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("steps", "args", "status", "word"),
    [
        ((BOB,), ["--step", "1"], 1, "not a participant"),
        ((BOB, JANE), ["--step", "2"], 1, "not active yet"),
        ((BOB, JANE), ["--step", "2", "--wait-for-turn"], 0, "turn"),
        ((JANE,), ["--step", "7"], 1, "has 1 steps"),
    ],
)
def test_a_dry_run_says_why_not(desk, steps, args, status, word):
    task = desk.task(*steps)
    result = desk(*("submit", "--account", "finance", "--as", "jane", "--task", task, "--action", "approve", "--dry-run"), *args)
    assert status == result.exit_code
    assert word in result.stdout


def test_a_pin_from_task_show_is_accepted_and_holds_the_step(desk, review):
    pin = desk.json("task", "show", review.task, "--account", review.account)["steps"][0]["pin"]
    at = [x for x in review.at if x not in ("--step", 1)]
    result = desk("submit", "--account", review.account, "--as", review.grant, *at, "--pin", pin, "--json")
    desk.work(review.account)
    assert desk.json("show", json.loads(result.stdout)["id"])["state"] == "applied"


def test_a_retry_by_a_person_needs_the_pin_of_its_step(desk):
    task = desk.task(JANE, JANE)
    desk("submit", "--account", "careful", "--task", task, "--action", "approve", "--step", 1, "--key", "k")
    desk.work("careful")
    assert desk.lines("list", "--state", "parked")[0]["key"] == "k"
    without = desk("resolve", "k", "--as", "retry", "--note", "asked her")
    assert without.exit_code == 1
    assert "needs --pin" in without.stderr
    assert desk("resolve", "k", "--as", "retry", "--note", "asked her", "--pin", "nonsense").exit_code == 2
    pin = desk.json("task", "show", task, "--account", "careful")["steps"][0]["pin"]
    assert desk("resolve", "k", "--as", "retry", "--note", "asked her", "--pin", pin).exit_code == 0
    until(lambda: desk.work("careful") or desk.json("show", "k")["state"] == "applied", what="it to be applied")
    about = desk.json("show", "k")
    assert any("asked her" in e["text"] for e in about["evidence"])


def test_many_parked_ones_are_resolved_at_once(desk):
    for key in ("a", "b"):
        desk("submit", "--account", "careful", "--task", desk.task(JANE, JANE), "--action", "approve", "--step", 1, "--key", key)
    desk.work("careful")
    done = desk.lines("resolve", "--state", "parked", "--account", "careful", "--as", "abandoned", "--note", "stale")
    assert {d["key"]: d["state"] for d in done} == {"a": "abandoned", "b": "abandoned"}


def test_who_waits_behind_whom_is_shown(desk):
    task = desk.task(BOB, JANE)
    desk("submit", "--account", "careful", "--task", task, "--action", "restart", "--key", "first")
    desk.work("careful")
    desk("submit", "--account", "careful", "--task", task, "--action", "restart", "--key", "second")
    desk.work("careful")
    first = desk.json("show", "first")
    assert first["state"] == "parked"
    assert first["slot"]["holder"] == first["id"]
    assert f"waits behind: {first['id']}" in desk("show", "second").stdout


def test_what_comes_from_outside_does_not_reach_the_terminal_as_it_is(desk):
    task = desk.task(JANE, title="\x1b[2Jboo\ttab")
    out = desk("task", "list", "--account", "careful").stdout
    assert "\x1b" not in out
    assert len(out.splitlines()[0].split("\t")) == 7
    assert task in out
