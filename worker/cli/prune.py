"""`approvals prune`: forget what the settings let go, by class and age."""

from dataclasses import asdict

import click

from worker.cli import output
from worker.cli.session import Session, session


@click.command()
@output.as_json
@session
def prune(s: Session, as_json: bool) -> None:
    """Forget events that have left, and the history of their tries, once they are older than `retention` says. Submissions stay."""
    from worker.ledger.outbox import Ages

    ages = s.settings.retention
    with s.ledger() as ledger:
        done = ledger.outbox.prune(Ages(ages.tries, ages.deliveries, ages.events))
    output.document(as_json, asdict(done), [f"forgotten: {done.events} events, {done.deliveries} deliveries, {done.tries} tries"])
