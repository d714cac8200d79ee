"""Readiness probes: one question each, with its own time limit, so that a server that never answers costs little."""

from __future__ import annotations

import http.client
import socket

from orienter_tasks.stack.component import NotReadyError

PROBE_SECONDS = 2.0


def http_answer(host: str, port: int, path: str, *, timeout: float = PROBE_SECONDS) -> tuple[int, bytes]:
    """GET a path; the status and at most 64 KiB of the body.

    Raises:
        NotReadyError: when nothing answers in time.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}", "User-Agent": "orienter-probe"})
        response = connection.getresponse()
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
        with socket.create_connection((host, port), timeout=PROBE_SECONDS):
            return
    except OSError as error:
        raise NotReadyError(f"{host}:{port}: {error.strerror or error}") from error
