"""What leaves this process: read from a real Sentry endpoint and a real log stream, in a process of its own."""

import gzip
import json
import logging
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
import sqlalchemy as sa
import structlog

from tests.system.house import House, approve, messages, publish, queue_there, until
from worker.settings import Log, Settings
from worker.telemetry import configure, scrub, tell
from worker.wire import REASON


class Receiver(ThreadingHTTPServer):
    """Takes Sentry's envelopes and any other request, and keeps both."""

    def __init__(self):
        self.items: list[tuple[str, dict]] = []
        self.requests: list[dict] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def dsn(self):
        return f"http://publickey@127.0.0.1:{self.server_port}/1"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def payloads(self, kind):
        return [payload for item, payload in self.items if item == kind]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/envelope/"):
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            _header, *lines = body.splitlines()
            for head, payload in zip(lines[::2], lines[1::2], strict=False):
                self.server.items.append((json.loads(head)["type"], json.loads(payload)))
        else:
            self.server.requests.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST  # noqa: N815 - the name is the base class's

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(receiver, body, **env):
    """Run *body* where Sentry is set up, away from this process, whose other tests must not be told on."""
    program = f"""
import sentry_sdk
from worker.settings import Settings, load
from worker.telemetry import configure, flush, tell
env = {{"APPROVALS_SENTRY__DSN": {receiver.dsn!r}, "APPROVALS_SENTRY__TRACES_SAMPLE_RATE": "1.0"}}
configure(load(env=env), "worker")
{textwrap.dedent(body)}
flush()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_an_error_arrives_and_its_secrets_do_not(receiver):
    run(
        receiver,
        """
        def call(innocent, headers):
            client_secret = "hunter2"
            body = {"grant_type": "client_credentials", "refresh_token": innocent}
            raise RuntimeError("POST https://user:hunter2@host/token?code=hunter2 with Bearer hunter2")
        sentry_sdk.add_breadcrumb(message="sent", data={"url": "https://host?a=hunter2", "http.query": "a=hunter2"})
        sentry_sdk.set_context("job", {"args": [{"comment": "hunter2"}], "deep": {"x": [{"access_token": "hunter2"}]}})
        sentry_sdk.set_extra("body", 'client_secret=hunter2&a=b {"comment": "hunter2 hunter2"}')
        try:
            call("hunter2", [("Authorization", "Bearer hunter2")])
        except RuntimeError:
            sentry_sdk.capture_exception()
        """,
    )
    (event,) = receiver.payloads("event")
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert event["tags"]["process"] == "worker"
    assert event["release"].startswith("approval-worker@")
    # The program itself is the text of `python -c`, so no source line of it is sent.
    assert "hunter2" not in json.dumps(receiver.items)


def test_a_failed_celery_task_arrives_without_its_arguments(receiver):
    run(
        receiver,
        """
        from celery import Celery
        app = Celery("t", broker="memory://", set_as_current=False)
        @app.task(name="approvals.submit")
        def submit(shard, comment):
            raise RuntimeError("broken")
        submit.apply(("finance",), {"comment": "hunter2"})
        """,
    )
    (event,) = receiver.payloads("event")
    assert event["exception"]["values"][-1]["value"] == "broken"
    assert "hunter2" not in json.dumps(receiver.items)


def test_what_a_person_must_see_is_one_case_by_its_fingerprint(receiver):
    logged = run(receiver, 'tell("submission.parked", ("finance", "unreadable"), submission="s1", comment="hunter2")')
    (event,) = receiver.payloads("event")
    assert event["message"] == "submission.parked"
    assert event["fingerprint"] == ["submission.parked", "finance", "unreadable"]
    assert event["contexts"]["case"]["submission"] == "s1"
    assert "hunter2" not in json.dumps(receiver.items) + logged


@pytest.mark.parametrize(
    "send",
    [
        "import httpx; httpx.post(URL, content=b'{}')",
        "import urllib.request; urllib.request.urlopen(URL).close()",
        """
import asyncio, aiohttp
async def send():
    async with aiohttp.ClientSession() as session, session.post(URL, data=b'{}'):
        pass
asyncio.run(send())
""",
    ],
    ids=["httpx", "urllib", "aiohttp"],
)
def test_no_tracing_header_goes_to_an_upstream(receiver, send):
    run(
        receiver,
        f"URL = {receiver.url!r} + '/task?token=hunter2'\n"
        "with sentry_sdk.start_transaction(op='test', name='send'):\n" + textwrap.indent(send, "    "),
    )
    (headers,) = receiver.requests
    assert not {name.lower() for name in headers} & {"sentry-trace", "baggage", "traceparent"}
    assert receiver.payloads("transaction")
    assert "hunter2" not in json.dumps(receiver.items)


SECRET = "hunter2 hunter2"
"""Short enough to stand whole wherever long values are cut."""


@pytest.mark.system
class TestProcesses:
    """Each process of the Procfile, and all of them as one, made to fail from outside."""

    @pytest.fixture
    def house(self, request, receiver, tmp_path, rabbitmq_url, namespace):
        postgres = getattr(request, "param", "sqlite") == "postgres"
        ledger = request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path}/ledger.db"
        more = {"SENTRY__DSN": receiver.dsn}
        with House(tmp_path, "http://127.0.0.1:1", namespace=namespace, ledger=ledger, broker=rabbitmq_url, more=more) as house:
            house.ledger.migrate()
            yield house

    @pytest.fixture
    def arrived(self, receiver, house):
        """An event of an exception of one of these types, when it is there; and nothing that was said anywhere holds the secret."""

        def arrived(process, *exceptions):
            def there():
                return [e for e in receiver.payloads("event") if e.get("exception", {}).get("values", [{}])[-1].get("type") in exceptions]

            found = until(there, 60, f"{exceptions} of {process}")[0]
            assert found["tags"]["process"] == process
            assert found["tags"]["namespace"] == house.namespace
            assert "hunter2" not in json.dumps(receiver.items)
            assert "hunter2" not in house[process].text()

        return arrived

    def told(self, receiver, events):
        until(lambda: len(receiver.payloads("event")) == events, 60, f"{events} events")

    def constrain(self, house, table, column, value):
        """The database takes everything but this."""
        when = f"BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.{column} = '{value}')"
        no_room = (
            f"CREATE TRIGGER no_room {when} BEGIN SELECT RAISE(ABORT, 'no room'); END"
            if house.ledger.database.sqlite
            else f"ALTER TABLE {table} ADD CONSTRAINT no_room CHECK ({column} <> '{value}') NOT VALID"
        )
        house.ledger.database.write(lambda c: c.execute(sa.text(no_room)))

    def test_of_the_worker(self, house, receiver, arrived, rabbitmq_url, namespace):
        """Two, because what the log said of the first might travel with the second."""
        house.start("worker").ready("ready.", 60)
        for n in range(2):
            headers = {"lang": "py", "task": f"{namespace}.submit", "id": str(n), "argsrepr": SECRET, "kwargsrepr": SECRET}
            body = json.dumps([[SECRET], {"comment": SECRET}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
            publish(rabbitmq_url, namespace, [body], queue="rings", headers=headers)
            self.told(receiver, n + 1)
        arrived("worker", "TypeError")

    def test_of_beat(self, house, arrived):
        """A broker at a host whose name no resolver takes is a mistake and no outage. It is told once, and beat goes on."""
        house.env["APPROVALS_BROKER__URL"] = f"amqp://guest:hunter2@{'x' * 64}/"
        beat = house.start("beat")
        arrived("beat", "UnicodeError", "UnicodeEncodeError")  # which one depends on the Python
        assert beat.running

    @pytest.mark.parametrize(
        ("house", "words"),
        [("sqlite", "no room"), ("postgres", 'new row for relation "submissions" violates check constraint "no_room"')],
        indirect=["house"],
        ids=["sqlite", "postgres"],
    )
    def test_of_the_intake(self, house, arrived, rabbitmq_url, namespace, words):
        """Nor do the dead tell more than the database's own words: whoever reads them need not be one who may read the comments."""
        self.constrain(house, "submissions", "key", "p")
        house.start("intake").ready("intake.started", 60)
        until(lambda: queue_there(rabbitmq_url, f"{namespace}.commands"), 60, "its queue")
        house.publish(approve("p", "T", comment=SECRET))
        until(lambda: house["intake"].said("command.rejected"), 60, "the rejection")
        arrived("intake", "IntegrityError")
        ((headers, _),) = messages(rabbitmq_url, f"{namespace}.dead")
        assert headers[REASON] == f"the ledger cannot take it: IntegrityError: {words}"
        assert [e["data"]["reason"] for _, e in house.ledger.queries.events()] == [headers[REASON]]

    def test_of_all_in_one_whose_intake_breaks(self, house, arrived, rabbitmq_url, namespace):
        self.constrain(house, "events", "type", "command.rejected")
        up = house.run("up", [sys.executable, "-m", "worker", "up"]).ready("intake.started", 60)
        until(lambda: queue_there(rabbitmq_url, f"{namespace}.commands"), 60, "its queue")
        house.publish(approve("k", "T", account="nobody", comment=SECRET))
        until(lambda: not up.running, 60, "its end")
        assert up.stop() == 1
        arrived("up", "IntegrityError")


@pytest.mark.parametrize(
    ("clean", "dirty"),
    [
        ({"client_secret": "[scrubbed]", "a": 1}, {"client_secret": "x", "a": 1}),
        ({"assertion": "[scrubbed]", "code_verifier": "[scrubbed]"}, {"assertion": "x.y.z", "code_verifier": "x"}),
        ("assertion=[scrubbed]&code_verifier=[scrubbed]&a=b", "assertion=x.y.z&code_verifier=x&a=b"),
        ([["Authorization", "[scrubbed]"], ["Accept", "*/*"]], [("Authorization", "x"), ("Accept", "*/*")]),
        ("Bearer [scrubbed]", "Bearer abc.def-ghi"),
        ("amqp://[scrubbed]@host/", "amqp://user:pass@host/"),
        ("GET https://host/p?[scrubbed] 200", "GET https://host/p?q=1&r=2 200"),
        ("{'responseComment': [scrubbed]}", "{'responseComment': 'within \\'budget\\''}"),
        ({"comment": ""}, {"comment": ""}),
        ("submission.settled", "submission.settled"),
    ],
)
def test_scrub(clean, dirty):
    assert scrub(dirty) == clean


class TestLogs:
    @pytest.fixture
    def lines(self):
        root, before = logging.getLogger(), structlog.get_config()
        handlers, level = root.handlers[:], root.level
        stream = StringIO()
        configure(Settings(log=Log(level="info", format="json")), "worker", stream)
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**before)

    def test_a_line_is_an_event_name_and_key_values(self, lines):
        structlog.get_logger("worker.flows").info("submission.settled", submission="s1", state="applied")
        (line,) = lines()
        assert (line["event"], line["submission"], line["process"]) == ("submission.settled", "s1", "worker")
        assert line["logger"] == "worker.flows"

    def test_the_lines_of_libraries_have_the_same_form(self, lines):
        logging.getLogger("celery.worker").warning("lost %s", "amqp://user:hunter2@host")
        (line,) = lines()
        assert (line["event"], line["level"]) == ("lost amqp://[scrubbed]@host", "warning")

    def test_no_secret_is_written(self, lines):
        def fail():
            raise RuntimeError("Bearer hunter2")

        try:
            fail()
        except RuntimeError:
            structlog.get_logger("x").exception("request.failed", client_secret="hunter2", body={"comment": "hunter2"})
        assert "hunter2" not in json.dumps(lines())
        assert "RuntimeError" in lines()[0]["exception"]

    def test_telling_a_person_writes_a_line_where_there_is_no_sentry(self, lines):
        tell("submission.parked", ("finance",), submission="s1")
        assert [line["event"] for line in lines()] == ["submission.parked"]
