"""HTTP connections to servers of this machine. Apart from the probes, since `http.client` is slow to import."""

from __future__ import annotations

import http.client
import io
from typing import TYPE_CHECKING

from orienter_tasks.machine import ports
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.probes import PROBE_SECONDS, USER_AGENT, Hurried

if TYPE_CHECKING:
    import socket
    from typing import Any


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        self.fp.close()
        self.fp = io.BufferedReader(Hurried(sock))


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
        connection.request("GET", path, headers={"Host": f"localhost:{port}", "User-Agent": USER_AGENT})
        with connection.getresponse() as response:  # it keeps the socket where the server closes the connection
            return response.status, response.read(65536)
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"http://{host}:{port}{path}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
