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

PROGRAM = Path(__file__).with_name("s3_client.mjs")


@pytest.mark.embedded
def test_the_aws_sdk_for_javascript_is_served(lab: EmbeddedLab, node_modules: Path, tmp_path: Path) -> None:
    config = lab.config()
    up(lab.backend(config), config, ["minio"])
    (tmp_path / "node_modules").symlink_to(node_modules)
    shutil.copy(PROGRAM, tmp_path)
    done = subprocess.run(
        ["node", PROGRAM.name],
        cwd=tmp_path,
        env=config.variables.over(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "all good\n"), done.stderr
