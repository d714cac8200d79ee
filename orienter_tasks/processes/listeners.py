"""Which processes listen on a port, or connect from one, named for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.processes import sockets
from orienter_tasks.processes.table import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Listener(msgspec.Struct, frozen=True):
    """A process that listens on a port; `pid` is None where the system does not tell."""

    port: int
    address: str
    pid: int | None
    description: str


def listeners(ports: Iterable[int]) -> list[Listener]:
    """Name the processes that listen on the given ports, as far as the system tells this user."""
    wanted = set(ports)
    if not wanted:
        return []
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:  # macOS shows a user the sockets of no others: look process by process
        found: Iterable[tuple[int, str, int | None]] = sockets.of(psutil.pids())
    else:
        found = _listening(connections)
    once = {(port, pid): address for port, address, pid in found if port in wanted}
    ordered = sorted(once.items(), key=lambda item: (item[0][0], item[0][1] or 0))
    return [Listener(port, address, pid, _holder(pid)) for (port, pid), address in ordered]


def clients(ports: Iterable[int]) -> dict[int, str]:
    """Name the processes that connect from the given ports, as far as the system tells this user."""
    import psutil

    wanted = set(ports)
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return {}
    return {
        entry.laddr.port: f"a connection to port {entry.raddr.port} that has ended keeps it, for a minute at most"
        if entry.status == psutil.CONN_TIME_WAIT
        else f"{_holder(entry.pid)} talks from it to port {entry.raddr.port}"
        for entry in found
        if entry.laddr and entry.raddr and entry.laddr.port in wanted
    }


def listening_ports(pids: Iterable[int]) -> set[int]:
    return {each.port for each in sockets.of(pids)}


def listening_addresses(pids: Iterable[int]) -> set[tuple[str, int]]:
    """Return the addresses and ports that the given processes listen on."""
    return {(each.address, each.port) for each in sockets.of(pids)}


def is_loopback(address: str) -> bool:
    """Say whether only this machine reaches an address; an unreadable one counts as public."""
    import ipaddress

    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _listening(connections: Iterable[Any]) -> Iterator[tuple[int, str, int | None]]:
    import psutil

    for entry in connections:
        if entry.status == psutil.CONN_LISTEN and entry.laddr:
            yield entry.laddr.port, entry.laddr.ip, getattr(entry, "pid", None)


def _holder(pid: int | None) -> str:
    return "a process of another user or container" if pid is None else describe(pid)
