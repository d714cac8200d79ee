"""A component that consists of native processes: start, probe, stop, logs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS, Server
from orienter_tasks.errors import ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import move
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.embedded.server import Launch
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.stack.component import LogRequest, Note


class NativeComponent(ABC):
    """A server of the infrastructure, in its own directory: in its volume, or below DATA_DIR."""

    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig, name: str) -> None:
        self.name = name
        self.timeout = config.settings.timeouts.infra
        self.config = config
        self.directory = volumes.working_dir(config.instance, name)
        self.port = config.instance.ports.get(catalog.entry_of(name).port, 0)  # 0: the settings drop it
        self.server = Server(config.instance, name, self.directory, config.settings.logs)

    @abstractmethod
    def launch(self, server: Server, note: Note) -> Launch:
        """Prepare the directory, and return what to start as one of its processes."""

    @abstractmethod
    def ask(self) -> None:
        """Ask once, as a client of the instance, whether it is ready; raises NotReadyError or what is wrong."""

    @property
    def servers(self) -> Sequence[Server]:
        """All of its possible processes."""
        return (self.server,)

    @property
    def serving(self) -> Sequence[Server]:
        """The processes that should run; the last one listens on its port."""
        return self.servers

    def start(self, note: Note) -> bool:
        self._move_into_volume(note)
        missing = [server for server in self.serving if server.pid is None]
        for server in missing:
            server.stop(LEFTOVER_SECONDS)  # what a crash left of it
        try:
            with self.held(self.server in missing) as lock:
                launches = [(server, self.launch(server, note)) for server in missing]
                for server, launch in launches:
                    self.run(server, launch, lock)
        except BaseException:
            for server in missing:
                server.stop(LEFTOVER_SECONDS)
            raise
        return bool(missing)

    @property
    def volume(self) -> Path | None:
        """The place of its volume, if it keeps data."""
        keeps_data = catalog.entry_of(self.name).data
        return volumes.place(self.config.instance, self.name) if keeps_data else None

    def probe(self) -> None:
        """Require that our own process listens on the port, and answers."""
        self.require_alive()
        public = self.serving[-1]
        pid = public.pid
        if pid is None or self.port not in listening_ports([pid]):
            raise NotReadyError(f"{public.name} does not listen on port {self.port} yet")
        self.ask()
        self.require_alive()

    def require_alive(self) -> None:
        for server in self.serving:
            server.require_alive()

    def stop(self, grace: float) -> None:
        """Stop its processes, the last one first; data is kept."""
        with ExitStack() as stack:
            for server in self.servers:
                stack.callback(server.stop, grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        return self.server.lines(request)

    def run(self, server: Server, launch: Launch, lock: int | None) -> None:
        """Start one of its processes; the main one inherits the lock."""
        if server is not self.server or lock is None:
            server.launch(launch)
            return
        server.launch(launch, lock)
        flock.name_holder(lock, server.pid or 0)

    @contextmanager
    def held(self, wanted: bool = True) -> Iterator[int | None]:
        """Hold the lock of the directory while its server is prepared and started, and label a new volume."""
        if not wanted:
            yield None
            return
        instance, volume = self.config.instance, self.volume
        with held(instance, self.name, self.directory) as lock:
            if volume is not None and not self.directory.exists():
                volumes.label(instance, self.name)
            yield lock

    def _move_into_volume(self, note: Note) -> None:
        """Move data that a version before this one left in the checkout into its volume; its server ends first."""
        former = volumes.former_dir(self.config.instance, self.name)
        if self.volume is None or not os.path.lexists(former) or os.path.lexists(self.directory):
            return
        self.stop(self.config.settings.timeouts.stop)
        with self.held():
            note("moving its data")
            move(former, self.directory)


@contextmanager
def held(instance: Instance, name: str, directory: Path) -> Iterator[int]:
    """Hold the lock of a directory in which a server works; ConflictError while one does."""
    try:
        with flock.hold(volumes.lock_of(directory), within=LEFTOVER_SECONDS) as lock:
            yield lock
    except flock.HeldError as error:
        raise in_use(instance, name, str(error)) from None


def in_use(instance: Instance, name: str, holder: str) -> ConflictError:
    return ConflictError(
        f"{name} of {instance} runs already, where it cannot be seen from here: {holder}",
        hint="stop it where it was started (inv dev.stop), then run this again",
    )
