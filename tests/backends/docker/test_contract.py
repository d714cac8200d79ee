"""The Docker backend keeps the contract of all backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker.engine import Engine
from tests.backends.contract import Contract

if TYPE_CHECKING:
    from orienter_tasks.backends.backend import Site


@pytest.mark.docker
class TestDocker(Contract):
    def kill(self, site: Site, name: str) -> None:
        engine = Engine()
        container = site.instance.container(name)
        engine.api.kill(container, signal="KILL")
        engine.api.wait(container, timeout=10)
        engine.close()
