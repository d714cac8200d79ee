"""A lab that leaves nothing running, and the fixtures that the contract asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import cluster
from tests.backends.embedded.lab import EmbeddedLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.backend import Site
    from orienter_tasks.backends.embedded.backend import EmbeddedBackend


@pytest.fixture
def lab(tmp_path: Path, clusters: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedLab]:
    monkeypatch.setattr(cluster, "cache_dir", lambda: clusters)
    lab = EmbeddedLab(tmp_path.resolve())
    try:
        yield lab
    finally:
        lab.clean()


@pytest.fixture
def site(lab: EmbeddedLab) -> Site:
    return lab.site()


@pytest.fixture
def other_site(lab: EmbeddedLab) -> Site:
    return lab.site(1)


@pytest.fixture
def new_backend(lab: EmbeddedLab) -> Callable[[Site], EmbeddedBackend]:
    return lab.backend
