"""A host for each test, on the backend that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import slot
from tests.integration.checkouts import demo_host, demo_settings
from tests.integration.small import SmallHost, making

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Host
    from tests.integration.small import MakeHost

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]


@pytest.fixture(params=BACKENDS)
def host(request: pytest.FixtureRequest, tmp_path: Path, shared_cluster: None) -> Iterator[Host]:
    """A host on each backend; whatever a test starts is stopped and removed.

    Services are native processes everywhere: on Docker, the service that keeps notes is enough.
    """
    project, fewer = slot.project(f"e2e-{request.param}"), {}
    if request.param == "docker":
        services = demo_settings(project)["services"]
        fewer = {"services": {name: services[name] if name == "dashboard" else None for name in services}}
    with demo_host(tmp_path / "home", request.param, project, **fewer) as made:
        yield made


@pytest.fixture
def make_host(tmp_path: Path, clusters: Path) -> Iterator[MakeHost]:
    """Make hosts with one tiny service; whatever a test starts is stopped and removed."""
    with making(SmallHost, tmp_path, clusters) as make:
        yield make
