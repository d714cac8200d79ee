"""Readiness probes: one question each, with its own time limit, so that a server that never answers costs little."""

from __future__ import annotations

import io
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from orienter_tasks.machine import ports
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

PROBE_SECONDS = 2.0
USER_AGENT = "orienter-probe"  # by which nginx knows that nobody uses the instance
OPEN_SECONDS = 0.1
STATUS_LINE = rb"HTTP/1\.[01] (\d{3})\s"
LONGEST_LINE = 65536


class Hurried(io.RawIOBase):
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


def http_ready(host: str, port: int, path: str, *, timeout: float = PROBE_SECONDS) -> None:
    """Require a 2xx or 3xx on a path. The status line is enough: an event stream's answer has no end."""
    try:
        with ports.connect(host, port, timeout) as connection:
            headers = f"Host: localhost:{port}\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n"
            connection.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode("ascii"))
            with io.BufferedReader(Hurried(connection)) as answer:
                status = _status(answer.readline)
    except OSError as error:
        raise NotReadyError(f"http://{host}:{port}{path}: {error.strerror or error}") from error
    if not 200 <= status < 400:  # noqa: PLR2004 - the classes of HTTP status codes
        raise NotReadyError(f"http://{host}:{port}{path} answers {status}")


def _status(read_line: Callable[[int], bytes]) -> int:
    """Read the status of an answer, behind those that only announce it (1xx); OSError where it is not HTTP."""
    while match := re.match(STATUS_LINE, read_line(LONGEST_LINE)):
        status = int(match[1])
        if status >= 200:  # noqa: PLR2004
            return status
        while read_line(LONGEST_LINE).strip():
            pass
    raise OSError("no answer in HTTP")


def tcp_ready(host: str, port: int, *, timeout: float = PROBE_SECONDS) -> None:
    """Require that a port accepts a connection."""
    try:
        with ports.connect(host, port, timeout):
            return
    except OSError as error:
        raise NotReadyError(f"{host}:{port}: {error.strerror or error}") from error


def talk_ready(host: str, port: int, send: bytes, expect: bytes, *, timeout: float = PROBE_SECONDS) -> None:
    """Require that a server answers what is sent, or greets, with what is expected; without either, that it stays.

    A connection alone proves nothing: Docker's proxy accepts it before the server in the container listens, and then
    closes it.
    """
    try:
        with ports.connect(host, port, timeout) as connection:
            if send or expect:
                connection.sendall(send)
                _require_answer(Hurried(connection), expect)
            else:
                _require_open(connection)
    except OSError as error:
        raise NotReadyError(f"{host}:{port}: {error.strerror or error}") from error


def _require_open(connection: socket.socket) -> None:
    connection.settimeout(OPEN_SECONDS)
    with suppress(TimeoutError):
        if not connection.recv(1):
            raise OSError("it closes the connection")


def _require_answer(stream: Hurried, expect: bytes) -> None:
    with stream:
        found = b""
        while len(found) < LONGEST_LINE:
            piece = stream.read(LONGEST_LINE)
            found += piece or b""
            if not piece or (expect in found and found):
                break
    if not found or expect not in found:
        raise OSError(f"it answers {found[:60]!r}")
