"""A host for each test, on the backend that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import slot
from tests.integration.checkouts import Host
from tests.integration.small import SmallHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.small import MakeHost

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]


@pytest.fixture(params=BACKENDS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A host on each backend; whatever a test starts is stopped and removed."""
    made = Host(tmp_path / "home", slot.project(f"e2e-{request.param}"), request.param)
    try:
        yield made
    finally:
        made.clean_up()


@pytest.fixture
def make_host(tmp_path: Path, clusters: Path) -> Iterator[MakeHost]:
    """Make hosts with one tiny service; whatever a test starts is stopped and removed."""
    made: list[SmallHost] = []

    def make(backend: str = "embedded", **orienter: Any) -> SmallHost:
        made.append(SmallHost(tmp_path / f"home-{len(made)}" / "x", backend, clusters, **orienter))
        return made[-1]

    yield make
    for host in made:
        host.clean_up()
