"""What a table looks like where there is too little room."""

from worker.cli.output import table

ID, AT = "s019f1234567000abcdef0123ab", "2026-11-22T09:00:00.123Z"
WHY = "in doubt: the task has changed, and our response is not there"


def test_ids_and_times_stay_in_one_piece_on_a_narrow_terminal(monkeypatch, capsys):
    """They are there to be copied. Prose is folded, and nothing of it is cut."""
    monkeypatch.setenv("COLUMNS", "60")
    table(["id", "since", "ref", "why"], [[ID, AT, "VGFzax41MWNmOGZj", WHY]])
    lines = capsys.readouterr().out.splitlines()
    assert any(ID in line and AT in line for line in lines)
    assert " ".join(word for line in lines for word in line.split() if word in WHY.split()) == WHY
