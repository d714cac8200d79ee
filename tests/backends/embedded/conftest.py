"""A lab that leaves nothing running, and the fixtures that the contract asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import cluster
from tests.backends.contract import up
from tests.backends.embedded.lab import EmbeddedLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.embedded import EmbeddedBackend


@pytest.fixture
def lab(tmp_path: Path, clusters: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedLab]:
    monkeypatch.setattr(cluster, "cache_dir", lambda: clusters)
    lab = EmbeddedLab(tmp_path.resolve())
    try:
        yield lab
    finally:
        lab.clean()


@pytest.fixture
def served(lab: EmbeddedLab) -> InstanceConfig:
    """An instance whose S3 store runs."""
    config = lab.config()
    up(lab.backend(config), config, ["minio"])
    return config


@pytest.fixture
def config(lab: EmbeddedLab) -> InstanceConfig:
    return lab.config()


@pytest.fixture
def other_site(lab: EmbeddedLab) -> InstanceConfig:
    return lab.config(1)


@pytest.fixture
def new_backend(lab: EmbeddedLab) -> Callable[[InstanceConfig], EmbeddedBackend]:
    return lab.backend
