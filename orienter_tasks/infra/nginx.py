"""The component nginx, with the configuration that `backends.nginx` writes to DATA_DIR/nginx."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import programs, user
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch, Server
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.backends.nginx import requests
from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.backends.nginx.requests import MAIN
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.errors import CheckError, ConfigError, NotFoundError
from orienter_tasks.infra.component import InfraComponent
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir
from orienter_tasks.settings.catalog import NGINX

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.resources import Resources
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

NAME = NGINX.name
VERSION = ("-v",)
CHECK_SECONDS = 30.0
MIME_TYPES = Path(__file__).parents[1] / "backends" / "nginx" / "mime.types"  # the wheel has none
DIR_IN_CONTAINER = "/etc/nginx/orienter"
BRIDGED_PORT = 80


class NginxComponent(InfraComponent):
    """The reverse proxy."""

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        from orienter_tasks.backends.docker.spec import ContainerSpec, Mount, Port, common_fields, http_health

        directory, port, placement = str(config.instance.nginx_dir), config.instance.ports[NAME], placed()
        if ":" in directory:
            hint = "remove the colon from its path"
            raise ConfigError(f"{config.instance}: Docker cannot mount {directory}", hint=hint)
        return ContainerSpec(
            **common_fields(config, NAME),
            network="" if placement.on_host else config.instance.network,
            ports=() if placement.on_host else (Port(port, BRIDGED_PORT),),
            mounts=(Mount("bind", directory, DIR_IN_CONTAINER, mode="ro,z"),),
            extra_hosts=placement.extra_hosts,
            entrypoint=("nginx",),
            command=("-c", f"{DIR_IN_CONTAINER}/{MAIN}", "-g", "daemon off;"),
            health=http_health(f"{port if placement.on_host else BRIDGED_PORT}/health"),
        )

    def native(self, config: InstanceConfig) -> NativeNginx:
        return NativeNginx(config, NAME)

    def ready(self, config: InstanceConfig, inside: Inside) -> object:
        del inside
        return probe(config)

    def require_startable(self, config: InstanceConfig) -> None:
        """Require a configuration; Docker would create a missing directory as root."""
        require_configuration(config)

    def installed(self, settings: Settings) -> bool:
        return programs.find_nginx(settings) is not None

    def version(self, settings: Settings) -> str:
        return version_of(programs.nginx(settings), *VERSION).removeprefix("nginx version: ")


class NativeNginx(NativeComponent):
    """nginx of one instance."""

    def launch(self, server: Server, note: Note) -> Launch:
        del server, note
        require_configuration(self.config)
        requests.forget(self.config.instance)
        private_dir(self.runtime)
        return nginx_launch(self.config.settings, MAIN, self.port)

    def ask(self) -> None:
        probe(self.config)

    @property
    def runtime(self) -> Path:
        return self.directory / "runtime"

    def facts(self) -> NginxFacts:
        return NginxFacts(
            listen=f"{LOOPBACK}:{self.port}",
            upstream=LOOPBACK,
            directory=str(self.config.instance.nginx_dir),
            runtime=str(self.runtime),
            mime_types=str(MIME_TYPES),
            user=worker_user(self.port),
            noted=requests.NATIVE,
        )

    def check(self, directory: Path) -> str:
        """Let nginx test a configuration; return "" or its message."""
        private_dir(self.runtime)
        launch = nginx_launch(self.config.settings, os.path.relpath(directory / MAIN, self.directory), self.port)
        try:
            done = subprocess.run(
                [*launch.command, "-t", "-q"],
                cwd=self.directory,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=CHECK_SECONDS,
                check=False,
            )
        except OSError as error:
            version_of(launch.binary, *VERSION)
            raise CheckError(f"{launch.binary} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"{launch.binary} -t takes longer than {CHECK_SECONDS:.0f} s") from error
        if done.returncode == 0:
            return ""
        version_of(launch.binary, *VERSION)  # the failure may be that of a program before it
        return done.stderr.strip() or done.stdout.strip() or f"nginx -t exits with code {done.returncode}"

    def reload(self) -> bool:
        """Make it reload its configuration; False if it does not run."""
        pid = self.server.pid
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            return False
        return True


def require_configuration(config: InstanceConfig) -> None:
    if not (config.instance.nginx_dir / MAIN).is_file():
        raise NotFoundError(f"nginx of {config.instance} has no configuration yet", hint="run: inv nginx.render")


def nginx_launch(settings: Settings, configuration: str, port: int) -> Launch:
    """Describe an nginx in the foreground, whose prefix is its working directory.

    The prefix is relative because nginx takes the path of an included file for a pattern.
    """
    program = programs.nginx(settings)
    words = ["-e", "stderr", "-p", "./", "-c", configuration, "-g", "daemon off;"]
    return Launch(
        binary=program,
        version=VERSION,
        command=[*user.prefix_for_port(port), str(program), *words],
        env={},
    )


def worker_user(port: int) -> str:
    """Return user and group for the workers of a master that runs as root because of its port; "" for any other.

    The workers stay root, since no other user may read the directories.
    """
    if os.geteuid() != 0 or user.prefix_for_port(port):
        return ""
    import grp
    import pwd

    entry = pwd.getpwuid(0)
    return f"{entry.pw_name} {grp.getgrgid(entry.pw_gid).gr_name}"


def facts_in_docker(config: InstanceConfig, placement: Placement) -> NginxFacts:
    return NginxFacts(
        listen=f"{LOOPBACK}:{config.instance.ports[NAME]}" if placement.on_host else str(BRIDGED_PORT),
        upstream=placement.upstream,
        directory=DIR_IN_CONTAINER,
        runtime="/tmp",  # noqa: S108 - within the container
        mime_types="/etc/nginx/mime.types",
        user="nginx",
        noted=requests.IN_CONTAINER,
    )


def check_in_docker(config: InstanceConfig, engine: Engine, resources: Resources, spec: ContainerSpec, at: Path) -> str:
    """Let nginx test the configuration in a directory, in its container or one made for that; return "" or its message.

    The message has this machine's paths.
    """
    from msgspec.structs import replace

    from orienter_tasks.backends.docker.oneoff import run_beside, run_inside

    inside = f"{DIR_IN_CONTAINER}/{(at / MAIN).relative_to(config.instance.nginx_dir).as_posix()}"
    test = ("-t", "-q", "-c", inside)
    done = run_inside(engine, config, NAME, ["nginx", *test])
    if done is None or (done[0] != 0 and f'open() "{inside}" failed (2:' in done[1]):
        # a container cannot see the file after its directory was replaced
        done = run_beside(engine, config, resources, replace(spec, command=test, ports=(), component="nginx-check"))
    code, message = done
    if code == 0:
        return ""
    return message.replace(DIR_IN_CONTAINER, str(config.instance.nginx_dir)) or f"nginx -t exits with {code}"
