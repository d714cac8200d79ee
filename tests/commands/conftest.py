"""Small hosts for commands that must be seen whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.small import SmallHost, making

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.small import MakeHost


@pytest.fixture
def make_host(tmp_path: Path, clusters: Path) -> Iterator[MakeHost]:
    """Make hosts with one tiny service; whatever a test starts is stopped and removed."""
    with making(SmallHost, tmp_path, clusters) as make:
        yield make
