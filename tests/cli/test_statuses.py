"""Every exit status of INTERFACES §2, by a table."""

import pytest

from tests.cli.conftest import BOB, JANE


def applied(desk):
    task = desk.task()
    desk.submit(task, "--key", "k")
    desk.work()
    return desk.submit(task, "--key", "k", "--wait", 0)


def accepted(desk):
    return desk.submit(desk.task())


def refused(desk):
    task = desk.task(BOB)
    desk.submit(task, "--key", "k")
    desk.work()
    return desk.submit(task, "--key", "k", "--wait", 0)


def superseded(desk):
    task = desk.task(JANE, BOB)
    desk.submit(task, "--key", "k")
    desk.sandbox.person(task, JANE, "APPROVE")
    desk.work()
    return desk.submit(task, "--key", "k", "--wait", 0)


def expired(desk):
    task = desk.task()
    past = "2020-01-01T00:00:00Z"
    desk.submit(task, "--key", "k", "--not-after", past)
    desk.work()
    return desk.submit(task, "--key", "k", "--not-after", past, "--wait", 0)


def cancelled(desk):
    task = desk.task()
    desk.submit(task, "--key", "k")
    assert desk("cancel", "k").exit_code == 0
    return desk.submit(task, "--key", "k", "--wait", 0)


def parked(desk):
    task = desk.task(JANE, JANE)
    args = ("submit", "--account", "careful", "--task", task, "--action", "approve", "--step", 1, "--key", "k")
    desk(*args)
    desk.work("careful")
    return desk(*args, "--wait", 0)


def abandoned(desk):
    task = desk.task(JANE, JANE)
    args = ("submit", "--account", "careful", "--task", task, "--action", "approve", "--step", 1, "--key", "k")
    desk(*args)
    desk.work("careful")
    assert desk("resolve", "k", "--as", "abandoned", "--note", "no longer wanted").exit_code == 0
    return desk(*args, "--wait", 0)


def misapplied(desk):
    task = desk.task(JANE, JANE)
    desk.sandbox.fault("act", "person", people=[{"action": "SKIP", "user": JANE}])
    desk.submit(task, "--key", "k")
    desk.work()
    return desk.submit(task, "--key", "k", "--wait", 0)


def timed_out(desk):
    return desk.submit(desk.task(), "--wait", 0)


def repeated_without_a_key(desk):
    task = desk.task()
    desk.submit(task)
    return desk.submit(task)


def key_with_other_content(desk):
    desk.submit(desk.task(), "--key", "k")
    return desk.submit(desk.task(), "--key", "k")


def no_step_of_two(desk):
    task = desk.task(JANE, BOB)
    return desk("submit", "--account", "finance", "--as", "jane", "--task", task, "--action", "approve")


def down(desk):
    desk.config.write_text(
        desk.config.read_text().replace("sqlite:///", "postgresql+psycopg://nobody@127.0.0.1:1/").replace(str(desk.config.parent), "")
    )
    return desk("list")


@pytest.mark.parametrize(
    ("status", "case"),
    [
        (0, accepted),
        (0, applied),
        (1, refused),
        (1, superseded),
        (1, expired),
        (1, cancelled),
        (1, abandoned),
        (1, repeated_without_a_key),
        (1, no_step_of_two),
        (1, down),
        (3, key_with_other_content),
        (5, parked),
        (6, timed_out),
        (7, misapplied),
    ],
    ids=lambda v: v.__name__ if callable(v) else str(v),
)
def test_the_exit_status_tells_what_became_of_it(desk, status, case):
    result = case(desk)
    assert status == result.exit_code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output


USAGE = {
    "unknown account": ["submit", "--account", "nowhere", "--task", "t", "--action", "approve"],
    "which account": ["submit", "--task", "t", "--action", "approve"],
    "which grant": ["submit", "--account", "finance", "--task", "t", "--action", "approve", "--step", "1"],
    "unknown grant": ["submit", "--account", "finance", "--as", "eve", "--task", "t", "--action", "approve", "--step", "1"],
    "unknown action": ["submit", "--account", "careful", "--task", "t", "--action", "sign", "--step", "1"],
    "not a pin": ["submit", "--account", "careful", "--task", "t", "--action", "approve", "--pin", "x"],
    "pin and step": ["submit", "--account", "careful", "--task", "t", "--action", "approve", "--pin", "x", "--step", "1"],
    "no offset": ["submit", "--account", "careful", "--task", "t", "--action", "approve", "--not-after", "2026-11-22T09:00:00"],
    "unknown option": ["list", "--colour"],
    "unknown command": ["approve"],
    "unknown sink": ["sink", "replay", "nowhere", "--missing"],
    "replay everything": ["sink", "replay", "exchange"],
    "resolve nothing": ["resolve", "--as", "applied", "--note", "x"],
    "requeue nothing": ["dead", "requeue"],
    "health of what": ["health"],
    "import nothing": ["import"],
}


@pytest.mark.parametrize("args", USAGE.values(), ids=USAGE)
def test_usage_is_2(desk, args):
    assert desk(*args).exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["show", "s0"],
        ["evidence", "s0"],
        ["cancel", "s0"],
        ["resolve", "s0", "--as", "applied", "--note", "x"],
        ["watch", "remove", "w0"],
        ["task", "show", "VGFza", "--account", "careful"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_4(desk, args):
    result = desk(*args)
    assert result.exit_code == 4
    assert result.stderr.startswith("approvals: ")


def test_settings_faults_are_2_and_told_at_once(desk):
    desk.config.write_text('colour = "red"\n[ledger]\nurl = "mysql://x"\n')
    result = desk("list")
    assert result.exit_code == 2
    assert "colour: unknown key" in result.stderr
    assert "ledger.url: must be an address" in result.stderr
