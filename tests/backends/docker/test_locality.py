from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker import locality
from orienter_tasks.backends.docker.container import _publishes_here
from orienter_tasks.backends.docker.spec import ContainerSpec, Health
from orienter_tasks.errors import BackendError
from orienter_tasks.machine import ports
from tests import slot
from tests.integration.checkouts import TEST_IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker


def test_a_published_port_proves_it_once(lab: DockerLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = lab.engine
    monkeypatch.setattr(locality, "INTERFACES", tmp_path)  # as where the engine is in a virtual machine
    spec = ContainerSpec(
        component="postgres",
        name=slot.project("proof"),
        image=TEST_IMAGES["postgres"],
        image_key="",
        labels={},
        network="",
        health=Health(("NONE",)),
        log_max_size="1m",
        log_max_file=1,
    )
    tried: list[int] = []

    def publish(port: int) -> bool:
        tried.append(port)
        return _publishes_here(engine, spec, port)

    assert not locality.is_known(engine)
    locality.require(engine, publish)
    assert locality.is_known(engine)
    locality.require(engine, publish)
    assert len(tried) == 1
    assert ports.is_free(tried[0])


def test_one_that_cannot_be_proved(lab: DockerLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = lab.engine
    monkeypatch.setattr(locality, "INTERFACES", tmp_path)
    with pytest.raises(BackendError, match="is not on this machine"):
        locality.require(engine, lambda _: False)
    assert not locality.is_known(engine)
