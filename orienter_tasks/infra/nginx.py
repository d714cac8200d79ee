"""The component nginx, with the configuration that `backends.nginx` has put into DATA_DIR/nginx."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import programs as binaries
from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS, Launch, Server
from orienter_tasks.backends.embedded.user import prefix_for_port
from orienter_tasks.backends.nginx.configuration import MAIN, config_dir
from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.stack.component import LogRequest, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig, Standing
    from orienter_tasks.stack.component import Note

CHECK_SECONDS = 30.0
MIME_TYPES = Path(__file__).parents[1] / "backends" / "nginx" / "mime.types"  # the wheel brings none


class NginxComponent:
    """nginx of one instance."""

    name = "nginx"
    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig) -> None:
        self.timeout = config.settings.timeouts.infra
        self.directory = config_dir(config.instance)
        self.server = Server(config.instance, self.name, self.directory)
        self._config = config

    def start(self, note: Note) -> bool:  # noqa: ARG002 - it is too quick for words
        """Start it with the configuration that is there."""
        if self.server.pid is not None:
            return False
        if not (self.directory / MAIN).is_file():
            raise NotFoundError(
                f"nginx of {self._config.instance} has no configuration yet", hint="write it with: inv nginx.render"
            )
        program = binaries.nginx(self._config.settings)
        private_dir(self.runtime)
        self.server.stop(LEFTOVER_SECONDS)
        self.server.launch(launch_of(program, self.directory, MAIN, self._port))
        return True

    def probe(self) -> None:
        """Require that our own process has the port, and that it answers /health as this instance."""
        self.server.require_alive()
        port, pid = self._port, self.server.pid
        if pid is None or port not in listening_ports([pid]):
            raise NotReadyError(f"nginx does not listen on port {port} yet")
        probe(self._config)
        self.server.require_alive()

    def stop(self, grace: float) -> None:
        """Stop the master and its workers."""
        self.server.stop(grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Read its log file."""
        return self.server.lines(request)

    def standing(self) -> Standing:
        """What it is doing."""
        return self.server.standing(self.name, f"port {self._config.instance.ports['nginx']}")

    @property
    def _port(self) -> int:
        return self._config.instance.ports["nginx"]

    @property
    def runtime(self) -> Path:
        """The directory for its pid and temporary files."""
        return self.directory / "runtime"

    def facts(self) -> NginxFacts:
        """What the templates need to know."""
        return NginxFacts(
            listen=f"{LOOPBACK}:{self._config.instance.ports['nginx']}",
            upstream=LOOPBACK,
            runtime=str(self.runtime),
            mime_types=str(MIME_TYPES),
            user=worker_user(self._port),
        )

    def check(self, directory: Path) -> str:
        """Let nginx test a configuration; "" or its message."""
        private_dir(self.runtime)
        program = binaries.nginx(self._config.settings)
        launch = launch_of(program, self.directory, str(directory / MAIN), self._port)
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
            binaries.version_of(launch.binary, *launch.version)
            raise CheckError(f"{launch.binary} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"{launch.binary} -t does not end") from error
        if done.returncode == 0:
            return ""
        binaries.version_of(launch.binary, *launch.version)  # what hands over to it may have run into something else
        return done.stderr.strip() or done.stdout.strip() or f"nginx -t exits with code {done.returncode}"

    def reload(self) -> bool:
        """Make it read its configuration again; False when it does not run."""
        pid = self.server.pid
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            return False
        return True


def launch_of(program: Path, directory: Path, configuration: str, port: int) -> Launch:
    """Describe an nginx for a port: in the foreground, with a directory as its prefix and working directory."""
    words = ["-e", "stderr", "-p", f"{directory}/", "-c", configuration, "-g", "daemon off;"]
    return Launch(
        binary=program,
        version=("-v",),
        command=[*prefix_for_port(port), str(program), *words],
        env={},
        stop_signal=signal.SIGTERM,
    )


def worker_user(port: int) -> str:
    """Return user and group for the workers of a master that is root for its port's sake; "" for any other.

    It stays root: its directories are closed to everybody else.
    """
    if os.geteuid() != 0 or prefix_for_port(port):
        return ""
    import grp
    import pwd

    entry = pwd.getpwuid(0)
    return f"{entry.pw_name} {grp.getgrgid(entry.pw_gid).gr_name}"
