"""The `approvals` command, one file a noun.

`--help` must answer at once and `show` soon after, so that what is heavy (Celery, SQLAlchemy, pydantic, rich) is imported by the verb that
needs it and never by this file. Exit statuses are a contract:

    0 done (with --wait: applied)          4 not found
    1 it failed or did not take effect     5 parked
    2 usage or settings                    6 timed out waiting
    3 the key was used otherwise           7 took effect on another step, or twice
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

import click

from worker import __version__
from worker.cli.session import Session, translated

WHERE: Final = {
    "up": ("process", "Everything in one process: worker, beat, intake, and the console where it is on."),
    "console": ("process", "The HTTP API, where console.tokens opens it."),
    "task": ("task", "Tasks of an account with their steps and pins: live, read-only."),
    "submit": ("submit", "Submit one decision."),
    "import": ("imports", "Submit many decisions from a CSV or JSONL file."),
    "show": ("submission", "One submission with its whole story."),
    "list": ("submission", "Submissions, the newest first."),
    "cancel": ("submission", "Cancel a submission before it is sent."),
    "resolve": ("submission", "Resolve a parked submission, or many."),
    "evidence": ("submission", "The hash-chained record of one submission."),
    "pause": ("account", "Send nothing more of an account, until it is resumed."),
    "resume": ("account", "Send again, slowly at first."),
    "watch": ("watch", "Tasks and feeds that are polled."),
    "event": ("event", "The events, as CloudEvents."),
    "sink": ("sink", "The ways out for events."),
    "catalogue": ("catalogue", "What events there are: AsyncAPI 3 and JSON Schema."),
    "dead": ("dead", "Commands that could not be accepted."),
    "login": ("login", "Ask a grant's user for consent, once: Autodesk."),
    "verify": ("verify", "Hold the sandbox's assumptions against the live upstream."),
    "doctor": ("doctor", "Check everything, and say what to do about each fault."),
    "config": ("settings", "Every setting that holds, with its origin."),
    "migrate": ("settings", "Bring the ledger's tables to this release."),
    "prune": ("prune", "Forget events and the history of their tries, by age."),
    "health": ("process", "For probes: liveness by progress, readiness by reachability."),
    "sandbox": ("process", "A simulated upstream on a port, faults included."),
    "demo": ("demo", "The whole story in under a minute, with nothing to install."),
}
"""Command -> its file and its line in `--help`, in the order of a first day. In its file it is named as here, or `NAME_` where Python has
taken the name."""


class Commands(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first day."""
        del ctx
        return [name for name, (file, _) in WHERE.items() if importlib.util.find_spec(f"worker.cli.{file}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"worker.cli.{WHERE[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_", None) or getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `--help` imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, WHERE[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what is expected to go wrong is a sentence and a status, what is not is a traceback."""
        try:
            return super().invoke(ctx)
        except Exception as exc:
            failure = translated(exc)
            if failure is None:
                raise
            raise failure from exc


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The settings file. Else APPROVALS_CONFIG, else config/approvals.toml, else the embedded defaults.",
)
@click.version_option(__version__, prog_name="approvals")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Each approval takes effect at most once, or is parked with its evidence.

    A first day: `approvals up --sandbox` in one terminal; `approvals task list`, `approvals submit` and `approvals show` in another.

    Exit status: 0 done (with --wait: applied); 1 failed or took no effect; 2 usage or settings; 3 the key was used with other content;
    4 not found; 5 parked; 6 timed out waiting; 7 took effect on another step, or twice.
    """
    ctx.obj = Session(config)


def main() -> None:
    """The entry point."""
    cli(prog_name="approvals")
