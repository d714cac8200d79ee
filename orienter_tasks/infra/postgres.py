"""The component postgres: a private server on loopback, with a password, without a socket file."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.postgres import ensure_database
from orienter_tasks.backends.embedded import cluster, postmaster
from orienter_tasks.backends.embedded.cluster import Installation
from orienter_tasks.backends.embedded.postmaster import LoginProof
from orienter_tasks.backends.embedded.programs import postgres_bin
from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS, Launch, Server
from orienter_tasks.errors import CheckError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import LogRequest, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig, Standing
    from orienter_tasks.stack.component import Note

RETRY_SECONDS = 5.0
STILL_IN_USE = "pre-existing shared memory block"
IO_METHODS_SINCE = 18

# fsync=off survives every end of the processes, though not of the machine; synchronous_commit must stay on for that
TUNING = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "jit": "off",
}


class PostgresComponent:
    """PostgreSQL of one instance, in DATA_DIR/postgres."""

    name = "postgres"
    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig) -> None:
        self.timeout = config.settings.timeouts.infra
        self.data = config.instance.data_dir / "postgres"
        self.server = Server(config.instance, self.name, self.data)
        self._config = config
        self._port = config.instance.ports["postgres"]
        self._retry_until = 0.0

    def start(self, note: Note) -> bool:
        """Start the server, on a new data directory when there is none."""
        if self.server.pid is not None:
            return False
        postgres = Installation.of(postgres_bin(self._config.settings), self.data)
        cluster.prepare(self._config, self.data, postgres, note)
        self.server.stop(LEFTOVER_SECONDS)
        postmaster.clear(self._config.instance, self.data)
        self.server.launch(self._launch(postgres))
        self._retry_until = time.monotonic() + RETRY_SECONDS
        return True

    def probe(self) -> None:
        """Require that our own server has the port and is ready, and accepts the login unless that is proven."""
        self._require_alive()
        status = postmaster.read(self.data)
        if status is None or status.pid != self.server.pid or not status.ready:
            raise NotReadyError("PostgreSQL does not accept connections yet")
        if status.port != self._port:
            raise CheckError(
                f"PostgreSQL of {self._config.instance} runs on port {status.port}, and its port is now {self._port}",
                hint="run: inv infra.down, then inv infra.up",
            )
        proof = LoginProof.of(self.data, self._config.variables.values)
        if not proof.exists():
            ensure_database(self._config)
            proof.store()
        self.server.require_alive()

    def stop(self, grace: float) -> None:
        """Disconnect the clients and stop, data written."""
        self.server.stop(grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Read its log file."""
        return self.server.lines(request)

    def standing(self) -> Standing:
        """What it is doing."""
        return self.server.standing(self.name, f"port {self._port}")

    def _require_alive(self) -> None:
        """As the server's own; after a kill -9 its shared memory may be in use for a moment, and that is waited for."""
        try:
            self.server.require_alive()
        except CheckError as error:
            if STILL_IN_USE not in "\n".join(error.details) or time.monotonic() > self._retry_until:
                raise
            self.server.relaunch()
            raise NotReadyError(f"the {STILL_IN_USE} is still in use") from error

    def _launch(self, postgres: Installation) -> Launch:
        options = {"listen_addresses": LOOPBACK, "unix_socket_directories": "", **TUNING}
        if postgres.major >= IO_METHODS_SINCE:
            options["io_method"] = "sync"
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            binary=postgres.directory / "postgres",
            version=("--version",),
            command=postgres.command("postgres", "-D", str(self.data), "-p", str(self._port), *settings),
            env={},
            stop_signal=signal.SIGINT,
        )
