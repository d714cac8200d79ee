"""Which TCP ports given processes listen on.

A start asks for every component, a stop after every component: so on Linux the kernel's files are read as they are, and
its tables once for all processes; psutil, which is asked elsewhere, reads and translates them whole for each.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
ADDRESS, STATE, INODE = (
    1,
    3,
    9,
)  # columns: the kernel's Documentation/networking/proc_net_tcp.rst
LISTENING = b"0A"  # TCP_LISTEN


class Listening(NamedTuple):
    """A socket that waits for connections."""

    port: int
    address: str
    pid: int


def of(pids: Iterable[int]) -> list[Listening]:
    """Return the listening sockets of processes; those that are gone or not to be looked into have none."""
    return of_proc(pids) if platform.system() == "Linux" else of_psutil(pids)


def of_proc(pids: Iterable[int]) -> list[Listening]:
    """Look in /proc."""
    holders: dict[bytes, list[int]] = {}
    for pid in pids:
        for inode in _inodes(pid):
            holders.setdefault(inode, []).append(pid)
    if not holders:
        return []
    return [
        Listening(port, address, pid)
        for family, table in TABLES.items()
        for port, address, inode in _listening(family, table)
        for pid in holders.get(inode, ())
    ]


def of_psutil(pids: Iterable[int]) -> list[Listening]:
    """Ask psutil."""
    import psutil

    found = []
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        found += [
            Listening(each.laddr.port, each.laddr.ip, pid)
            for each in connections
            if each.status == psutil.CONN_LISTEN and each.laddr
        ]
    return found


def _inodes(pid: int) -> set[bytes]:
    """Return the inodes of a process's sockets."""
    found = set()
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):  # noqa: PTH208 - objects for each would be most of the work
            try:
                target = os.readlink(f"{directory}/{name}")  # noqa: PTH115
            except FileNotFoundError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1].encode())
    except OSError:
        return set()
    return found


def _listening(family: int, table: Path) -> Iterator[tuple[int, str, bytes]]:
    """Return port, address and inode of everything that listens."""
    try:
        lines = table.read_bytes().splitlines()[1:]
    except FileNotFoundError:  # a kernel without IPv6
        return
    for line in lines:
        columns = line.split(maxsplit=INODE + 1)
        if columns[STATE] == LISTENING:
            address, _, port = columns[ADDRESS].decode().partition(":")
            yield int(port, 16), _address(family, address), columns[INODE]


def _address(family: int, digits: str) -> str:
    """Read an address: 32-bit words in the order of this machine's bytes."""
    raw = bytes.fromhex(digits)
    if sys.byteorder == "little":
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return socket.inet_ntop(family, raw)
