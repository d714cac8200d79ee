"""The way to the engine of another machine: its socket, forwarded by OpenSSH to one of this machine.

The ssh of a running instance forwards it for as long as the instance runs (`link`). Where there is none, a command has
an ssh of its own, which ends with it.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker.endpoint import Endpoint, ping
from orienter_tasks.errors import ConfigError
from orienter_tasks.machine import ssh
from orienter_tasks.machine.state import private_dir, state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECT_SECONDS = 5
PING_SECONDS = 1.0
POLL_SECONDS = 0.01
NOT_YET = tuple(map(os.strerror, (errno.ENOENT, errno.ECONNREFUSED)))
LONGEST_PATH = 103  # bytes of a socket's path, on macOS; Linux has 107


def socket_of(endpoint: Endpoint, whose: str) -> Path:
    """Return where an engine's socket is forwarded to for an instance, by its token, or for a process, by its pid.

    Raises:
        ConfigError: the path would be too long for a socket.
    """
    path = state_dir() / "links" / f"{_key(endpoint)}-{whose[:12]}.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(f"{path} is too long for a socket", hint="set ORIENTER_STATE_DIR to a shorter directory")
    return path


def forward(endpoint: Endpoint, socket: Path) -> str:
    """Return the forward as ssh takes it when started in the socket's directory."""
    return f"./{socket.name}:{endpoint.far_socket}"


class Tunnel:
    """Reaches the engine of another machine. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._connection: ssh.Link | None = None
        self._socket: Path | None = None

    def reach(self) -> tuple[Endpoint | None, str]:
        """Return where the engine answers on this machine, or what was observed instead."""
        with self._lock:
            if not self._endpoint.box:
                return None, "it is not ssh://USER@BOX or ssh://USER@BOX:PORT"
            found = next((each for each in self._present() if ping(each, PING_SECONDS).silence is None), None)
            if found is not None:
                return found, ""
            self._end()
            return self._open()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _present(self) -> Iterator[Endpoint]:
        own = [self._socket] if self._socket is not None else []
        for path in (*own, *sorted((state_dir() / "links").glob(f"{_key(self._endpoint)}-*.sock"))):
            if path in own or _is_lasting(path):
                yield _at(path)

    def _open(self) -> tuple[Endpoint | None, str]:
        path = socket_of(self._endpoint, str(os.getpid()))
        private_dir(path.parent)
        words = ssh.command_line(
            self._endpoint.box, ssh.WAIT, forwards=[forward(self._endpoint, path)], connect_seconds=CONNECT_SECONDS
        )
        # a Ctrl-C is for this command, which may need the engine to end
        connection = self._connection = ssh.Link(words, directory=path.parent, own_session=True)
        try:
            connection.begin()
        except FileNotFoundError:
            return None, "ssh is not on PATH"
        self._socket = path
        atexit.register(self.close)
        deadline, seen = time.monotonic() + CONNECT_SECONDS * 2, ""
        while not seen and connection.alive and time.monotonic() < deadline:
            silence = ping(_at(path), PING_SECONDS).silence
            if silence is None:
                return _at(path), ""
            if silence not in NOT_YET:
                seen = f"no engine answers at {self._endpoint.far_socket} there"
            time.sleep(POLL_SECONDS)
        seen = seen or ("timed out" if connection.alive else connection.last_words)
        self._end()
        return None, seen

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.end()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
        self._connection, self._socket = None, None


def _key(endpoint: Endpoint) -> str:
    return hashlib.sha256(f"{endpoint.box}{endpoint.far_socket}".encode()).hexdigest()[:12]


def _at(path: Path) -> Endpoint:
    return Endpoint(f"unix://{path}", "ssh")


def _is_lasting(path: Path) -> bool:
    """Whether a socket is an instance's; of that of a process that has gone, the file is removed."""
    whose = path.stem.rpartition("-")[2]
    if not whose.isdecimal():
        return True
    try:
        os.kill(int(whose), 0)
    except ProcessLookupError:
        path.unlink(missing_ok=True)
    except (OSError, OverflowError):
        pass
    return False
