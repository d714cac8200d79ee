"""The ssh of an instance whose engine is on another machine: it forwards the engine's socket and the servers' ports.

It is a process of the instance like any other, and one for everything: all of it is there or none of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import tunnel
from orienter_tasks.backends.docker.endpoint import TIMED_OUT, Endpoint, ping
from orienter_tasks.errors import BackendError, NotFoundError
from orienter_tasks.machine import ssh
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.spawn import Handle, running, spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.settings.catalog import LINK
from orienter_tasks.stack.component import LogRequest, NotReadyError, last
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.stack.component import Note

PING_SECONDS = 1.0
LEFTOVER_SECONDS = 1.0


class LinkComponent:
    """The forwarded socket and ports of one instance; `ports` are the same numbers on both machines' loopback."""

    name = LINK
    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig, engine: Engine, ports: Sequence[int]) -> None:
        self.timeout = config.settings.timeouts.infra
        self.box = engine.endpoint.box
        self._config = config
        self._engine = engine
        self._endpoint = engine.endpoint
        self._ports = sorted(ports)
        self._log = config.instance.log_dir / f"{LINK}.log"
        self._handle: Handle | None = None

    def start(self, note: Note) -> bool:
        """Make the connection, unless it is there; a connection that forwards something else is replaced."""
        instance, words = self._config.instance, self._words()
        found = running(instance, LINK)
        if found is not None and list(found.record.command) == words:
            self._handle = found
            return False
        self.stop(LEFTOVER_SECONDS)
        note("")
        socket = tunnel.socket_of(self._endpoint, instance.token)
        program = Program(
            component=LINK,
            command=words,
            cwd=private_dir(socket.parent),
            env={**os.environ, "AI_INSTANCE_ID": str(instance.id), "AI_INSTANCE_ROOT": str(instance.root)},
            log=self._log,
            logs=self._config.settings.logs,
            group=False,
        )
        try:
            self._handle = spawn(instance, program)
        except NotFoundError as error:
            raise self._no_connection("ssh is not on PATH") from error
        self._engine.load_soon()  # while it logs in
        return True

    def probe(self) -> None:
        """Require that our own ssh listens on every port, and that the engine answers through it."""
        self.require_alive()
        pid = self._handle.record.pid if self._handle is not None else 0
        missing = {*self._ports} - listening_ports([pid])
        if missing:
            raise NotReadyError(f"port {min(missing)} of {self.box} is not forwarded yet")
        socket = tunnel.socket_of(self._endpoint, self._config.instance.token)
        pong = ping(Endpoint(f"unix://{socket}", LINK), PING_SECONDS)
        if pong.silence == TIMED_OUT:
            raise NotReadyError(f"the engine of {self.box} does not answer: {pong.silence}")
        if pong.silence is not None:
            raise BackendError(
                f"no Docker engine answers at {self._endpoint}: {pong.silence}",
                hint=self._endpoint.how_to_reach(pong.silence),
            )
        self.require_alive()
        self._engine.close()  # what this command has opened for itself is not needed any more

    def require_alive(self) -> None:
        """Require that the connection stands; BackendError with ssh's last words."""
        self._handle = self._handle or running(self._config.instance, LINK)
        if self._handle is None or self._handle.exit_code() is not None:
            lines = last(self.logs(LogRequest(lines=1)))
            raise self._no_connection(lines[-1] if lines else "ssh has ended")

    def stop(self, grace: float) -> None:
        stop_component(self._config.instance, LINK, grace)
        if self._handle is not None:
            self._handle.exit_code()
            self._handle = None
        tunnel.socket_of(self._endpoint, self._config.instance.token).unlink(missing_ok=True)

    def logs(self, request: LogRequest) -> Iterator[str]:
        return read(self._log, request)

    def _no_connection(self, seen: str) -> BackendError:
        whose = self._config.instance
        return BackendError(f"{whose} has no connection to {self.box}: {seen}", hint=f"try: ssh {self.box}")

    def _words(self) -> list[str]:
        socket = tunnel.socket_of(self._endpoint, self._config.instance.token)
        forwards = [f"{LOOPBACK}:{port}:{LOOPBACK}:{port}" for port in self._ports]
        return ssh.command_line(self.box, forwards=[tunnel.forward(self._endpoint, socket), *forwards])
