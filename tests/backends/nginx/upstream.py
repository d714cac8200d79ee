"""Real upstreams for nginx to find, and requests in exactly the spelling that is wanted."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SIGNED_IN = "Cookie: session=good"
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@dataclass(frozen=True)
class Seen:
    """A request as an upstream saw it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Upstream:
    """A real HTTP server in a thread: it tells what it was asked, streams events, and echoes websockets.

    Attributes:
        name: what it says it is.
        port: where it listens.
        status: the status of its answers.
        headers: what it adds to its answers.
        seen: the requests so far.
        first_bytes: set when the first bytes of a body have arrived.
        finish: set to let an event stream end.
    """

    name: str
    port: int
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    first_bytes: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        """Forget former requests and answer plainly again."""
        self.status, self.headers = 200, {}
        self.seen.clear()
        self.first_bytes.clear()
        self.finish.clear()

    @contextmanager
    def running(self) -> Iterator[Upstream]:
        """Serve until the end of the block."""
        upstream = self

        class Handler(_Handler):
            owner = upstream

        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield self
            finally:
                self.finish.set()
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Upstream

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        seen = Seen(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self._body())
        self.owner.seen.append(seen)
        if self.path == "/api/auth/validate":
            self._send(200 if "session=good" in seen.headers.get("cookie", "") else 401, b"")
        elif seen.headers.get("upgrade") == "websocket":
            self._echo()
        elif self.path.endswith("/events"):
            self._stream()
        else:
            told = {"name": self.owner.name, "target": self.path, "length": len(seen.body), "headers": seen.headers}
            self._send(self.owner.status, json.dumps(told).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **self.owner.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.owner.finish.wait(20)
        self.wfile.write(b"data: last\n\n")

    def _echo(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.owner.first_bytes.set()
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def exchange(port: int, *lines: str, until: bytes = b"") -> bytes:
    """Send a request as it stands and return the answer: all of it, or as far as `until`."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return receive(connection, until)


def receive(connection: socket.socket, until: bytes = b"") -> bytes:
    """Read to the end, or as far as `until`."""
    received = b""
    while data := connection.recv(65536):
        received += data
        if until and until in received:
            break
    return received


def get(port: int, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """GET a target in exactly this spelling; return status, headers and body."""
    return parse(exchange(port, f"GET {target} HTTP/1.1", f"Host: localhost:{port}", "Connection: close", *headers))


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Take a whole answer apart: status, headers (names in lower case) and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs: Sequence[tuple[str, str, str]] = [line.partition(": ") for line in lines]
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body
