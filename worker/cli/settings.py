"""`approvals config` and `approvals migrate`."""

import click

from worker.cli import output
from worker.cli.session import Session, session


@click.command()
@output.as_json
@session
def config(s: Session, as_json: bool) -> None:
    """Every setting that holds, with its origin; secrets are hidden. And each account's quiet period."""
    from worker.settings import effective

    columns: dict[str, output.Column] = {"key": "key", "value": "value", "origin": "origin"}
    output.listing(as_json, (row._asdict() for row in effective(s.config)), columns)


@click.command()
@output.as_json
@session
def migrate(s: Session, as_json: bool) -> None:
    """Bring the ledger's tables to this release. Safe to repeat, and from several processes at once."""
    from worker.errors import LedgerDown
    from worker.ledger import Ledger

    try:
        ledger = Ledger(s.settings.ledger.url)
    except OSError as exc:
        raise LedgerDown(f"{exc.strerror}: {exc.filename}") from exc
    try:
        revision = ledger.migrate()
    finally:
        ledger.close()
    output.document(as_json, {"revision": revision}, [f"the ledger is at revision {revision}"])
