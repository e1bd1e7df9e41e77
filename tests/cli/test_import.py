import csv
import io
import json

import pytest

from tests.cli.conftest import ARCHITECT, BOB, ENGINEER, JANE


@pytest.fixture
def tasks(desk):
    return [desk.task() for _ in range(3)]


def rows(tasks, **more):
    return [{"account": "finance", "as": "jane", "task": t, "action": "approve", "step": "1", **more} for t in tasks]


def as_csv(given, delimiter=",", bom=""):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(given[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(given)
    return bom + out.getvalue()


def put(desk, text, name="many.csv"):
    path = desk.config.parent / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("delimiter", "bom"), [(",", ""), (";", ""), (";", "\ufeff")])
def test_a_csv_file_goes_in_whatever_its_separator(desk, tasks, delimiter, bom):
    file = put(desk, as_csv(rows(tasks, comment="a, b; c\nd"), delimiter, bom))
    found = desk.lines("import", file)
    assert [f["did"] for f in found] == ["accepted"] * 3
    assert [f["line"] for f in found] == [2, 4, 6], "a comment of two lines makes a row of two"
    assert {"a, b; c\nd"} == {s["comment"] for s in desk.lines("list")}


def test_a_jsonl_file_goes_in(desk, tasks):
    given = [{"account": "careful", "task": t, "action": "approve", "step": 1, "labels": {"n": str(n)}} for n, t in enumerate(tasks)]
    given[1]["key"] = "mine"
    found = desk.lines("import", put(desk, "\n".join(map(json.dumps, given)) + "\n\n", "many.jsonl"))
    assert [f["did"] for f in found] == ["accepted"] * 3
    assert found[1]["key"] == "mine"
    assert found[0]["key"].startswith("d-")


def test_running_a_file_again_submits_nothing_twice(desk, tasks):
    file = put(desk, as_csv(rows(tasks)))
    assert desk("import", file).exit_code == 0
    desk.work()
    again = desk("import", file)
    assert again.exit_code == 0
    assert again.stdout == "3 already there\n"
    assert len(desk.lines("list")) == 3
    assert len(desk.sandbox.journal()) == 3


def test_a_row_of_a_file_is_the_same_decision_as_a_submit(desk, tasks):
    desk.submit(tasks[0])
    assert [f["did"] for f in desk.lines("import", put(desk, as_csv(rows(tasks))))] == ["existing", "accepted", "accepted"]


def test_standard_input_is_a_file_too(desk, tasks):
    assert desk("import", "-", stdin=as_csv(rows(tasks))).stdout == "3 accepted\n"


BAD = {
    "unknown account": ({"account": "nowhere"}, "unknown account"),
    "unknown action": ({"action": "sign"}, "unknown action"),
    "no task": ({"task": ""}, "task: is missing"),
    "step is no number": ({"step": "two"}, "is no number"),
    "a time without an offset": ({"not_after": "2026-12-01T00:00:00"}, "with an offset"),
    "neither yes nor no": ({"wait_for_turn": "perhaps"}, "neither yes nor no"),
    "labels": ({"labels": "po=4711"}, "JSON object"),
    "a pin that is none": ({"pin": "x", "step": ""}, "not a pin"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_bad_row_is_told_by_its_line_and_holds_back_no_other(desk, tasks, change, words):
    given = rows(tasks, not_after="", wait_for_turn="", labels="", pin="")
    given[1] |= change
    result = desk("import", put(desk, as_csv(given)))
    assert result.exit_code == 1
    assert f"line 3: {''}" in result.stderr
    assert words in result.stderr
    assert result.stdout == "2 accepted, 1 bad\n"
    assert len(desk.lines("list")) == 2


def test_one_key_with_two_contents_is_bad(desk, tasks):
    given = rows(tasks, key="k")
    result = desk("import", put(desk, as_csv(given)))
    assert result.exit_code == 1
    assert "stands in line 2 with other content" in result.stderr
    assert result.stdout == "1 accepted, 2 bad\n"


def test_the_same_row_twice_is_one(desk, tasks):
    assert desk("import", put(desk, as_csv(rows([tasks[0], tasks[0]])))).stdout == "1 accepted, 1 already there\n"


def test_a_key_of_the_ledger_with_other_content_is_bad(desk, tasks):
    desk.submit(tasks[0], "--key", "k")
    result = desk("import", put(desk, as_csv([*rows([tasks[1]], key="k"), *rows([tasks[2]], key="other")])))
    assert result.exit_code == 1
    assert "used with other content" in result.stderr


def test_atomic_is_all_or_none(desk, tasks):
    given = rows(tasks)
    given[2]["action"] = "sign"
    result = desk("import", put(desk, as_csv(given)), "--atomic")
    assert result.exit_code == 1
    assert result.stdout == "2 not written, 1 bad\n"
    assert not desk.lines("list")
    given[2]["action"] = "approve"
    assert desk("import", put(desk, as_csv(given)), "--atomic").stdout == "3 accepted\n"


def test_a_dry_run_checks_and_writes_nothing(desk, tasks):
    given = rows(tasks)
    assert desk("import", put(desk, as_csv(given)), "--dry-run").stdout == "3 would accept\n"
    given[0]["as"] = "eve"
    assert desk("import", put(desk, as_csv(given)), "--dry-run").exit_code == 1
    assert not desk.lines("list")


def test_a_row_without_a_step_on_a_task_of_two_is_bad(desk):
    task = desk.task(JANE, BOB)
    result = desk("import", put(desk, as_csv(rows([task], step=""))))
    assert result.exit_code == 1
    assert "the task has 2 steps" in result.stderr


@pytest.mark.parametrize("text", ["", "key,task\n", "task,colour\nt,red\n", "task,task\nt,t\n"])
def test_a_file_that_is_none_of_ours_is_a_usage_error(desk, text):
    assert desk("import", put(desk, text)).exit_code == 2


def test_the_template_is_a_file_that_can_be_imported(desk, tasks):
    text = desk("import", "--template").stdout
    row = next(csv.DictReader(io.StringIO(text)))
    assert row["task"]
    text = text.replace(row["task"], tasks[0])
    assert desk("import", put(desk, text), "--dry-run").stdout == "1 would accept\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"fields": '{"stepDueDate": "2030-01-02", "watchers": ["u1"]}'},
        {"fields.stepDueDate": "2030-01-02", "fields": '{"watchers": ["u1"]}'},
    ],
)
def test_fields_of_a_transition_are_an_object_or_columns(tower, fields):
    given = [{"account": "tower", "as": "manager", "task": "ITEM", "action": "transition", "state": "rev", **fields}]
    tower("import", put(tower, as_csv(given)))
    [made] = tower.lines("list")
    assert made["transition"] == {"state": "rev", "fields": {"stepDueDate": "2030-01-02", "watchers": ["u1"]}}


@pytest.mark.parametrize(("fields", "words"), [('{"a": "1"}', "says the same again"), ("[1]", "is no object"), ("a", "JSON object")])
def test_fields_that_contradict_their_columns_are_bad(tower, fields, words):
    given = {"account": "tower", "as": "manager", "task": "ITEM", "action": "transition", "state": "rev", "fields": fields, "fields.a": "2"}
    result = tower("import", put(tower, as_csv([given])))
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr


def test_a_part_pins_itself_also_where_all_or_none_is_written(tower):
    parts = tower.item([ARCHITECT], [ENGINEER])["tasks"]
    given = [
        {"account": "tower", "as": who, "task": part, "action": "close", "response": "Approved", "wait_for_turn": "yes"}
        for part, who in zip(parts, ("architect", "engineer"), strict=True)
    ]
    assert tower("import", put(tower, as_csv(given)), "--atomic").stdout == "2 accepted\n"
