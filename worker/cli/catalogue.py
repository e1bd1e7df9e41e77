"""`approvals catalogue`: what events there are, and what stands in them."""

import click

from worker.cli import output
from worker.cli.session import NOT_FOUND, Failure, Session, session


@click.command()
@click.option("--schema", "type_", metavar="TYPE", help="The JSON Schema of one type, for example step.completed.")
@output.as_json
@session
def catalogue(s: Session, type_: str | None, as_json: bool) -> None:
    """Every type of event. With --json: an AsyncAPI 3 document, the schemas in it."""
    from worker import catalogue as made
    from worker.core.events import VERSIONS

    if type_ is not None and type_ not in made.DATA:
        raise Failure(f"there is no type {type_!r}: `approvals catalogue` lists them", NOT_FOUND)
    if type_ is not None or as_json:
        output.document(True, made.schema(type_) if type_ else made.asyncapi(s.settings.events_exchange))
        return
    rows = [{"type": name, "version": VERSIONS[name], "tells": data.__doc__} for name, data in made.DATA.items()]
    output.listing(False, rows, {n: n for n in ("type", "version", "tells")})
