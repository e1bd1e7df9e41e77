"""What is held against programs in JavaScript installs them from their own lock."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path, source: Path, *files: str) -> Path:
    """*folder* with *files* of *source* and what its lock names. Without Node the test is skipped and told; in CI it is a failure."""
    for name in ("package.json", "package-lock.json", *files):
        shutil.copy(source / name, folder)
    npm = shutil.which("npm")
    done = npm and subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, timeout=180)
    if not done or done.returncode:
        why = done.stderr.decode() if done else "there is no npm"
        if os.environ.get("CI") == "true":
            pytest.fail(f"npm is needed in CI: {why}")
        pytest.skip(f"npm could not install it: {why}")
    return folder
