"""`approvals import`: many decisions from a CSV or JSONL file. A row is what a command on the wire is, in the same words.

A row without a key gets the key of its decision (account, grant, task, pin or step, action, response, state and fields), and that key does
not age here: running a file again, whenever, submits nothing twice. To decide the same a second time, give the row a `key`.
"""

import contextlib
import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from worker.cli import output
from worker.cli.session import FAILED, USAGE, Failure, Session, session

if TYPE_CHECKING:
    from worker.core.command import Command
    from worker.flows import Runtime
    from worker.flows.accept import Outcome
    from worker.wire import Door

EXAMPLE: Final = {
    "key": "po-4711/2",
    "account": "finance",
    "as": "jane",
    "task": "VGFzax41MWNmOGZj",
    "action": "approve",
    "step": "2",
    "comment": "within budget",
    "not_after": "2099-12-01T00:00:00Z",
    "wait_for_turn": "no",
    "labels": '{"po": "4711"}',
}
"""The row under the template's header."""

FIELD: Final = "fields."
"""The beginning of a column for one field of a transition."""

YES, NO = frozenset({"true", "yes", "1", "x"}), frozenset({"false", "no", "0"})


@dataclass(slots=True)
class Row:
    """A row: where it stands, what it says, and what became of it. `did`: accepted, existing, would accept, or bad."""

    line: int
    command: "Command | None" = None
    did: str = ""
    why: str = ""
    found: dict[str, Any] = field(default_factory=dict)

    def bad(self, why: str) -> None:
        """It cannot be accepted, and why."""
        self.did, self.why = "bad", why

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        key = self.command.key if self.command else None
        return {"line": self.line, "did": self.did, "key": key, **self.found, **({"reason": self.why} if self.why else {})}


@click.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--dry-run", is_flag=True, help="Check every row and write nothing.")
@click.option("--atomic", is_flag=True, help="All or none: one bad row, and nothing is written.")
@click.option("--template", is_flag=True, help="Print a CSV header and an example row.")
@output.as_json
@session
def import_(s: Session, file: BinaryIO | None, dry_run: bool, atomic: bool, template: bool, as_json: bool) -> None:
    """Submit many decisions from FILE (CSV with `,` or `;`, or JSONL; - is standard input).

    Running a file again is safe. Exit status 1 if any row was bad.
    """
    if template:
        _template()
        return
    if file is None:
        raise Failure("say which FILE to import, or --template for one to begin with", USAGE)
    from worker.wire import Door

    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Failure(f"{file.name} is not UTF-8, at byte {exc.start}: save it as UTF-8", USAGE) from exc
    rows = list(_read(text, Door(s.settings.namespace, s.settings.intake.max_bytes)))
    if not rows:
        raise Failure(f"{file.name} holds no row", USAGE)
    with s.runtime() as rt:
        _check(rt, rows, atomic=atomic)
        if dry_run or (atomic and any(r.did == "bad" for r in rows)):
            for row in rows:
                row.did = row.did or ("would accept" if dry_run else "not written")
        else:
            size = len(rows) if atomic else s.settings.intake.batch
            with _progress(len(rows)) as advance:
                _write(rt, [r for r in rows if not r.did], size, advance)
    _report(rows, as_json, atomic=atomic, dry_run=dry_run)


def _template() -> None:
    from worker.wire import FIELDS

    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    out.writerow([EXAMPLE.get(name, "") for name in FIELDS])


# --- reading ------------------------------------------------------------------------------------------------------------------------------


def _read(text: str, door: "Door") -> Iterator[Row]:
    from worker.wire import Refused

    now = time.time()
    for row, found in _jsonl(text, door, now) if text.lstrip()[:1] == "{" else _csv(text, door, now):
        if isinstance(found, Refused):
            row.bad(found.reason)
        else:
            row.command = found
        yield row


def _jsonl(text: str, door: "Door", now: float) -> Iterator[tuple[Row, Any]]:
    for number, raw in enumerate(text.split("\n"), 1):
        if raw.strip():
            yield Row(number), _command(_with_key(raw.strip()), door, now)


def _with_key(raw: str) -> str:
    """A line without a key gets an empty one in front; whatever else is wrong with it is told as on the wire."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(raw)
        if isinstance(found, dict) and found.get("key") is None:
            rest = raw[1:] if "key" not in found else json.dumps({n: v for n, v in found.items() if n != "key"})[1:]
            return '{"key": "-"' + ("" if rest.strip() == "}" else ", ") + rest
    return raw


def _csv(text: str, door: "Door", now: float) -> Iterator[tuple[Row, Any]]:
    from worker.wire import FIELDS, Refused

    head = text.lstrip().split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",", strict=True)
    columns: list[str] | None = None
    end = 0
    while True:
        start = end + 1
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            yield Row(start), Refused(f"not CSV: {exc}. What follows was not read")
            return
        end = reader.line_num
        if cells is None:
            return
        if not any(c.strip() for c in cells):
            continue
        if columns is None:
            columns = [c if c.startswith(FIELD) else c.lower() for c in (cell.strip() for cell in cells)]
            if wrong := [c for c in columns if c not in FIELDS and not c.startswith(FIELD)]:
                known = f"{', '.join(FIELDS)}, {FIELD}NAME"
                raise Failure(f"line {start}: unknown column {', '.join(map(repr, wrong))} (known: {known})", USAGE)
            if len(set(columns)) < len(columns):
                raise Failure(f"line {start}: a column is there twice", USAGE)
            continue
        if len(cells) > len(columns):
            yield Row(start), Refused(f"{len(cells)} cells for {len(columns)} columns: is a separator inside a text without quotes?")
            continue
        try:
            values = _gathered({name: _cell(name, c.strip()) for name, c in zip(columns, cells, strict=False) if c.strip()})
        except ValueError as exc:
            yield Row(start), Refused(str(exc))
            continue
        yield Row(start), _command(json.dumps({"key": "-", **values}), door, now)


def _cell(name: str, text: str) -> Any:
    """A cell as JSON has it."""
    match name:
        case "step":
            if not text.isdecimal():
                raise ValueError(f"step: {text!r} is no number")
            return int(text)
        case "wait_for_turn":
            if text.lower() not in YES | NO:
                raise ValueError(f"wait_for_turn: {text!r} is neither yes nor no")
            return text.lower() in YES
        case "labels" | "fields":
            try:
                return json.loads(text)
            except ValueError:
                raise ValueError(f'{name}: must be a JSON object, such as {{"po": "4711"}}') from None
    return text


def _gathered(values: dict[str, Any]) -> dict[str, Any]:
    """Cells of `fields.NAME` are texts among the `fields`."""
    single = {name.removeprefix(FIELD): values.pop(name) for name in [*values] if name.startswith(FIELD)}
    if not single:
        return values
    given = values.get("fields", {})
    if not isinstance(given, dict) or given.keys() & single.keys():
        raise ValueError(f"fields: stands beside {', '.join(FIELD + n for n in single)}, and is no object or says the same again")
    return {**values, "fields": {**given, **single}}


def _command(body: str, door: "Door", now: float) -> Any:
    from worker.broker import Incoming
    from worker.wire import JSON, parse

    found = parse(Incoming(body.encode("utf-8", "surrogatepass"), {}, {"content_type": JSON}), door, now)
    return replace(found, key="") if getattr(found, "key", None) == "-" and hasattr(found, "grant") else found


# --- checking and writing -----------------------------------------------------------------------------------------------------------------


def _check(rt: "Runtime", rows: Sequence[Row], *, atomic: bool) -> None:
    """What can be said of each row before anything is written: the accounts, the keys, those of the file and of the ledger."""
    from worker.cli.submit import base_key
    from worker.core.command import ON_A_STEP
    from worker.flows.accept import Rejected, check

    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.command is None:
            continue
        new = check(rt, row.command)
        if isinstance(new, Rejected):
            row.bad(new.reason)
            continue
        command = new.command
        if atomic and command.action in ON_A_STEP and not (command.pin or command.step or new.part):
            row.bad("--atomic needs a pin or a step in each row: without one the task has to be asked, and that takes more than one step")
            continue
        row.command = command = command if command.key else replace(command, key=base_key(command))
        twin = first.setdefault((command.account, command.key), row)
        if twin is not row and twin.command is not None:
            if twin.command.digest() == command.digest():
                row.did, row.why = "existing", f"the same as line {twin.line}"
            else:
                row.bad(f"key {command.key!r} stands in line {twin.line} with other content")
    standing = rt.ledger.queries.standing(set(first))
    for name, row in first.items():
        if (there := standing.get(name)) and row.command and not row.did:
            row.found = {"id": there.id, "state": there.state}
            if there.digest == row.command.digest():
                row.did = "existing"
            else:
                row.bad(f"key {there.key!r} was used with other content by {there.id} ({there.state})")


def _write(rt: "Runtime", rows: Sequence[Row], size: int, advance: Callable[[int], None]) -> None:
    from worker.flows.accept import Accepted, Conflict, Existing, Rejected, accept

    for at in range(0, len(rows), max(1, size)):
        batch = rows[at : at + size]
        outcomes: Sequence[Outcome] = accept(rt, [r.command for r in batch if r.command])
        for row, outcome in zip(batch, outcomes, strict=True):
            match outcome:
                case Accepted(id_, _, state):
                    row.did, row.found = "accepted", {"id": id_, "state": state}
                case Existing(id_, _, state):
                    row.did, row.found = "existing", {"id": id_, "state": state}
                case Conflict(_, _, reason) | Rejected(reason):
                    row.bad(reason)
        advance(len(batch))


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("submitting", total=total)
        yield lambda n: bar.advance(task, n)


def _report(rows: Sequence[Row], as_json: bool, *, atomic: bool, dry_run: bool) -> None:
    """Every row as JSON; for people the bad ones, and the sum."""
    counts = {did: sum(1 for r in rows if r.did == did) for did in ("accepted", "existing", "would accept", "not written", "bad")}
    if as_json:
        for row in rows:
            output.line(row.as_object())
    else:
        for row in rows:
            if row.did == "bad":
                output.aside(f"line {row.line}: {output.shown(row.why)}")
        names = {"existing": "already there"}
        output.say(", ".join(f"{n} {names.get(did, did)}" for did, n in counts.items() if n))
    if counts["bad"]:
        if atomic or dry_run:
            output.aside("nothing was written")
        sys.exit(FAILED)
