"""Hosts for the faults, and the seed of everything random."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import FULL, SEED, FaultHost, say
from tests.integration.small import making

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost

BACKENDS = [
    pytest.param("embedded", marks=pytest.mark.embedded),
    pytest.param("docker", marks=pytest.mark.docker),
]


@pytest.fixture
def make_host(tmp_path: Path, clusters: Path) -> Iterator[MakeFaultHost]:
    """Make hosts with one tiny service; whatever a test starts is stopped and removed."""
    with making(FaultHost, tmp_path, clusters) as make:
        yield make


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend."""
    return str(request.param)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that can be had again: ORIENTER_FAULT_SEED."""
    say(f"ORIENTER_FAULT_SEED={SEED} ORIENTER_FAULT_RUNS={'full' if FULL else ''}")
    return random.Random(f"{SEED} {request.node.name}")
