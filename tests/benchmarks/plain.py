"""The other side of the comparison: the same job as a good engineer writes it with Celery, without the guarantees of this project.

One Celery task a job, in threads or greenlets. An HTTP client for each that is at work, because a pool that many share is searched anew at
every request; TLS roots read once, one token for all, late acknowledgement, confirmed events, a row that is updated when the job is done.
What it does not do: after a lost answer it sends again, and may approve another step.
"""

import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue

import httpx
import sqlalchemy as sa
from celery import Celery
from kombu import Connection, Exchange
from kombu.pools import producers

POOLS = {"threads": 32, "gevent": 100}
"""How many jobs a process has at work in each."""

AT_WORK = max(POOLS.values())
QUEUE = "plain.jobs"
EXCHANGE = "plain.events"

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER"), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
)

metadata = sa.MetaData()
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("task", sa.String(200), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
)


class Tools:
    """What all jobs of a process share."""

    def __init__(self) -> None:
        self.upstream = os.environ["PLAIN_UPSTREAM"]
        self._clients: LifoQueue[httpx.Client] = LifoQueue()
        self._roots = httpx.create_ssl_context()
        self.ledger = sa.create_engine(os.environ["PLAIN_LEDGER"], pool_size=32, max_overflow=0)
        self.broker = Connection(os.environ["PLAIN_BROKER"], transport_options={"confirm_publish": True})
        self.producers = producers[self.broker]
        self.producers.limit = AT_WORK
        self.exchange = Exchange(EXCHANGE, type="topic", durable=True)
        self._token = ""
        self._lock = threading.Lock()

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """One that nobody else uses meanwhile."""
        try:
            client = self._clients.get_nowait()
        except Empty:
            client = httpx.Client(timeout=25, verify=self._roots, headers={"X-Version": "2026-01-01", "Accept": "application/json"})
        yield client
        self._clients.put(client)

    def token(self, client: httpx.Client) -> str:
        with self._lock:
            if not self._token:
                form = {"grant_type": "client_credentials", "client_id": "sandbox:jane", "client_secret": "sandbox"}
                self._token = client.post(f"{self.upstream}/oauth2/token", data=form).raise_for_status().json()["access_token"]
            return self._token


_tools: list[Tools] = []
_making = threading.Lock()


def tools() -> Tools:
    with _making:
        if not _tools:
            _tools.append(Tools())
        return _tools[0]


@app.task(name="plain.approve", autoretry_for=(httpx.TransportError, httpx.HTTPStatusError), retry_backoff=True)
def approve(job: str, task: str) -> None:
    with_ = tools()
    with with_.client() as client:
        headers = {"Authorization": f"Bearer {with_.token(client)}"}
        look = client.get(f"{with_.upstream}/tasks/{task}", headers=headers).raise_for_status().json()
        if look["status"] != "Awaiting Approval":
            raise ValueError(f"{task} awaits no approval: {look['status']}")
        answer = client.post(f"{with_.upstream}/tasks/{task}/actionSubmission", headers=headers, json={"action": "APPROVE"})
        after = answer.raise_for_status().json()
    with with_.ledger.begin() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == job).values(state="applied"))
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/workiva/finance",
        "type": "step.completed",
        "subject": task,
        "data": {"task": task, "title": after["title"], "step": 1, "responses": after["approvalSteps"][0]["responses"]},
    }
    with with_.producers.acquire(block=True) as producer:
        producer.publish(
            json.dumps(event),
            exchange=with_.exchange,
            routing_key="workiva.finance.step.completed",
            content_type="application/cloudevents+json",
            content_encoding="utf-8",
            declare=[with_.exchange],
            retry=True,
        )
