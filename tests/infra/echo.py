"""A component that nobody has: an echo server. A host's tasks.py registers it, as it would one of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker.spec import ContainerSpec, Health, Mount, Port, common_fields
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.infra.component import InfraComponent, ServerContents
from orienter_tasks.machine.ports import LOOPBACK, connect
from orienter_tasks.machine.state import private_dir
from orienter_tasks.settings.catalog import CatalogEntry
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.embedded.server import Server
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

ENTRY = CatalogEntry(
    name="echo",
    ports={"echo": 7007},
    image="orienter-test/nginx:local",  # it has busybox
    data=True,
    secrets=("ECHO_PASSWORD",),
    defaults={"ECHO_PASSWORD": "open sesame"},
    numbered={"ECHO_VALLEY": ("valley", "_")},
    variables={"ECHO_URL": "echo://:${ECHO_PASSWORD}@127.0.0.1:${ECHO_PORT}/${ECHO_VALLEY}"},
    holds="valleys",
)
SERVER = Path(__file__).with_name("echo_server.py")
SECONDS = 2.0


class Echo(InfraComponent):
    """An echo server."""

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        del placed
        return ContainerSpec(
            **common_fields(config, "echo"),
            network=config.instance.network,
            environment={"ECHO_PASSWORD": config.variables["ECHO_PASSWORD"]},
            ports=(Port(config.instance.ports["echo"], 7),),
            mounts=(Mount("volume", config.instance.volume("echo"), "/data"),),
            entrypoint=("sh", "-c"),
            command=("echo listening; exec busybox nc -ll -p 7 -e cat",),
            health=Health(("CMD", "true")),
        )

    def native(self, config: InstanceConfig) -> NativeEcho:
        return NativeEcho(config, "echo")

    def ready(self, config: InstanceConfig, inside: Inside) -> None:
        del inside
        said(config, "ready?")

    def installed(self, settings: Settings) -> bool:
        return True

    def version(self, settings: Settings) -> str:
        return f"echo on {version_of(Path(sys.executable), '--version')}"

    def login(self, config: InstanceConfig) -> str:
        return f"echo answers on {config.instance.ports['echo']}: {said(config, config.variables['ECHO_VALLEY'])}"

    def contents(self, config: InstanceConfig) -> ServerContents:
        return ServerContents((said(config, config.variables["ECHO_VALLEY"]),), remedy="leave {name}")

    def address(self, config: InstanceConfig) -> tuple[str, str]:
        return "echo", f"localhost:{config.instance.ports['echo']}, valley {config.variables['ECHO_VALLEY']}"


class NativeEcho(NativeComponent):
    """The echo server of one instance."""

    def launch(self, server: Server, note: Note) -> Launch:
        private_dir(self.directory)
        command = [sys.executable, "-I", "-S", str(SERVER), str(self.port)]
        return Launch(Path(sys.executable), ("--version",), command, env={})

    def ask(self) -> None:
        said(self.config, "ready?")


def said(config: InstanceConfig, words: str) -> str:
    """Return what comes back of some words."""
    port = config.instance.ports["echo"]
    try:
        with connect(LOOPBACK, port, SECONDS) as sock:
            sock.settimeout(SECONDS)
            sock.sendall(f"{words}\n".encode())
            answer = sock.recv(1000).decode().strip()
    except OSError as error:
        raise NotReadyError(f"echo on port {port}: {error}") from error
    if answer != words:
        raise NotReadyError(f"echo on port {port} says {answer!r}")
    return answer
