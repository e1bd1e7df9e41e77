"""What a command prints: a table to a terminal, tabs or `key: value` to a pipe, JSON where it was asked for.

Titles and comments come from outside, and a terminal obeys what it is shown: so control characters never reach it (`shown`).
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click

as_json = click.option("--json", "as_json", is_flag=True, help="JSON: one document, or one a line for lists and streams.")

COLOURS: Final = {
    "applied": "green",
    "parked": "yellow",
    "refused": "red",
    "expired": "red",
    "superseded": "magenta",
    "misapplied": "bold red",
    "duplicated": "bold red",
    "in_doubt": "yellow",
    "OK": "green",
    "WARN": "yellow",
    "FAIL": "bold red",
}

WORD: Final = 36
"""Characters of the longest cell that is kept on one line (a UUID has as many), and of the narrowest column of prose."""

GAP: Final = 3
"""Characters between two columns."""

Column = str | Callable[[Mapping[str, Any]], object]


def shown(value: object) -> str:
    """*value* on one line, without what a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(shown(v) for v in value)
    return "".join(c if c.isprintable() else " " if c in "\t\r\n" else "\ufffd" for c in str(value))


def terminal() -> bool:
    """Whether a person looks on."""
    return sys.stdout.isatty()


def line(value: Mapping[str, Any]) -> None:
    """One JSON object on one line, at once: somebody may be reading along."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))
    sys.stdout.flush()


def listing(json_: bool, objects: Iterable[Mapping[str, Any]], columns: Mapping[str, Column], empty: str = "nothing to show") -> None:
    """A list: JSON lines, a table, or tabs without a header. *columns*: heading -> key, or what makes the cell of an object."""
    if json_:
        for each in objects:
            line(each)
        return
    rows = [[shown(each.get(c) if isinstance(c, str) else c(each)) for c in columns.values()] for each in objects]
    if not terminal():
        for row in rows:
            click.echo("\t".join(row))
    elif rows:
        table(list(columns), rows)
    if not rows:
        click.echo(empty, err=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal. Prose is folded, never cut; ids and times stay in one piece, because they are there to be copied: a terminal
    that is too narrow for them wraps the lines itself.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made, needed = Table(box=box.SIMPLE_HEAD, pad_edge=False), 0
    for heading, cells in zip(headings, zip(*rows, strict=True), strict=True):
        longest = max(len(cell) for cell in (heading, *cells))
        word = longest <= WORD and not any(" " in cell for cell in cells)
        made.add_column(heading, overflow="fold", no_wrap=word)
        needed += (longest if word else min(longest, WORD)) + GAP
    for row in rows:
        made.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console(width=max(Console().width, needed)).print(made)


def document(json_: bool, value: Mapping[str, Any], lines: Iterable[str] | None = None) -> None:
    """One thing: a JSON document; else *lines*, or its fields as `key: value`."""
    if json_:
        click.echo(json.dumps(value, ensure_ascii=False, default=str, indent=2))
        return
    for each in lines if lines is not None else (f"{k}: {shown(v)}" for k, v in value.items() if v not in (None, "", [], {})):
        say(each)


def say(text: str) -> None:
    """A line of text; its state words in colour where a person looks on."""
    if not terminal():
        click.echo(text)
        return
    from rich.console import Console
    from rich.text import Text

    made = Text(text)
    for word, style in COLOURS.items():
        made.highlight_regex(rf"\b{word}\b", style)
    Console(highlight=False).print(made, soft_wrap=True)


def aside(text: str) -> None:
    """A remark for people, beside the output."""
    click.echo(text, err=True)
