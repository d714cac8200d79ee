"""A host for each test, on the backend that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.checkouts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded", marks=pytest.mark.embedded),
]


@pytest.fixture(params=BACKENDS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A host on each backend; whatever a test starts is stopped and removed."""
    made = Host(tmp_path / "home", f"orienter-e2e-{request.param}", request.param)
    try:
        yield made
    finally:
        made.clean_up()
