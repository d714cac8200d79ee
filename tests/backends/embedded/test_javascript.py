"""The S3 store with the AWS SDK for JavaScript, which the services of a monorepo use."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backends.contract import up

if TYPE_CHECKING:
    from tests.backends.embedded.lab import EmbeddedLab

PACKAGES = ("@aws-sdk/client-s3@3", "@aws-sdk/s3-request-presigner@3")
PROGRAM = Path(__file__).with_name("s3_client.mjs")


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the SDK into a directory of this session's own."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no node and npm")
    directory = tmp_path_factory.mktemp("sdk")
    (directory / "package.json").write_text("{}", encoding="utf-8")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the SDK here: {done.stderr.strip()[:200]}")
    shutil.copy(PROGRAM, directory)
    return directory


@pytest.mark.embedded
def test_the_aws_sdk_for_javascript_is_served(lab: EmbeddedLab, sdk: Path) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["minio"])
    done = subprocess.run(
        ["node", PROGRAM.name],
        cwd=sdk,
        env=config.variables.over(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "all good\n"), done.stderr
