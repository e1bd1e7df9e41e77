"""The console on a real port, over a real ledger and a sandbox."""

import queue
import threading
from contextlib import contextmanager

import httpx
import pytest

from worker import bootstrap
from worker.console.server import serve
from worker.ledger import Ledger
from worker.sandbox.project import AUTODESK_USER, PROJECT
from worker.sandbox.server import running_sandbox
from worker.settings import Console, Settings

TOKEN, OLDER = "a-token-of-this-test-1", "a-token-of-this-test-2"


@pytest.fixture(scope="session")
def upstream():
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request, tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def settings(upstream, namespace, ledger_url):
    """An account with two grants; in memory, so that rings come to nothing."""
    grants = {
        name: {"client_id": f"sandbox:{name}", "client_secret": "sandbox", "acts_as": name}  # a user of the sandbox's
        for name in ("jane", "bob")
    }
    account = {"kind": "workiva", "base_url": upstream.workiva_url, "grants": grants}
    tower = {
        "kind": "autodesk",
        "base_url": upstream.autodesk_url,
        "project_id": PROJECT,
        "grants": {"manager": {"client_id": "sandbox", "client_secret": "sandbox", "acts_as": AUTODESK_USER}},
    }
    return Settings(
        namespace=namespace,
        ledger={"url": ledger_url, "encryption_keys": ("k" * 32,)},
        accounts={"finance": account, "legal": account | {"workspace": "legal"}, "tower": tower},
        intake={"max_bytes": 4096},
        console=Console(bind="127.0.0.1:0", tokens=(TOKEN, OLDER)),
    )


@contextmanager
def running(settings, **more):
    """The console of *settings* in a thread; a client that has a token."""
    if not settings.ledger.url.startswith("sqlite"):
        ledger = Ledger(settings.ledger.url)
        ledger.migrate()
        ledger.close()
    rt = bootstrap.runtime(settings)
    stop = threading.Event()
    told: queue.Queue[list[str]] = queue.Queue()
    thread = threading.Thread(target=serve, args=(settings, rt, stop), kwargs={"listening": told.put, **more})
    thread.start()
    try:
        [address] = told.get(timeout=10)
        with httpx.Client(base_url=f"http://{address}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
            yield client
    finally:
        stop.set()
        thread.join(20)
        bootstrap.close(rt)
        assert not thread.is_alive()


@pytest.fixture
def console(settings):
    with running(settings) as client:
        yield client
