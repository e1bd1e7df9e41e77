"""Approvals from FastAPI, both ways: by the broker with the client, and over HTTP with the worker's console.

    SHOP_BROKER=amqp://guest:guest@127.0.0.1:5672// fastapi run app.py
    SHOP_CONSOLE=http://127.0.0.1:8080 SHOP_TOKEN=… fastapi run app.py

Events are listened to by a thread, which drops doubles.
"""

import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from worker.client import Approvals, ClientError  # or your copy of that one file

ACCOUNT, NAMESPACE = "finance", os.environ.get("SHOP_NAMESPACE", "approvals")
DATABASE = os.environ.get("SHOP_DATABASE", "shop.sqlite3")


class Decision(BaseModel):
    """What the page sends."""

    task: str
    step: int = Field(ge=1)
    comment: str | None = None

    def command(self, order: str) -> dict[str, Any]:
        """The same for the same decision, whenever it is sent: the key names it, and takes effect once."""
        return {"key": f"order-{order}/{self.step}", "account": ACCOUNT, "action": "approve", **self.model_dump(exclude_none=True)}


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """A transaction of this program's own."""
    with closing(sqlite3.connect(DATABASE, timeout=10)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (event TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE IF NOT EXISTS states (key TEXT PRIMARY KEY, state TEXT, times INTEGER DEFAULT 1)")
        yield connection


def handle(event: dict[str, Any]) -> None:
    """The event's id and what it changes are one transaction, so that a double changes nothing."""
    key, state = event["data"]["submission"]["key"], event["type"].removeprefix("submission.")
    with database() as connection:
        if connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event["id"],)).rowcount:
            again = "ON CONFLICT (key) DO UPDATE SET state = excluded.state, times = times + 1"
            connection.execute(f"INSERT INTO states (key, state) VALUES (?, ?) {again}", (key, state))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client of each kind for the whole program; a listener beside it."""
    broker, over = os.environ.get("SHOP_BROKER", "amqp://guest:guest@127.0.0.1:5672//"), threading.Event()

    def listen() -> None:
        # A short `idle`, so that the end of the program is noticed.
        with app.state.approvals.events(f"*.{ACCOUNT}.submission.*", queue=f"{NAMESPACE}.shop", idle=0.5) as events:
            while not over.is_set():
                for event in events:
                    handle(event)

    token = os.environ.get("SHOP_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=os.environ.get("SHOP_CONSOLE", "http://127.0.0.1:8080"), headers=headers) as console:
        with Approvals(broker, NAMESPACE, timeout=5) as approvals:
            app.state.approvals, app.state.console = approvals, console
            listener = threading.Thread(target=listen, name="approvals")
            listener.start()
            yield
            over.set()
            listener.join()


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order}/approve", status_code=202)
def approve(order: str, decision: Decision, request: Request) -> dict[str, str]:
    """By the broker. `def` and not `async def`: the client waits for the broker's confirm, and FastAPI runs this in a thread."""
    try:
        return {"key": request.app.state.approvals.submit(**decision.command(order))}
    except ClientError as exc:
        raise HTTPException(503, "not submitted for sure: send it again", {"Retry-After": "5"}) from exc


@app.post("/orders/{order}/approve-over-http", status_code=202)
async def approve_over_http(order: str, decision: Decision, request: Request) -> dict[str, str]:
    """By the console: the answer says at once what is wrong with a decision."""
    try:
        answer = await request.app.state.console.post("/api/submissions", json=decision.command(order))
    except httpx.TransportError as exc:
        raise HTTPException(503, "not submitted for sure: send it again", {"Retry-After": "5"}) from exc
    if answer.is_error:
        raise HTTPException(answer.status_code if answer.status_code in {409, 422, 503} else 502, answer.json()["detail"])
    return dict(answer.json())


@app.get("/orders/{order}/{step}")
def state(order: str, step: int) -> dict[str, Any]:
    """What the events told of it."""
    with database() as connection:
        found = connection.execute("SELECT state, times FROM states WHERE key = ?", (f"order-{order}/{step}",)).fetchone()
    if found is None:
        raise HTTPException(404)
    return {"state": found[0], "events": found[1]}
