"""Where the suite finds real servers, and private ones for tests that stop, kill or freeze a server.

Found in this order: the address in ``APPROVALS_TEST_POSTGRES``, ``_RABBITMQ`` or ``_REDIS``; a server at the usual
address on this machine; ``docker compose`` where an engine runs; the machine's own binaries as a private instance. With
none of these :class:`Missing` is raised, which `conftest.py` makes a skip at a desk and a failure with ``CI=true``.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import amqp
import psycopg
import redis as redis_client
from sqlalchemy import make_url

ROOT = Path(__file__).parent.parent
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/test"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
REDIS = "redis://127.0.0.1:6379/0"
COMPOSE = ("docker", "compose", "--project-name", "approval-worker-test")
COMPOSE_POSTGRES = "postgresql+psycopg://approvals:test@127.0.0.1:5432/approvals"
COMPOSE_RABBITMQ = "amqp://approvals:test@127.0.0.1:5672//"


class Missing(Exception):
    """No such server can be had here."""


# ------------------------------------------------------------------------------------------------------------- finding


@contextmanager
def postgres() -> Iterator[str]:
    """Give the address of a PostgreSQL where databases may be created."""
    with _found("APPROVALS_TEST_POSTGRES", POSTGRES, postgres_answers, COMPOSE_POSTGRES, private_postgres) as url:
        yield url


@contextmanager
def rabbitmq() -> Iterator[str]:
    """Give the address of a RabbitMQ: a virtual host of its own where one can be made, which goes with all it holds."""
    with _found("APPROVALS_TEST_RABBITMQ", RABBITMQ, rabbitmq_answers, COMPOSE_RABBITMQ, private_rabbitmq) as url:
        vhost = f"test_{secrets.token_hex(4)}"
        own = _with_vhost(url, vhost)
        made = _is_local(url) and _rabbitmqctl("add_vhost", vhost)
        try:
            if made:
                user = urlsplit(url).username or "guest"
                made = _rabbitmqctl("set_permissions", "-p", vhost, user, ".*", ".*", ".*") and rabbitmq_answers(own)
            yield own if made else url
        finally:
            if made:
                _rabbitmqctl("delete_vhost", vhost)


@contextmanager
def redis() -> Iterator[str]:
    """Give the address of an empty Redis database, which is emptied afterwards."""
    with _found("APPROVALS_TEST_REDIS", REDIS, redis_answers, REDIS, private_redis) as url:
        own = next(filter(_claimed, (urlsplit(url)._replace(path=f"/{n}").geturl() for n in range(15, 0, -1))), None)
        if own is None:
            raise Missing(f"every database of {url} holds something")
        try:
            yield own
        finally:
            with redis_client.Redis.from_url(own) as client:
                client.flushdb()


def _claimed(url: str) -> bool:
    with redis_client.Redis.from_url(url) as client, suppress(redis_client.RedisError):
        return client.dbsize() == 0 and bool(client.set("approvals.test", secrets.token_hex(4), nx=True))
    return False


@contextmanager
def database(admin: str) -> Iterator[str]:
    """Give the address of an empty database, dropped afterwards with whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(_libpq(admin), autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
    try:
        yield make_url(admin).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(_libpq(admin), autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)".encode())


@contextmanager
def _found(variable: str, usual: str, answers: Callable[[str], bool], composed: str, private: Callable[[], "_Private"]) -> Iterator[str]:
    if url := os.environ.get(variable):
        if not answers(url):
            raise Missing(f"{variable} is set and nothing answers there")
        yield url
    elif answers(usual):
        yield usual
    elif _composed() and answers(composed):
        yield composed
    else:
        with private() as server:
            yield server.url


def postgres_answers(url: str) -> bool:
    """Whether a PostgreSQL lets us in."""
    with suppress(psycopg.Error, OSError):
        psycopg.connect(_libpq(url), connect_timeout=2).close()
        return True
    return False


def rabbitmq_answers(url: str) -> bool:
    """Whether a RabbitMQ lets us in."""
    parts = urlsplit(url)
    with suppress(amqp.AMQPError, OSError):
        with amqp.Connection(
            f"{parts.hostname}:{parts.port or 5672}",
            userid=parts.username or "guest",
            password=parts.password or "guest",
            virtual_host=parts.path[1:] or "/",
            connect_timeout=2,
            read_timeout=5,
        ):
            pass
        return True
    return False


def redis_answers(url: str) -> bool:
    """Whether a Redis lets us in."""
    with (
        suppress(redis_client.RedisError, OSError),
        redis_client.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client,
    ):
        return bool(client.ping())
    return False


def _composed() -> bool:
    """Whether containers run now."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        return False
    up = [*COMPOSE, "up", "--detach", "--wait", "rabbitmq", "postgres", "redis"]
    env = {**os.environ, "POSTGRES_PASSWORD": "test", "RABBITMQ_PASSWORD": "test"}
    return subprocess.run(up, capture_output=True, cwd=ROOT, env=env).returncode == 0


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _with_vhost(url: str, vhost: str) -> str:
    return urlsplit(url)._replace(path=f"/{quote(vhost, safe='')}").geturl()


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def _rabbitmqctl(*words: str) -> bool:
    if not shutil.which("rabbitmqctl"):
        return False
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(["rabbitmqctl", "-q", *words], capture_output=True, timeout=30).returncode == 0
    return False


# ------------------------------------------------------------------------------------------------------------- private


class _Private:
    """A server of the test's own, in a folder of its own, on free ports. It may be ended and frozen at will."""

    url: str
    answers: Callable[[str], bool]
    starts_within = 60.0
    # PostgreSQL takes SIGTERM for "when everybody has left", SIGINT for "now".
    ending = signal.SIGTERM

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"aw-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's own process."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it with the data it had, and return when it lets us in."""
        assert self._process is None, "it is running"
        self._process = self._spawn()
        end = time.monotonic() + self.starts_within
        while not self.answers(self.url):
            if self._process.poll() is not None or time.monotonic() > end:
                log = self.log()
                self.kill()
                raise Missing(f"a private {type(self).__name__} did not start:\n{log[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order. What was frozen is thawed first, else it would not hear."""
        self._end(self.ending)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it in good order and start it again with the data it had."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop every process of it where it stands: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Give what it wrote."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def _spawn(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _signal(self, what: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            # Each is started as the leader of its own group, so this meets its children and nobody else's.
            os.killpg(self.pid, what)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.thaw()
        if how == signal.SIGKILL:
            self._signal(how)
        else:
            self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(10)
        self._process = None


class PrivatePostgres(_Private):
    """PostgreSQL on its own data directory."""

    answers = staticmethod(postgres_answers)
    ending = signal.SIGINT

    def __init__(self) -> None:
        self.bin = _postgres_binaries()
        self.user = _unprivileged("postgres")
        super().__init__("postgres")
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        if self.user:
            shutil.chown(self.folder, self.user)

    def _spawn(self) -> subprocess.Popen[bytes]:
        data = self.folder / "data"
        if not data.exists():
            made = subprocess.run(
                [self.bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
                user=self.user,
                cwd=self.folder,
                capture_output=True,
                text=True,
            )
            if made.returncode:
                raise Missing(f"initdb failed: {made.stderr[-500:]}")
        options = ["-D", str(data), "-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"]
        with (self.folder / "postgres.log").open("ab") as log:
            return subprocess.Popen(
                [str(self.bin / "postgres"), *options],
                user=self.user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _signal(self, what: signal.Signals) -> None:
        # PostgreSQL puts each of its children into a group of its own.
        for pid in [self.pid, *_children(self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, what)


class PrivateRabbitMQ(_Private):
    """RabbitMQ with its own node name, ports, data and port mapper: it meets no other node of this machine."""

    answers = staticmethod(rabbitmq_answers)

    def __init__(self) -> None:
        server = next((p for p in Path("/usr/lib/rabbitmq").glob("**/bin/rabbitmq-server")), None)
        # The script in the path is the distribution's, which changes to a user and drops the environment.
        found = str(server) if server else shutil.which("rabbitmq-server")
        if not found:
            raise Missing("there is no rabbitmq-server here")
        self.server = found
        super().__init__("rabbitmq")
        self.node = f"aw{secrets.token_hex(4)}@localhost"
        self.port, self._dist, self._epmd = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\nlog.console = true\nlog.console.level = warning\n"
            # A nearly full disk of a desk must not block publishers.
            "disk_free_limit.absolute = 50MB\n"
        )
        for name, content in {"enabled_plugins": "[].\n", "env.conf": ""}.items():
            (self.folder / name).write_text(content)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which `rabbitmqctl` and the like speak to this node."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": str(self.folder),  # the cookie stands there
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    @property
    def pid(self) -> int:
        """The Erlang machine's process, not that of the script around it."""
        with suppress(OSError, ValueError):
            return int((self.folder / "pid").read_text())
        return super().pid

    def __exit__(self, *exc):
        super().__exit__(*exc)
        if epmd := shutil.which("epmd"):
            end = ["epmd", "-port", str(self._epmd), "-kill"]
            subprocess.run(end, executable=epmd, env=self.env, capture_output=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "rabbitmq.log").open("ab") as log:
            return subprocess.Popen([self.server], env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def _signal(self, what: signal.Signals) -> None:
        assert self._process is not None, "it is not running"
        for pid in {self._process.pid, self.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, what)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and how != signal.SIGKILL:
            self.thaw()
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)
        super()._end(how)


class PrivateRedis(_Private):
    """Redis that keeps nothing when it ends, or everything it confirmed where it is *durable*."""

    answers = staticmethod(redis_answers)

    def __init__(self, durable: bool = False) -> None:
        if not shutil.which("redis-server"):
            raise Missing("there is no redis-server here")
        super().__init__("redis")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), *self._options]
        with (self.folder / "redis.log").open("ab") as log:
            return subprocess.Popen(["redis-server", *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def private_postgres() -> PrivatePostgres:
    """Give a PostgreSQL to be used with ``with``."""
    return PrivatePostgres()


def private_rabbitmq() -> PrivateRabbitMQ:
    """Give a RabbitMQ to be used with ``with``. It takes some seconds to start."""
    return PrivateRabbitMQ()


def private_redis() -> PrivateRedis:
    """Give a Redis to be used with ``with``. It starts at once."""
    return PrivateRedis(durable=True)


def free_port() -> int:
    """Give a port that nobody listens on. Should another program take it first, a test fails loudly."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _postgres_binaries() -> Path:
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(newest[-1]) if newest else shutil.which("postgres")
    if not found:
        raise Missing("there is no postgres here")
    return Path(found).parent


def _unprivileged(name: str) -> str | None:
    """Give the user to run as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    for user in (name, "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(user).pw_name
    raise Missing(f"there is no user that {name} could run as")


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]
