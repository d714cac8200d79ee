"""Is a port free, and who listens on it? Asked before anything starts, so that a conflict is named, not met."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orienter_tasks.environment import LOOPBACK
from orienter_tasks.processes import sockets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Listener:
    """A process that listens on a port.

    Attributes:
        port: the port.
        address: the address it listens on.
        pid: its process; None where the system does not tell.
        description: pid, command and directory for people.
    """

    port: int
    address: str
    pid: int | None
    description: str


def is_free(port: int) -> bool:
    """Say whether nobody listens on a loopback port, IPv4 or IPv6."""
    return _bindable(socket.AF_INET, LOOPBACK, port) and _bindable(socket.AF_INET6, "::1", port)


def await_free(port: int, seconds: float) -> bool:
    """Wait until a port is free, and say whether it is.

    One on which nobody listens may be a client's for a while: to those the system gives the high ones.
    """
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Connect to a server, from a port on which another may listen at once when this connection has ended.

    Raises:
        OSError: when nobody answers.
    """
    failure: OSError = OSError(f"{host} is no address")
    name = host.encode() if host.isascii() else host  # for a text, Python imports what reads names with umlauts
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.settimeout(timeout)
            made.connect(address)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def may_bind(port: int) -> bool:
    """Say whether this process has the privilege to bind a port, be it taken or not."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return True


def listeners(ports: Iterable[int]) -> list[Listener]:
    """Name who listens on the given ports, as far as the system tells this user."""
    wanted = set(ports)
    if not wanted:
        return []
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return _listeners_of_own_processes(wanted)
    return _named(found for found in _listening(connections) if found[0] in wanted)


def clients(ports: Iterable[int]) -> dict[int, str]:
    """Name who talks from the given ports, as far as the system tells this user."""
    import psutil

    wanted = set(ports)
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return {}
    return {
        entry.laddr.port: f"a connection to port {entry.raddr.port} that has ended keeps it, for a minute at most"
        if entry.status == psutil.CONN_TIME_WAIT
        else f"{_describe(entry.pid)} talks from it to port {entry.raddr.port}"
        for entry in found
        if entry.laddr and entry.raddr and entry.laddr.port in wanted
    }


def listening_ports(pids: Iterable[int]) -> set[int]:
    """Return the ports that the given processes listen on."""
    return {each.port for each in sockets.of(pids)}


def listening_addresses(pids: Iterable[int]) -> set[tuple[str, int]]:
    """Return the addresses and ports that the given processes listen on."""
    return {(each.address, each.port) for each in sockets.of(pids)}


def _listeners_of_own_processes(wanted: set[int]) -> list[Listener]:
    """Look process by process: macOS shows a user the sockets of no others."""
    import psutil

    return _named(found for found in sockets.of(psutil.pids()) if found.port in wanted)


def _listening(connections: Iterable[Any]) -> Iterator[tuple[int, str, int | None]]:
    import psutil

    for entry in connections:
        if entry.status == psutil.CONN_LISTEN and entry.laddr:
            yield entry.laddr.port, entry.laddr.ip, getattr(entry, "pid", None)


def _named(found: Iterable[tuple[int, str, int | None]]) -> list[Listener]:
    once = {(port, pid): address for port, address, pid in found}
    ordered = sorted(once.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    return [Listener(port, address, pid, _describe(pid)) for (port, pid), address in ordered]


def _describe(pid: int | None) -> str:
    import psutil

    from orienter_tasks.processes.tree import describe

    if pid is None:
        return "a process of another user"
    try:
        return describe(psutil.Process(pid))
    except psutil.Error:
        return f"pid {pid}"


def _bindable(family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except PermissionError:
        return not _answers(family, address, port)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _answers(family: int, address: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(0.5)
        return client.connect_ex((address, port)) == 0
