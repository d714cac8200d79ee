"""Sites for the embedded backend on ports of their own, and backends that are stopped whatever happens."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from orienter_tasks.infra.embedded import EmbeddedBackend
from orienter_tasks.processes import census
from orienter_tasks.processes.record import load
from tests import slot
from tests.backends.contract import down, infra_ports, listens
from tests.configs import make_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig


class EmbeddedLab:
    """Makes configs, and backends for them as separate runs would; `clean` stops everything and looks again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: list[tuple[InstanceConfig, EmbeddedBackend]] = []

    def config(
        self,
        instance_id: int = 0,
        dotenv: Mapping[str, str] | None = None,
        *,
        root: Path | None = None,
        **orienter: Any,
    ) -> InstanceConfig:
        """Make a config whose root exists."""
        root = root or self.directory / f"checkout-{instance_id}"
        return make_config(root, instance_id, dotenv, ports=slot.bases(), **orienter)

    def backend(self, config: InstanceConfig) -> EmbeddedBackend:
        """Make a backend that knows nothing of former ones."""
        self._made.append((config, EmbeddedBackend(config)))
        return self._made[-1][1]

    def clean(self) -> None:
        """Stop everything; nothing may be left."""
        for config, backend in self._made:
            down(backend)
            left: list[Any] = census.take().of(config.instance)
            assert left == [], left
        for config, _ in self._made:
            assert not any(listens(port) for port in infra_ports(config).values())


def kill(config: InstanceConfig, name: str) -> int:
    """End a recorded process with SIGKILL, behind the backend's back; return its pid."""
    record = load(config.instance, name)
    assert record is not None
    assert record.alive()
    os.kill(record.pid, signal.SIGKILL)
    while record.alive():
        time.sleep(0.005)
    return record.pid
