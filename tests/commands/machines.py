"""A second machine made of namespaces: its own network, processes and host name, reached by a real OpenSSH."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.integration.checkouts import INV
from tests.integration.small import PATIENCE, wait_for, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.integration.checkouts import Checkout

NAME = "elsewhere"
PROGRAMS = ("unshare", "nsenter", "ssh", "ssh-keygen", "ip")
SSHD = "/usr/sbin/sshd"
SSHD_CONFIG = """
LogLevel QUIET
UsePAM no
StrictModes no
PermitRootLogin yes
PidFile none
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
# SHLVL: as in a shell within another, bash reads no ~/.bashrc, which may take long or be killed half-way by `cut`
SetEnv ORIENTER_STATE_DIR={directory}/state SHLVL=2
"""
SSH_CONFIG = """
Host {name}
    User {user}
    IdentityFile {directory}/user
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/known
    ProxyCommand {into} {sshd} -i -e -f {directory}/sshd_config
"""


class Machine:
    """Another machine with this one's files; its sshd starts with each connection, as with inetd."""

    def __init__(self, directory: Path, clusters: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None] + ([] if Path(SSHD).exists() else [SSHD])
        if missing:
            if os.environ.get("ORIENTER_REQUIRE_SSH") == "1":
                pytest.fail(f"{missing} are missing, and ORIENTER_REQUIRE_SSH=1 requires them")
            pytest.skip(f"{missing} are missing")
        self.directory, self.known = directory, directory / "known"
        self.state = directory / "state"
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "cache").symlink_to(clusters)
        user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
        kinds = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"]
        script = (
            f"ip link set lo up && hostname {NAME} && mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec sleep 1800"
        )
        self._engine: subprocess.Popen[bytes] | None = None
        self._outer = subprocess.Popen(["unshare", *user, *kinds, "sh", "-c", script], stderr=subprocess.PIPE)
        into = [*(["--preserve-credentials", "-U"] if user else []), "-n", "-m", "-p", "-u", "-i"]
        self._into = ["nsenter", "-t", str(self._first()), *into]
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
        self.trust()
        (directory / "sshd_config").write_text(SSHD_CONFIG.format(directory=directory))
        (directory / "ssh_config").write_text(
            SSH_CONFIG.format(
                name=NAME, user=getpass.getuser(), directory=directory, into=" ".join(self._into), sshd=SSHD
            )
        )
        (directory / "bin").mkdir()
        (directory / "bin" / "ssh").write_text(
            f'#!/bin/sh\necho >>{directory}/logins\nexec {shutil.which("ssh")} -F {directory}/ssh_config "$@"\n'
        )
        (directory / "bin" / "ssh").chmod(0o755)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._outer.kill()
        self._outer.communicate()
        if self._engine is not None:
            self._engine.wait()

    def trust(self) -> None:
        """Know its key."""
        kind, key, *_ = (self.directory / "host.pub").read_text().split()
        self.known.write_text(f"{NAME} {kind} {key}\n")

    def visible_from(self, checkout: Checkout, **environ: str) -> Checkout:
        """Return a checkout on this machine whose ssh knows the other."""
        return within(checkout, {"PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}", **environ})

    def inv(self, checkout: Checkout, *words: str) -> str:
        """Run `inv` there, to its end, and return what it answers."""
        done = subprocess.run(
            [*self._into, *checkout_command(checkout, *words)],
            env={**checkout.environ, "ORIENTER_STATE_DIR": str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=PATIENCE * 2,
        )
        return done.stdout

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command there, to its end."""
        env = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
        return subprocess.run([*self._into, *command], text=True, check=True, timeout=PATIENCE, env=env, **options)

    def start_engine(self, *images: str) -> None:
        """Start a Docker engine there, with an id, a network and images of its own."""
        if shutil.which("dockerd") is None:
            pytest.skip("dockerd is missing")
        self.run("sh", "-c", "mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker")  # the id is kept there
        log = (self.directory / "dockerd.log").open("wb")
        words = ["--data-root", str(self.directory / "docker"), "--exec-root", "/run/docker", "-p", "/run/docker.pid"]
        command = [*self._into, "dockerd", *words]
        self._engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait_for(lambda: "API listen" in (self.directory / "dockerd.log").read_text(), "the engine there")
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            self.run("docker", "load", stdin=saved.stdout, stdout=subprocess.DEVNULL)

    def docker(self, *words: str) -> list[str]:
        """Return the lines that the docker command line prints there."""
        return self.run("docker", *words, stdout=subprocess.PIPE).stdout.splitlines()

    @property
    def logins(self) -> int:
        """How often ssh was run to get there."""
        return len((self.directory / "logins").read_text().splitlines())

    @contextmanager
    def holding(self, port: int) -> Iterator[None]:
        """Take a port of its loopback."""
        script = (
            "import socket, sys; held = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "
            "print('held', flush=True); sys.stdin.read()"
        )
        command = [*self._into, sys.executable, "-c", script, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline()
            yield

    def clients(self) -> list[psutil.Process]:
        """Return the processes of ssh that are connected to it, or are about to."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.directory / "ssh_config") in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def cut(self) -> None:
        """End every connection, as when the network goes."""
        for client in self.clients():
            with suppress(psutil.Error):
                for process in client.children(recursive=True):
                    process.kill()

    def _first(self) -> int:
        """Return the first process in its namespaces, once it has set them up."""
        deadline = time.monotonic() + PATIENCE
        outer = psutil.Process(self._outer.pid)
        while time.monotonic() < deadline and self._outer.poll() is None:
            found = [each.pid for each in outer.children() if each.name() == "sleep"]
            if found:
                return found[0]
            time.sleep(0.02)
        said = self._outer.communicate()[1].decode() if self._outer.poll() is not None else "nothing started"
        if os.environ.get("ORIENTER_REQUIRE_SSH") == "1":
            pytest.fail(f"no second machine can be made: {said}")
        pytest.skip(f"no second machine can be made: {said}")


def checkout_command(checkout: Checkout, *words: str) -> list[str]:
    return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(checkout.path), str(INV), *words]
