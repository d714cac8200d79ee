"""What runs on this machine, read once: every process's parent, session and start mark, and whose it says that it is.

Starting and stopping look often, so on Linux the kernel's files are read as they are; elsewhere psutil is asked.
"""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.processes.record import COMPONENT_MARKER, ENDED, linux_fields, linux_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psutil

PARENT, SESSION, FLAGS = 1, 3, 6  # of what follows the name in /proc/PID/stat, see proc(5)
KERNEL_THREAD = 0x00200000
MARKER = f"{COMPONENT_MARKER}=".encode()
CHUNK = 1 << 16
ROOT, NUMBER = b"AI_INSTANCE_ROOT=", b"AI_INSTANCE_ID="


@dataclass(frozen=True)
class Owner:
    """For whom a process was started, as its environment says."""

    component: str
    root: str
    instance: str


@dataclass(frozen=True)
class Entry:
    """A living process (a zombie is none).

    Attributes:
        pid: its id, and `parent` and `session` those of its parent and of its session's leader (-1: not told).
        mark: when it began, as in records.
        owner: what its environment says; None where it says nothing, or is not to be read by this user.
    """

    pid: int
    parent: int
    session: int
    mark: str
    owner: Owner | None


class _Turns:
    """Reads for several threads at once: each gets a reading that began after it had asked, and may share it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._begun = self._done = 0
        self._latest: Mapping[int, Entry] = {}

    def read(self) -> Mapping[int, Entry]:
        wanted = self._begun + 1  # the one that is going on may be past what has just changed
        with self._one_at_a_time:
            if self._done < wanted:
                self._begun += 1
                self._latest = read_proc() if platform.system() == "Linux" else read_psutil()
                self._done = self._begun
            return self._latest


_turns = _Turns()


def read() -> Mapping[int, Entry]:
    """Read every living process of the machine by its pid; the kernel's own are left out where they can be told."""
    return _turns.read()


def read_proc() -> dict[int, Entry]:
    """Read /proc."""
    entries = (_of_proc(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - no Path for each
    return {entry.pid: entry for entry in entries if entry is not None}


def read_psutil() -> dict[int, Entry]:
    """Ask psutil."""
    import psutil

    found = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                if process.status() in ENDED:
                    continue
                parent, mark = process.ppid(), f"{process.create_time():.2f}"
        except psutil.Error:
            continue
        found[process.pid] = Entry(process.pid, parent, _session(process.pid), mark, _owner_by_psutil(process))
    return found


def descendants(table: Mapping[int, Entry], leaders: Iterable[int]) -> list[int]:
    """Return the leaders that live, and all their children's children."""
    children: dict[int, list[int]] = {}
    for entry in table.values():
        children.setdefault(entry.parent, []).append(entry.pid)
    found = [pid for pid in leaders if pid in table]
    for pid in found:  # it grows while it is read
        found += [child for child in children.get(pid, ()) if child not in found]
    return found


def memory(pid: int) -> int | None:
    """Return a process's share of memory in bytes (PSS, or RSS where the system has none); None when not to be read."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    import psutil

    try:
        full = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    return getattr(full, "pss", full.rss)


def _of_proc(name: str) -> Entry | None:
    pid = int(name)
    fields = linux_fields(pid)
    if not fields or fields[0] in ENDED or int(fields[FLAGS]) & KERNEL_THREAD:
        return None
    return Entry(pid, int(fields[PARENT]), int(fields[SESSION]), linux_mark(fields), _owner_in_proc(name))


def _owner_in_proc(name: str) -> Owner | None:
    content = _read(f"/proc/{name}/environ")
    if MARKER not in content:
        return None
    values = {ROOT: "", NUMBER: ""}
    for line in content.split(b"\0"):
        for key in (MARKER, ROOT, NUMBER):
            if line.startswith(key):
                values[key] = os.fsdecode(line[len(key) :])
    # the marker may have been part of another variable's value
    return Owner(values[MARKER], values[ROOT], values[NUMBER]) if MARKER in values else None


def _read(path: str) -> bytes:
    """Read a file whole; nothing when it is another user's, or its process has ended."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(file, CHUNK):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(file)
    return b"".join(parts)


def _owner_by_psutil(process: psutil.Process) -> Owner | None:
    import psutil

    try:
        environ = process.environ()
    except (psutil.Error, OSError):
        return None
    if COMPONENT_MARKER not in environ:
        return None
    return Owner(environ[COMPONENT_MARKER], environ.get("AI_INSTANCE_ROOT", ""), environ.get("AI_INSTANCE_ID", ""))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
