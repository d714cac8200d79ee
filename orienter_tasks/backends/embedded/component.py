"""A component that consists of native processes: start, probe, stop, logs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS, Server
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.embedded.server import Launch
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.stack.component import LogRequest, Note


class NativeComponent(ABC):
    """A server of the infrastructure, in its own directory below DATA_DIR."""

    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig, name: str) -> None:
        self.name = name
        self.timeout = config.settings.timeouts.infra
        self.config = config
        self.directory = config.instance.data_dir / name
        self.port = config.instance.ports[catalog.entry_of(name).port]
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
        missing = [server for server in self.serving if server.pid is None]
        launches = [(server, self.launch(server, note)) for server in missing]
        for server in missing:
            self.clear(server)
        try:
            for server, launch in launches:
                server.launch(launch)
        except BaseException:
            for server in missing:
                server.stop(LEFTOVER_SECONDS)
            raise
        return bool(missing)

    def clear(self, server: Server) -> None:
        """End what a crash left of a process."""
        server.stop(LEFTOVER_SECONDS)

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
