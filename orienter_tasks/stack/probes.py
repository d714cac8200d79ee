"""Readiness probes: one question each, with its own time limit, so that a server that never answers costs little."""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING

from orienter_tasks.machine import ports
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    import socket
    from typing import Any

    from _typeshed import WriteableBuffer

PROBE_SECONDS = 2.0


class _Hurried(io.RawIOBase):
    """Reads a socket until a moment, and not a limit for every piece: a server may drip for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (connection.gettimeout() or PROBE_SECONDS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        self.fp.close()
        self.fp = io.BufferedReader(_Hurried(sock))


class Connection(http.client.HTTPConnection):
    """An HTTP connection to a server of this machine, as `ports.connect` makes it."""

    def connect(self) -> None:
        self.sock = ports.connect(self.host, self.port, self.timeout or PROBE_SECONDS)


def http_answer(host: str, port: int, path: str, *, timeout: float = PROBE_SECONDS) -> tuple[int, bytes]:
    """GET a path; the status and at most 64 KiB of the body.

    Raises:
        NotReadyError: when nothing answers in time.
    """
    connection = Connection(host, port, timeout=timeout)
    connection.response_class = _Response
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}", "User-Agent": "orienter-probe"})
        with connection.getresponse() as response:  # it keeps the socket where the server closes the connection
            return response.status, response.read(65536)
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"http://{host}:{port}{path}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()


def http_ready(host: str, port: int, path: str) -> bytes:
    """Require a 2xx or 3xx on a path; return the body."""
    status, body = http_answer(host, port, path)
    if not 200 <= status < 400:  # noqa: PLR2004 - the classes of HTTP status codes
        raise NotReadyError(f"http://{host}:{port}{path} answers {status}")
    return body


def tcp_ready(host: str, port: int) -> None:
    """Require that a port accepts a connection."""
    try:
        with ports.connect(host, port, PROBE_SECONDS):
            return
    except OSError as error:
        raise NotReadyError(f"{host}:{port}: {error.strerror or error}") from error
