"""PostgreSQL, S3 and nginx of one instance as native processes below its DATA_DIR."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from orienter_tasks.backends.protocol import Holding
from orienter_tasks.errors import ConflictError
from orienter_tasks.infra.nginx import NginxComponent
from orienter_tasks.infra.postgres import PostgresComponent
from orienter_tasks.infra.s3 import StorageComponent
from orienter_tasks.machine.directories import remove, size_of
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.processes.listeners import listening_ports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig, NginxFacts, Standing
    from orienter_tasks.stack.component import Component

SIZE_SECONDS = 0.5


class EmbeddedBackend:
    """The backend that needs no Docker."""

    name: Literal["embedded"] = "embedded"
    service_host = LOOPBACK

    def __init__(self, config: InstanceConfig) -> None:
        self._config = config
        self._postgres = PostgresComponent(config)
        self._storage = StorageComponent(config)
        self._nginx = NginxComponent(config)

    def components(self) -> Sequence[Component]:
        """The components postgres, minio and nginx."""
        return (self._postgres, self._storage, self._nginx)

    def nginx_facts(self) -> NginxFacts:
        """What the nginx templates need to know."""
        return self._nginx.facts()

    def check_nginx(self, directory: Path) -> str:
        """Let the real nginx test a configuration; "" when it accepts it, else its message."""
        return self._nginx.check(directory)

    def reload_nginx(self) -> bool:
        """Make a running nginx read its configuration again; False when it does not run."""
        return self._nginx.reload()

    def standings(self) -> Sequence[Standing]:
        """What each component is doing."""
        return (self._postgres.standing(), self._storage.standing(), self._nginx.standing())

    def foreign(self) -> Sequence[str]:
        """Nothing: names of containers and volumes do not matter here, and DATA_DIR is the checkout's own."""
        return ()

    def ports_held(self) -> Mapping[int, str]:
        """Ports that this instance's own servers listen on."""
        servers = (
            ("postgres", self._postgres.server),
            ("minio", self._storage.server),
            ("minio", self._storage.front),
            ("nginx", self._nginx.server),
        )
        return {port: component for component, server in servers for port in listening_ports(server.pids())}

    def holdings(self, *, sizes: bool = False) -> Sequence[Holding]:  # noqa: ARG002 - it can always tell them
        """The directories of PostgreSQL's and the S3 store's data."""
        return [
            Holding(str(path), size_of(path, within=SIZE_SECONDS)) for path in self._data() if os.path.lexists(path)
        ]

    def remove_data(self) -> Sequence[str]:
        """Remove those directories; a symbolic link is removed itself, and what it points to stays.

        Raises:
            ConflictError: a server still runs.
            CheckError: a symbolic link leads to one, or something cannot be removed.
        """
        running = [standing.component for standing in self.standings() if standing.running]
        if running:
            raise ConflictError(
                f"{', '.join(running)} of {self._config.instance} still runs", hint="stop it first: inv infra.down"
            )
        return [str(path) for path in self._data() if remove(path)]

    def _data(self) -> tuple[Path, Path]:
        return (self._postgres.data, self._storage.directory)
