"""A lab that leaves nothing behind, also when its test fails, and the fixtures that the contract asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.docker.lab import DockerLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.docker import DockerBackend


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DockerLab]:
    lab = DockerLab(tmp_path.resolve())
    try:
        yield lab
    finally:
        lab.clean()


@pytest.fixture
def config(lab: DockerLab) -> InstanceConfig:
    return lab.config(0)


@pytest.fixture
def other_site(lab: DockerLab) -> InstanceConfig:
    return lab.config(1)


@pytest.fixture
def new_backend(lab: DockerLab) -> Callable[[InstanceConfig], DockerBackend]:
    return lab.backend
