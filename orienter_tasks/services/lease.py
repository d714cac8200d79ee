"""Machine-wide leases: what only one instance may do at a time, such as to connect to WhatsApp.

A lease names a process, and the service that it is for. It ends with the last process of that service, so it holds when
an `inv` is killed while it starts the service, and when only the service's leader died.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from orienter_tasks.errors import ConflictError
from orienter_tasks.instance.model import Instance
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import locked, state_dir, write_private
from orienter_tasks.processes.record import start_mark

LOCK_SECONDS = 10.0
SWITCHES = ("whatsapp", "slack")  # `inv dev --no-NAME` leaves the service out


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease's holder: an instance, by a process or by whatever else runs of its component."""

    project: str
    instance: int
    root: str
    pid: int
    mark: str
    component: str = ""


def holder(name: str) -> Lease | None:
    """Return the holder of a lease; None when nothing of it runs any more."""
    try:
        lease = msgspec.json.decode(read_small(_path(name)), type=Lease)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if start_mark(lease.pid) == lease.mark:
        return lease
    left = _members(lease)
    return msgspec.structs.replace(lease, pid=left[0]) if left else None


def _members(lease: Lease) -> list[int]:
    """Return the processes of a lease's component, whoever started them."""
    if not lease.component:
        return []
    from orienter_tasks.processes import census

    instance = Instance(lease.instance, Path(lease.root), lease.project, Path(lease.root).name, {})
    return census.take().pids(instance, lease.component)


def held() -> dict[str, Lease]:
    """Return the holders of all leases that are held."""
    names = sorted(path.stem for path in _path("*").parent.glob("*.json"))
    return {name: each for name in names if (each := holder(name)) is not None}


def is_held_by(name: str, instance: Instance) -> bool:
    lease = holder(name)
    return lease is not None and lease.root in instance.roots


def check(name: str, instance: Instance) -> None:
    """Require that no other instance holds a lease.

    Raises:
        ConflictError: naming the holder.
    """
    lease = holder(name)
    if lease is not None and lease.root not in instance.roots:
        raise ConflictError(
            f"{name} runs in one instance at a time: instance {lease.instance} ({lease.root}, pid {lease.pid}) has it",
            hint="stop it there with: inv dev.stop"
            + (f", or start {instance} with --no-{name}" if name in SWITCHES else ""),
        )


def take(name: str, instance: Instance, component: str, pid: int | None = None) -> None:
    """Take a lease for a component's process (None: this one, until the component's own runs).

    Raises:
        ConflictError: when another instance holds it.
    """
    pid = os.getpid() if pid is None else pid
    with locked(f"lease-{name}", timeout=LOCK_SECONDS):
        check(name, instance)
        lease = Lease(
            project=instance.project,
            instance=instance.id,
            root=str(instance.root),
            pid=pid,
            mark=start_mark(pid) or "",
            component=component,
        )
        write_private(_path(name), msgspec.json.encode(lease), durable=False)


def give_back(name: str, instance: Instance) -> None:
    """Let go of a lease that this instance holds."""
    with locked(f"lease-{name}", timeout=LOCK_SECONDS):
        lease = holder(name)
        if lease is None or lease.root in instance.roots:
            _path(name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    return state_dir() / "leases" / f"{name}.json"
