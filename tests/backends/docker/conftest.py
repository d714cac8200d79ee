"""A lab that leaves nothing behind, also when its test fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.docker.lab import DockerLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DockerLab]:
    lab = DockerLab(tmp_path.resolve())
    try:
        yield lab
    finally:
        lab.clean()
