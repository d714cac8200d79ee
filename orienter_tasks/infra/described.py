"""A server that settings describe: an image, a program or both, ports, and what a ready one answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import user
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch
from orienter_tasks.errors import BackendError
from orienter_tasks.infra.component import InfraComponent
from orienter_tasks.instance.variables import expand, expand_all
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.processes.program import find_program
from orienter_tasks.settings import catalog
from orienter_tasks.settings.servers import port_bases, port_names, words
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.probes import http_ready, talk_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.server import Server
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.settings.model import FurtherServer, Settings
    from orienter_tasks.stack.component import Note

EVERYWHERE = "0.0.0.0"  # noqa: S104 - within the container; it is published on loopback
DATA = "SERVER_DATA"


class DescribedComponent(InfraComponent):
    """A server that settings describe."""

    def __init__(self, name: str) -> None:
        self._name = name

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        del placed
        from orienter_tasks.backends.docker.spec import ContainerSpec, Health, Mount, Port, common_fields

        server, name, ports = described(config.settings, self._name), self._name, config.instance.ports
        bases = port_bases(name, server)
        known = {
            **config.variables.values,
            **{f"{port.upper()}_PORT": str(base) for port, base in bases.items()},
            "SERVICE_HOST": EVERYWHERE,
            DATA: str(server.data),
        }
        return ContainerSpec(
            **common_fields(config, name),
            network=config.instance.network,
            environment=environment(name, server, known),
            ports=tuple(Port(ports[port], base) for port, base in bases.items()),
            mounts=(Mount("volume", config.instance.volume(name), str(server.data)),) if server.data else (),
            command=tuple(expand_all(words(server.image)[1:], known, f"orienter.infra.{name}.image")),
            health=Health(("NONE",)),  # the image's own may ask another port
        )

    def native(self, config: InstanceConfig) -> NativeDescribed:
        return NativeDescribed(config, self._name)

    def ready(self, config: InstanceConfig, inside: Inside) -> None:
        del inside
        ask(config, self._name)

    def installed(self, settings: Settings) -> bool:
        program = words(described(settings, self._name).program)
        return bool(program) and (os.sep in program[0] or program[0].startswith("$") or _is_on_path(program[0]))

    def how_to_install(self, settings: Settings) -> str:
        program, key = words(described(settings, self._name).program), f"orienter.infra.{self._name}.program"
        return f"install {program[0]}, or change {key}" if program else f"add {key}"

    def version(self, settings: Settings) -> str:
        if not self.installed(settings):
            raise BackendError(f"found no program for {self._name}", hint=self.how_to_install(settings))
        return f"{self._name} by {words(described(settings, self._name).program)[0]}"

    def address(self, config: InstanceConfig) -> tuple[str, str]:
        names = port_names(self._name, described(config.settings, self._name))
        ports = [f"{key} localhost:{config.instance.ports[port]}".strip() for key, port in names.items()]
        return self._name, ", ".join(ports)


class NativeDescribed(NativeComponent):
    """Such a server of one instance; it works in its volume if it keeps data, else below DATA_DIR."""

    def launch(self, server: Server, note: Note) -> Launch:
        del server, note
        private_dir(self.directory)
        config, instance, one = self.config, self.config.instance, described(self.config.settings, self.name)
        where, known = f"orienter.infra.{self.name}", {**config.variables.values, DATA: str(self.directory)}
        program, *arguments = expand_all(words(one.program), known, f"{where}.program")
        try:
            found = find_program(program, instance.root, os.environ)
        except OSError as error:
            what = f"{self.name} of {instance}: {program}: {(error.strerror or str(error)).lower()}"
            raise BackendError(what, hint=f"install it, or change {where}.program") from error
        prefix = user.prefix_for_port(min(self._ports))
        env = environment(self.name, one, known)
        return Launch(binary=instance.root / found, version=None, command=[*prefix, found, *arguments], env=env)

    def probe(self) -> None:
        """Require that it listens on all of its ports, itself or by what it started, and answers."""
        self.require_alive()
        pid = self.server.pid
        missing = self._ports - listening_ports([pid] if pid is not None else [])
        if missing:
            missing -= listening_ports(census.take().pids(self.config.instance, self.name))
        if missing:
            raise NotReadyError(f"{self.name} does not listen on port {min(missing)} yet")
        self.ask()
        self.require_alive()

    def ask(self) -> None:
        ask(self.config, self.name)

    @property
    def _ports(self) -> set[int]:
        return {self.config.instance.ports[port] for port in catalog.entry_of(self.name).ports}


def described(settings: Settings, name: str) -> FurtherServer:
    """Return what the settings say of a server."""
    server = settings.infra.get(name)
    if server is None:
        raise KeyError(name)
    return server


def environment(name: str, server: FurtherServer, known: Mapping[str, str]) -> dict[str, str]:
    where = f"orienter.infra.{name}.env"
    return {key: expand(value, known, f"{where}.{key}") for key, value in server.env.items()}


def ask(config: InstanceConfig, name: str) -> None:
    """Ask a server once whether it is ready, as its settings say; NotReadyError if it is not."""
    server = described(config.settings, name)
    names, ready = port_names(name, server), server.ready
    port = config.instance.ports[names[ready.port] if ready.port else next(iter(names.values()))]
    if ready.http:
        http_ready(LOOPBACK, port, ready.http)
    else:
        talk_ready(LOOPBACK, port, ready.send.encode(), ready.expect.encode())


def _is_on_path(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None
