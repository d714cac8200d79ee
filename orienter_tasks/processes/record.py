"""What is written down about a process, so that it is known again: pid *and* start mark must match.

A stale record never matches another process: the start mark holds the boot and the moment at which the process began.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import SCHEMA_VERSION, sweep, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.instance.model import Instance


ENDED = ("Z", "X", "zombie", "dead")  # Linux's words, and psutil's
COMPONENT_MARKER = "ORIENTER_COMPONENT"
"""Set only for processes that we start; `env.export` never exports it, so a user's shell is never taken for ours."""
TOKEN_MARKER = "ORIENTER_TOKEN"  # noqa: S105 - a name, not a secret
"""Likewise, with the claim's token."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A process that we started, the leader of its own session and group.

    Attributes:
        pid: process id; the same number is its group's and session's id.
        mark: when it began (see `start_mark`).
        stop_signal: the number of the signal that ends it gracefully.
        group: whether that signal goes to the whole group (services) or to the leader alone (servers).
        started_at: seconds since the epoch.
        needs: the components that it needs, so that it is stopped before them.
        port: the port that must be free once it is stopped; 0 for none.
        token: of the claim; "" where an older version wrote it.
        has_shim: whether this is the shim of the process that was asked for (see `shim`).
    """

    component: str
    pid: int
    mark: str
    command: tuple[str, ...]
    cwd: str
    log: str
    project: str
    instance: int
    root: str
    stop_signal: int
    group: bool
    started_at: float
    needs: tuple[str, ...] = ()
    port: int = 0
    token: str = ""
    has_shim: bool = msgspec.field(default=False, name="kept")
    schema_version: int = SCHEMA_VERSION

    def alive(self) -> bool:
        """Say whether this very process runs (a zombie does not)."""
        return start_mark(self.pid) == self.mark


def start_mark(pid: int) -> str | None:
    """Return what tells this process from any other that had or will have its pid; None when none runs.

    On Linux the boot's id and the start in clock ticks (proc(5), field 22), which no change of the clock moves;
    elsewhere the start time that psutil gives.
    """
    state, mark = _state_and_mark(pid)
    return None if state in ENDED else mark


def birth_mark(pid: int) -> str | None:
    """Return the mark of a process that may have ended already, as long as its parent has not taken notice."""
    return _state_and_mark(pid)[1]


def _state_and_mark(pid: int) -> tuple[str, str | None]:
    if pid <= 1:
        return "", None
    if platform.system() == "Linux":
        _, fields = linux_stat(pid)
        return (fields[0], linux_mark(fields)) if fields else ("", None)
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status(), f"{process.create_time():.2f}"
    except psutil.Error:
        return "", None


def began(mark: str) -> float:
    """Return when the process of a mark began: clock ticks after the boot on Linux, elsewhere seconds."""
    try:
        return float(mark.rpartition(":")[2])
    except ValueError:  # a record may say anything
        return 0.0


def of_this_boot(mark: str) -> bool:
    """Say whether a mark may still belong to something that runs; where marks do not tell, yes."""
    return platform.system() != "Linux" or mark.startswith(f"{_linux_boot()}:")


def linux_stat(pid: int) -> tuple[str, list[str]]:
    """Return a process's name and what follows it in /proc/PID/stat, its state first; nothing when there is none."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)  # no file object: a start reads thousands
    except OSError:
        return "", []
    try:
        name, _, fields = os.read(file, 4096).rpartition(b")")
    except OSError:
        return "", []
    finally:
        os.close(file)
    return os.fsdecode(name.partition(b"(")[2]), fields.decode("ascii").split()


def linux_mark(fields: Sequence[str]) -> str:
    """Return the start mark that these fields hold."""
    return f"{_linux_boot()}:{fields[19]}"


@cache
def _linux_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def path_of(instance: Instance, component: str) -> Path:
    return instance.pid_dir / f"{component}.json"


def exit_path(instance: Instance, component: str) -> Path:
    """Return the file that a component's shim writes its exit code to."""
    return instance.pid_dir / f"{component}.exit"


def save(instance: Instance, record: Record) -> None:
    """Write a record (mode 0600), replacing the component's former one."""
    # a record names a process of this boot: after a power cut there is none
    content = msgspec.json.format(msgspec.json.encode(record))
    write_private(path_of(instance, record.component), content, durable=False)


def load(instance: Instance, component: str) -> Record | None:
    """Read a component's record; None when there is none, or it is damaged or another checkout's."""
    try:
        record = msgspec.json.decode(read_small(path_of(instance, component)), type=Record)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ours = instance.is_marked_by(project=record.project, instance=record.instance, root=record.root, token=record.token)
    return record if ours and record.component == component and record.pid > 1 else None


def load_all(instance: Instance) -> Iterator[Record]:
    """Read every valid record of an instance."""
    for path in sorted(instance.pid_dir.glob("*.json")):
        record = load(instance, path.stem)
        if record is not None:
            yield record


def forget(instance: Instance, component: str) -> None:
    """Remove a component's record, and what its shim wrote."""
    path = path_of(instance, component)
    _remove(path)
    _remove(exit_path(instance, component))
    sweep(path)


def forget_unrecorded(instance: Instance) -> None:
    """Remove what shims were given by starts that were killed before they had written a record."""
    for path in instance.pid_dir.glob("*.exit"):
        if not path.with_suffix(".json").exists():
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if not path.is_dir():  # a directory is nothing of ours, and no record
            raise CheckError(f"cannot remove {path}: {error.strerror}") from error
