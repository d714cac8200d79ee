"""A lab that leaves nothing running, and one template of PostgreSQL's data for the whole session."""

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


@pytest.fixture(scope="session")
def template_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the first test pays for initdb."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def lab(tmp_path: Path, template_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedLab]:
    monkeypatch.setattr(cluster, "cache_dir", lambda: template_cache)
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
