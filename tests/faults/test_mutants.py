"""Every rule that is taken out is missed, by the invariant that it is there for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import worker
from tests.faults.mutants import BY_CLASS, MUTANTS, PARTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and the harness, to be spoiled."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(Path(worker.__file__).parent, tmp_path / "worker", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "faults", tmp_path / "tests" / "faults", ignore=ignored)
    (tmp_path / "tests" / "__init__.py").touch()
    return tmp_path


def run(copy: Path, *args: str) -> subprocess.CompletedProcess[str]:
    where = subprocess.run(
        [sys.executable, "-c", "import worker; print(worker.__file__)"],
        cwd=copy,
        env=_env(copy),
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(copy) in where.stdout, "the copy is not what runs"
    return subprocess.run([sys.executable, *args], cwd=copy, env=_env(copy), capture_output=True, text=True, timeout=300)


def _env(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def search(copy: Path, mutant: Mutant, *more: str) -> subprocess.CompletedProcess[str]:
    return run(copy, "-m", "tests.faults.search", "--seconds", "200", "--worlds", str(mutant.worlds), *more, *mutant.options.split())


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [*MUTANTS, *PARTS], ids=lambda m: m.name)
def test_missed(copy: Path, mutant: Mutant) -> None:
    """Without the rule its invariant breaks."""
    mutant.apply(copy / "worker")
    done = search(copy, mutant, "--expect", mutant.breaks)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


@pytest.mark.slow
def test_sorted_by_class(copy: Path) -> None:
    """Whoever sorts failures by exception class is told so by raw sockets that break the answer after the effect."""
    shutil.copy(ROOT / "tests" / "test_engine.py", copy / "tests")
    test = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", BY_CLASS.breaks, "tests/test_engine.py")
    sound = run(copy, *test)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    BY_CLASS.apply(copy / "worker")
    spoiled = run(copy, *test)
    assert spoiled.returncode == 1, spoiled.stdout + spoiled.stderr
    assert "1 failed" in spoiled.stdout


def test_one_place_each() -> None:
    """Every mutant still fits the code."""
    package = Path(worker.__file__).parent
    for mutant in (*MUTANTS, *PARTS, BY_CLASS):
        assert (package / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1, mutant.name
