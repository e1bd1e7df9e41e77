"""What the repository promises of itself: what is pure, what the locks say, what a fresh machine needs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def files(*rooms):
    places = [ROOT / "worker" / room for room in rooms]
    return [file for place in places for file in ([place.with_suffix(".py")], sorted(place.rglob("*.py")))[place.is_dir()]]


@pytest.mark.parametrize("file", files("core", "errors"), ids=lambda file: file.stem)
def test_the_core_knows_only_the_standard_library(file):
    foreign = {
        name
        for name in imported(file)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(("worker.core", "worker.errors"))
    }
    assert not foreign


# What would let the core know the time, roll dice or speak to the world. `datetime` is there for its values.
IMPURE = {"asyncio", "logging", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "uuid"}


@pytest.mark.parametrize("file", files("core"), ids=lambda file: file.stem)
def test_the_core_has_no_clock_no_dice_and_no_world(file):
    assert not IMPURE & {name.partition(".")[0] for name in imported(file)}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    assert not called & {"now", "utcnow", "today"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]


def test_no_room_is_a_drawer():
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert not [file for file in (ROOT / "worker").rglob("*.py") if drawers & set(file.stem.split("_"))]


def test_importing_us_reads_nothing_and_takes_nothing():
    program = "import sys, worker; sys.exit(', '.join({'celery', 'pydantic', 'sqlalchemy', 'sentry_sdk'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={"APPROVALS_X__Y": "1"})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_every_file_by_its_hash(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"https?://|--index|--find-links|--trusted|file:|@ ", text)
    pinned = re.findall(r"(?m)^[a-z0-9][^ ]*==", text)
    assert len(pinned) == len(re.findall(r"(?m)^[a-z0-9][^\n]*\\\n    --hash=sha256:", text))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_the_project_needs(lock):
    def names(lines):
        return {re.split(r"[^\w-]", line.lower())[0].replace("_", "-") for line in lines}

    pinned = names(re.findall(r"(?m)^[a-z0-9][^ ]*==", (ROOT / lock).read_text(encoding="utf-8")))
    needed = names(PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["build"])
    if lock == "requirements-dev.lock":
        needed |= names(PROJECT["dependency-groups"]["dev"])
    assert needed <= pinned


def test_the_development_lock_agrees_with_the_other():
    def pins(lock):
        return set(re.findall(r"(?m)^([a-z0-9][^ ]*==[^ ]+)", (ROOT / lock).read_text(encoding="utf-8")))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_every_make_target_that_is_promised():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check", "bench", "up", "servers", "faults"):
        assert re.search(rf"(?m)^{target}:.*##", makefile), target


def test_what_is_shipped_names_no_machine():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git work tree")
    own = re.compile(rf"(?<!\w)({re.escape(str(Path.home()))}|{re.escape(str(ROOT))})/")
    told = []
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.is_file() and own.search(file.read_text(encoding="utf-8", errors="replace")):
            told.append(name)
    assert not told
