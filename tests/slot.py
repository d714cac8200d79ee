"""Ports and names that belong to this process alone among all that run tests on this machine, workers included.

Each process takes a slot and keeps it until it ends. A slot is a share of the last three digits of a port: whatever an
instance's id adds in thousands, instances of two slots never meet, nor a developer's own with the default ports.
Tests of one process come one after the other: they may use the same bases, as long as each stops what it started.
What a process starts inherits MARK, by which the slot's next owner knows what a killed one has left (leftovers.py).
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOTS, FIRST, SHARE = 20, 440, 28
NAMES = ("nginx", "whatsapp", "dashboard", "opencode", "vite", "postgres", "minio_api", "minio_console")
# enough for the two hosts that a test may have; a slot's remaining digits are for other listeners
SINGLE = 2 * len(NAMES)
# below those that the system gives to clients
THOUSANDS = range(11, 32)
# not $TMPDIR, and not by user: every run on the machine must look at the same place
LOCKS = Path("/tmp")


def _take() -> int:
    """Take a slot that no other process has, until this one ends."""
    for number in range(SLOTS):
        path = LOCKS / f"orienter-test-slot-{number}.lock"
        try:
            # only reading: another user's file in a sticky directory cannot be opened to be made
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            lock = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return number
    raise RuntimeError(f"{SLOTS} processes run these tests on this machine already")


MARK = "ORIENTER_TEST_SLOT"
NUMBER = _take()
os.environ[MARK] = str(NUMBER)
DIGITS = range(FIRST + NUMBER * SHARE, FIRST + (NUMBER + 1) * SHARE)
"""The last three digits of this slot's ports."""


def bases(names: Sequence[str] = NAMES, *, thousand: int = THOUSANDS[0], skip: int = 0) -> dict[str, int]:
    """Return port bases; hosts that run at the same time in one test skip each other's."""
    assert skip + len(names) <= SINGLE
    return {name: thousand * 1000 + FIRST + NUMBER * SHARE + skip + place for place, name in enumerate(names)}


def project(name: str) -> str:
    """Return a project's name that no other process uses."""
    return f"orienter-{name}-{NUMBER}"


def port() -> int:
    """Return a port that is no instance's and that nobody has now; the same one comes back after all others."""
    for _ in range(len(_SINGLE_PORTS)):
        _SINGLE_PORTS.rotate(-1)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", _SINGLE_PORTS[-1]))
            except OSError:
                continue
        return _SINGLE_PORTS[-1]
    raise RuntimeError("all ports of this slot are in use")


_SINGLE_PORTS = deque(
    thousand * 1000 + FIRST + NUMBER * SHARE + last for thousand in THOUSANDS for last in range(SINGLE, SHARE)
)
