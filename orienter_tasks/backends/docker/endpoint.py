"""Which Docker engine the docker command line would use, and whether it answers; without the SDK."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

from orienter_tasks.machine.files import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"
OWN_SOCKETS = (("docker.sock", "rootless Docker's socket"), ("podman/podman.sock", "rootless Podman's socket"))
"""Below $XDG_RUNTIME_DIR."""
PODMAN_URL = "unix:///run/podman/podman.sock"
HERE = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - compared with, never listened on

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
API_VERSION = re.compile(rb"(?im)^api-version: *([0-9]+\.[0-9]+)\r?$")
LONGEST_HEAD = 4000
TIMED_OUT = "timed out"
FAR_URL = re.compile(
    r"ssh://((?:[^@/\s:-][^@/\s:]*@)?(?:[^@/\s:\[\]-][^@/\s:\[\]]*|\[[0-9A-Fa-f:.]+\])(?::\d+)?)(/\S*)?"
)
"""`ssh://[USER@]BOX[:PORT][/SOCKET]`, as docker's own command line has it."""
FAR_SOCKET = "/var/run/docker.sock"
CONNECT_SECONDS = 1.0


class Endpoint(msgspec.Struct, frozen=True):
    """An engine's URL (`unix:///…`, `tcp://…`), what named it, and the docker context, "" without one."""

    url: str
    origin: str
    context: str = ""
    tls: bool = False

    @property
    def socket_path(self) -> str:
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else ""

    @property
    def is_remote(self) -> bool:
        """Whether it is reached by ssh; its servers are then forwarded to this machine."""
        return self.url.startswith("ssh://")

    @property
    def box(self) -> str:
        """The other machine, as ssh takes it; "" where the URL names none."""
        found = FAR_URL.fullmatch(self.url)
        return f"ssh://{found[1]}" if found else ""

    @property
    def far_socket(self) -> str:
        """The engine's socket on the other machine."""
        found = FAR_URL.fullmatch(self.url)
        return (found[2] or "").rstrip("/") or FAR_SOCKET if found else FAR_SOCKET

    @property
    def may_be_here(self) -> bool:
        """Whether it is reached on this machine; what listens there may be forwarded from another: see `locality`."""
        parts = urlsplit(self.url)
        return parts.scheme in ("unix", "npipe") or (parts.scheme in ("tcp", "http") and parts.hostname in HERE)

    def how_to_reach(self, seen: str) -> str:
        """Return what to do when it does not answer: start it, or let another engine be chosen than what chose it."""
        if "denied" in seen.lower() and not self.is_remote:
            return "let your user reach it: usermod -aG docker USER, then log in again"
        if self.origin == "DOCKER_HOST":
            other = "unset DOCKER_HOST"
        elif self.context:
            other = "unset DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "docker context use default"
        else:
            return "start it (systemctl start docker, or Docker Desktop)"
        if self.is_remote:
            return f"try: ssh {self.box} docker version; or take the usual engine with: {other}"
        return f"{self.origin} chose it: start that Docker engine, or take the usual one with: {other}"

    def __str__(self) -> str:
        return f"{self.url} ({self.origin})"


def current(environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return the engine that the docker command line would use: DOCKER_HOST, else the current context.

    Where that is the default socket and nothing listens there for this user, another usual socket where something does.
    """
    host = environ.get("DOCKER_HOST", "")
    if host:
        tls = bool(environ.get("DOCKER_TLS_VERIFY")) and not host.startswith("ssh://")
        return Endpoint(host, "DOCKER_HOST", tls=tls)
    directory = _config_dir(environ)
    name = environ.get("DOCKER_CONTEXT") or _text(_read_json(directory / "config.json"), "currentContext")
    if name and name != DEFAULT_CONTEXT:
        return _of_context(directory, name)
    return _usual(environ.get("XDG_RUNTIME_DIR", ""))


@lru_cache(maxsize=4)
def _usual(runtime_dir: str) -> Endpoint:
    """Choose among the usual sockets, once a process: an engine that ends must not hand its instances to another."""
    default = Endpoint(DEFAULT_URL, "the default socket")
    own = [Endpoint(f"unix://{runtime_dir}/{name}", origin) for name, origin in OWN_SOCKETS if runtime_dir]
    others = [*own, Endpoint(PODMAN_URL, "Podman's socket")]
    return next((each for each in (default, *others) if listens(each)), default)


def listens(endpoint: Endpoint) -> bool:
    """Whether something listens there, or hangs."""
    try:
        _connected(endpoint, CONNECT_SECONDS).close()
    except TimeoutError:  # it is there, and hangs
        return True
    except OSError:
        return False
    return True


class Pong(NamedTuple):
    """What came of a ping: what was observed instead of an answer, or None; the API version, "" if it was not said."""

    silence: str | None
    api_version: str = ""


class Reply(NamedTuple):
    """An engine's answer to a request; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ping(endpoint: Endpoint, timeout: float) -> Pong:
    """Ping a local engine without TLS."""
    if not endpoint.url:
        return Pong("there is no such context")
    if not endpoint.may_be_here:
        return Pong("it is on another machine, whose loopback ports and directories are not this one's")
    try:
        head = _ping(endpoint, timeout)
    except TimeoutError:
        return Pong(TIMED_OUT)
    except OSError as error:
        return Pong(error.strerror or str(error) or type(error).__name__)
    return _pong(head)


def _pong(head: bytes) -> Pong:
    status, version = STATUS.match(head), API_VERSION.search(head)
    if status is None:
        return Pong("it does not answer as an engine does")
    if status[1] != b"200":
        return Pong(f"it answers {status[1].decode()}")
    return Pong(None, version[1].decode() if version else "")


def ask(endpoint: Endpoint, method: str, target: str, timeout: float) -> Reply:
    """Send a request to a local engine without TLS; raises OSError and http.client.HTTPException."""
    from http.client import HTTPConnection

    connection = HTTPConnection("localhost")
    connection.sock = _connected(endpoint, timeout)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, response.read())
    finally:
        connection.close()


def _ping(endpoint: Endpoint, timeout: float) -> bytes:
    """Return the head of the answer; the timeout is for all of it, however many parts it comes in."""
    deadline = time.monotonic() + timeout
    with _connected(endpoint, timeout) as connection:
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head and len(head) < LONGEST_HEAD:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(LONGEST_HEAD)
            if not part:
                break
            head += part
    return head


def _connected(endpoint: Endpoint, timeout: float) -> socket.socket:
    if not endpoint.socket_path:
        parts = urlsplit(endpoint.url)
        return socket.create_connection((parts.hostname or "", parts.port or 2375), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(endpoint.socket_path)
    except OSError:
        connection.close()
        raise
    return connection


def _of_context(directory: Path, name: str) -> Endpoint:
    """Read a docker context, whose directory is named by the digest of its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = _read_json(directory / "contexts" / "meta" / digest / "meta.json")
    endpoints = meta.get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    url = _text(docker, "Host") if isinstance(docker, dict) else ""
    tls = (directory / "contexts" / "tls" / digest / "docker").is_dir() and not url.startswith("ssh://")
    return Endpoint(url, f"docker context {name!r}", context=name, tls=tls)


def _config_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(read_small(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(content: Mapping[str, object], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""
