"""Which TCP ports given processes listen on.

A start asks for every component, so on Linux the kernel is asked itself for what listens: by a netlink socket, see
sock_diag(7), or where it has none, by its files, which go through the places of all connections there could be.
psutil, which is asked elsewhere, reads and translates those files whole for each process.
"""

from __future__ import annotations

import os
import platform
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FAMILIES: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
TABLES: dict[int, Path] = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
ADDRESS, STATE, INODE = 1, 3, 9  # columns: the kernel's Documentation/networking/proc_net_tcp.rst
LISTENING = b"0A"  # TCP_LISTEN

SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
BY_FAMILY, DUMP = 20, 0x301  # SOCK_DIAG_BY_FAMILY; NLM_F_REQUEST | NLM_F_DUMP
ERROR, DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, sender
REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, any socket
ANSWER = struct.Struct("=4x2s2x16s44xI")  # of inet_diag_msg: port, address and, at its end, inode
PORT = struct.Struct(">H")
CHUNK, ASK_SECONDS = 1 << 16, 2.0
LENGTHS: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}  # bytes of an address


class Listening(NamedTuple):
    """A socket that waits for connections."""

    port: int
    address: str
    pid: int


def of(pids: Iterable[int]) -> list[Listening]:
    """Return the listening sockets of processes; those that are gone or not to be looked into have none."""
    return of_proc(pids) if platform.system() == "Linux" else of_psutil(pids)


def of_proc(pids: Iterable[int]) -> list[Listening]:
    """Look in /proc/PID/fd, and ask the kernel what listens."""
    holders: dict[bytes, list[int]] = {}
    for pid in pids:
        for inode in _inodes(pid):
            holders.setdefault(inode, []).append(pid)
    if not holders:
        return []
    return [Listening(port, address, pid) for port, address, inode in _listening() for pid in holders.get(inode, ())]


def of_psutil(pids: Iterable[int]) -> list[Listening]:
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


def _listening() -> list[tuple[int, str, bytes]]:
    try:
        return [found for family in FAMILIES for found in by_netlink(family)]
    except OSError:  # a kernel or a sandbox without
        return [found for family in FAMILIES for found in by_table(family)]


def by_netlink(family: int) -> list[tuple[int, str, bytes]]:
    """Return port, address and inode of everything of a family that listens.

    Raises:
        OSError: when the kernel does not answer such questions.
    """
    found: list[tuple[int, str, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        kernel.settimeout(ASK_SECONDS)
        body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << int(LISTENING, 16))
        kernel.send(HEADER.pack(HEADER.size + len(body), BY_FAMILY, DUMP, 0, 0) + body)
        while True:
            message = kernel.recv(CHUNK)
            while len(message) >= HEADER.size:
                length, kind, *_ = HEADER.unpack_from(message)
                if kind == DONE:
                    return found
                if kind == ERROR or length < HEADER.size + ANSWER.size:
                    raise OSError("the kernel does not tell its sockets")
                port, raw, inode = ANSWER.unpack_from(message, HEADER.size)
                address = socket.inet_ntop(family, raw[: LENGTHS[family]])
                found.append((PORT.unpack(port)[0], address, str(inode).encode()))
                message = message[(length + 3) & ~3 :]


def by_table(family: int) -> Iterator[tuple[int, str, bytes]]:
    """Return the same as the kernel's file says it."""
    try:
        lines = TABLES[family].read_bytes().splitlines()[1:]
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
