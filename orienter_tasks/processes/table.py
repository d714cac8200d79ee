"""Every process of the machine, read once: its parent, session and start mark, and for whom it was started.

Starts and stops look often, so on Linux the kernel's files are read directly; elsewhere psutil is asked.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.instance.variables import masked
from orienter_tasks.processes.record import (
    COMPONENT_MARKER,
    ENDED,
    TOKEN_MARKER,
    began,
    linux_mark,
    linux_stat,
    start_mark,
)
from orienter_tasks.processes.shim import unwrap_argv

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

PARENT, SESSION, FLAGS = 1, 3, 6  # of what follows the name in /proc/PID/stat, see proc(5)
KERNEL_THREAD = 0x00200000
CHUNK = 1 << 16
_MARKER = f"{COMPONENT_MARKER}=".encode()
_TELLING = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT", "COMPOSE_PROJECT_NAME", COMPONENT_MARKER, TOKEN_MARKER)
_COMPOSE_PROJECT = r"(.+)-instance-(\d+)"


class ProcessOwner(msgspec.Struct, frozen=True):
    """For whom a process was started, as its environment says; `project` and `token` are "" where it does not say."""

    component: str
    root: str
    instance: str
    project: str = ""
    token: str = ""


class Process(msgspec.Struct, frozen=True, eq=False):
    """A living process; a zombie is not one. Pid and start mark together identify it.

    Attributes:
        parent, session: the pids of its parent and of its session's leader; -1 where unknown.
        name: its program, as the kernel names it.
        owner: None where its environment names nobody, or may not be read by this user.
        retitled: whether it has written its title over its environment.
    """

    pid: int
    mark: str
    parent: int = -1
    session: int = -1
    name: str = ""
    owner: ProcessOwner | None = None
    retitled: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and (self.pid, self.mark) == (other.pid, other.mark)

    def __hash__(self) -> int:
        return hash((self.pid, self.mark))

    def alive(self) -> bool:
        """Say whether this very process still runs."""
        return start_mark(self.pid) == self.mark

    @property
    def age(self) -> tuple[float, int]:
        """What sorts processes so that the oldest comes first."""
        return began(self.mark), self.pid


class CoalescedReader:
    """Reads for several threads at once: each gets a reading that began after it had asked, and may share it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._begun = self._done = 0
        self._latest: Mapping[int, Process] = {}

    def read(self) -> Mapping[int, Process]:
        wanted = self._begun + 1  # a reading under way may have missed what has just changed
        with self._one_at_a_time:
            if self._done < wanted:
                self._begun += 1
                self._latest = read_proc() if platform.system() == "Linux" else read_psutil()
                self._done = self._begun
            return self._latest


read = CoalescedReader().read
"""Every living process of the machine by its pid, without the kernel's own."""


def read_proc() -> dict[int, Process]:
    found = (_of_proc(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - no Path for each
    return {process.pid: process for process in found if process is not None}


def read_psutil() -> dict[int, Process]:
    import psutil

    found = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                if process.status() in ENDED:
                    continue
                parent, name, mark = process.ppid(), process.name(), f"{process.create_time():.2f}"
        except psutil.Error:
            continue
        found[process.pid] = Process(
            process.pid, mark, parent, _session(process.pid), name, *_environ_by_psutil(process)
        )
    return found


def directory_of(pid: int) -> str:
    """Return the working directory of a process, even where it was removed; "" where that cannot be seen."""
    if platform.system() == "Linux":
        try:
            return os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")  # noqa: PTH115 - many processes
        except OSError:
            return ""
    import psutil

    try:
        return str(psutil.Process(pid).cwd())
    except (psutil.Error, OSError):
        return ""


def is_of_this_user(pid: int) -> bool:
    """Say whether a process runs as the user who asks."""
    if platform.system() == "Linux":
        lines = _read(f"/proc/{pid}/status").splitlines()
        return any(line.startswith(b"Uid:") and int(line.split()[1]) == os.getuid() for line in lines)
    import psutil

    try:
        return bool(psutil.Process(pid).uids().real == os.getuid())
    except psutil.Error:
        return False


def started_at(pid: int) -> float | None:
    """Return when a process was started, in seconds since the epoch; None when it has ended."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


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


def _of_proc(directory: str) -> Process | None:
    pid = int(directory)
    name, fields = linux_stat(pid)
    if not fields or fields[0] in ENDED or int(fields[FLAGS]) & KERNEL_THREAD:
        return None
    return Process(
        pid, linux_mark(fields), int(fields[PARENT]), int(fields[SESSION]), name, *_environ_in_proc(directory)
    )


def _environ_in_proc(directory: str) -> tuple[ProcessOwner | None, bool]:
    """Return for whom a process was started, and whether its title has overwritten what would tell."""
    content = _read(f"/proc/{directory}/environ")
    if _MARKER not in content:
        return None, content.endswith(b"\0\0")  # titles are padded with these
    content = b"\0" + content
    parts = ((name, content.partition(f"\0{name}=".encode())) for name in _TELLING)
    return _owner({name: os.fsdecode(rest.partition(b"\0")[0]) for name, (_, found, rest) in parts if found}), False


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; nothing where it cannot be read."""
    if platform.system() != "Linux":
        import psutil

        try:
            return dict(psutil.Process(pid).environ())
        except (psutil.Error, OSError):
            return {}
    entries = (os.fsdecode(entry) for entry in _read(f"/proc/{pid}/environ").split(b"\0"))
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _environ_by_psutil(process: psutil.Process) -> tuple[ProcessOwner | None, bool]:
    import psutil

    try:
        environ = process.environ()
    except (psutil.Error, OSError):
        return None, False
    return _owner(environ), not environ


def _owner(environ: Mapping[str, str]) -> ProcessOwner | None:
    if COMPONENT_MARKER not in environ:  # it may have been part of another variable's value
        return None
    number = environ.get("AI_INSTANCE_ID", "")
    compose = re.fullmatch(_COMPOSE_PROJECT, environ.get("COMPOSE_PROJECT_NAME", ""))
    project = compose[1] if compose is not None and compose[2] == number else ""
    root, token = environ.get("AI_INSTANCE_ROOT", ""), environ.get(TOKEN_MARKER, "")
    return ProcessOwner(environ[COMPONENT_MARKER], root, number, project, token)


def _read(path: str) -> bytes:
    """Read a file of a process whole; nothing when it is another user's, or its process has ended."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(file, CHUNK):
            parts.append(part)
            if len(part) < CHUNK:  # a short read is the last one: the kernel returns everything it has
                break
    except OSError:
        return b""
    finally:
        os.close(file)
    return b"".join(parts)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def describe(pid: int) -> str:
    """Name a process for people: pid, command and directory, without its secrets (only the first words of argv)."""
    import psutil

    try:
        process = psutil.Process(pid)
        words = unwrap_argv(process.cmdline())[:3] or [process.name()]
        command = masked("", " ".join([os.path.basename(words[0]), *words[1:]]))  # noqa: PTH119 - not a path of ours
        command = " ".join(command.split())[:60]
    except psutil.Error:
        return f"pid {pid}"
    try:
        return f"pid {pid} ({command}, in {process.cwd()})"
    except psutil.Error:
        return f"pid {pid} ({command})"
