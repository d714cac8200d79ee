"""Worlds, engines, and claims of a test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.identity.claims import Claims
from tests import slot
from tests.commands.cleanup.engines import EngineLab, MemoryLab, RealLab
from tests.commands.cleanup.worlds import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = slot.project("test-clean")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World((tmp_path / "home").resolve(), PROJECT)


@pytest.fixture
def claims(isolated: Path) -> Claims:
    return Claims(isolated)


@pytest.fixture
def memory() -> MemoryLab:
    return MemoryLab()


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.docker)])
def lab(request: pytest.FixtureRequest) -> Iterator[EngineLab]:
    """Both engines."""
    if request.param == "memory":
        yield MemoryLab()
        return
    real = RealLab()
    try:
        yield real
    finally:
        real.clean()
