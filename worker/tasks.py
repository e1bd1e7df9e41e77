"""The Celery tasks: a ring is heard, a flow takes a turn. Imported by a worker only, once it has its settings."""

import time

from worker.app import app, runtime, settings
from worker.flows.due import due
from worker.flows.emit import emit as flow_emit
from worker.flows.poll import poll as flow_poll
from worker.flows.submit import submit as flow_submit
from worker.flows.sunset import sunset
from worker.flows.tokens import renew as flow_renew
from worker.flows.turns import turn

_NAMESPACE = settings().namespace


@app.task(name=f"{_NAMESPACE}.submit")
def submit(account: str) -> None:
    """Carry the due submissions of an account on."""
    turn(runtime(), "submit", account, flow_submit)


@app.task(name=f"{_NAMESPACE}.poll")
def poll(account: str) -> None:
    """Look at the due watches of an account."""
    turn(runtime(), "poll", account, flow_poll)


@app.task(name=f"{_NAMESPACE}.emit")
def emit(sink: str) -> None:
    """Let due events out of a sink."""
    turn(runtime(), "emit", sink, flow_emit)


@app.task(name=f"{_NAMESPACE}.renew")
def renew() -> None:
    """Renew the tokens that nobody has needed for days."""
    turn(runtime(), "renew", "", flow_renew)


@app.task(name=f"{_NAMESPACE}.tick")
def tick() -> None:
    """Beat: ring for what is due. Missed, late or twice does no harm."""
    rt = runtime()
    for verb, shard in rt.ledger.queries.due():
        if not shard or shard in (
            rt.sinks if verb == "emit" else rt.accounts
        ):  # what was removed from the settings waits; doctor tells of it
            rt.ring(verb, shard)
    sunset(rt, int(time.time() // 3600))
    due(rt, int(time.time() // 60))
