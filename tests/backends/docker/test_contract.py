"""The Docker backend keeps the contract of all backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker.engine import Engine
from tests.backends.contract import Contract

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig


@pytest.mark.docker
class TestDocker(Contract):
    def kill(self, config: InstanceConfig, name: str) -> None:
        engine = Engine()
        container = config.instance.container(name)
        engine.api.kill(container, signal="KILL")
        engine.api.wait(container, timeout=10)
        engine.close()
