"""What a container's memory is charged with, read from the kernel: the engine's own statistics take a second."""

from __future__ import annotations

from pathlib import Path

_FILES = (
    "/sys/fs/cgroup/system.slice/docker-{id}.scope/memory.current",
    "/sys/fs/cgroup/docker/{id}/memory.current",
    "/sys/fs/cgroup/memory/docker/{id}/memory.usage_in_bytes",
    "/sys/fs/cgroup/memory/system.slice/docker-{id}.scope/memory.usage_in_bytes",
)
_CACHE_KEYS = ("inactive_file", "total_inactive_file")


def charged(container_id: str) -> int | None:
    """Return a running container's memory in bytes, without the page cache that the kernel may drop.

    None where it cannot be read: an engine in a virtual machine, or of another user.
    """
    for pattern in _FILES:
        path = Path(pattern.format(id=container_id))
        try:
            used = int(path.read_text(encoding="ascii"))
            return max(0, used - _droppable(path.with_name("memory.stat")))
        except (OSError, ValueError):
            continue
    return None


def _droppable(stat: Path) -> int:
    values = dict(line.split() for line in stat.read_text(encoding="ascii").splitlines())
    return max((int(values[key]) for key in _CACHE_KEYS if key in values), default=0)
