"""Whether an engine is on this machine: its published ports are then ours, and so are the directories that it mounts.

A local socket proves nothing: it may be forwarded from another machine. Its own id proves nothing either: copies of a
virtual machine have the same. What proves it is that the bridge of one of its networks is an interface here, or that a
port that a container publishes is then taken here. That is asked once for each engine and socket.
"""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import BackendError, OrienterError
from orienter_tasks.machine import ports
from orienter_tasks.machine.state import state_dir, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.docker.engine import Engine

INTERFACES = Path("/sys/class/net")
PROBE_SECONDS = 3.0


def require(engine: Engine, published: Callable[[int], bool]) -> None:
    """Require that an engine is on this machine; `published` tries whether a free port can be published here.

    Raises:
        BackendError: it is not, or that cannot be proved.
    """
    with engine.proving:
        if is_known(engine):
            return
        if published(ports.any_free()):
            write_private(_stamp(engine), "", durable=False)
            return
    raise BackendError(
        f"the Docker engine at {engine.endpoint} is not on this machine: a port that its container publishes is not "
        "taken here",
        hint="if its socket is forwarded from another machine: DOCKER_HOST=ssh://USER@BOX",
    )


def is_known(engine: Engine) -> bool:
    """Whether an engine is known to be on this machine, without making anything."""
    if engine.endpoint.is_remote:
        return False
    if _stamp(engine).exists():
        return True
    if not _has_bridge_here(engine):
        return False
    with suppress(OrienterError):
        write_private(_stamp(engine), "", durable=False)
    return True


def directory_of(engine: Engine) -> Path | None:
    """Return where an engine keeps everything, if that is on this machine."""
    there = engine.facts.native and engine.facts.directory
    return Path(engine.facts.directory) if there and is_known(engine) else None


def _has_bridge_here(engine: Engine) -> bool:
    """Whether this machine has the interface of one of the engine's own networks, which is named by a random id."""
    if platform.system() != "Linux":
        return False
    with engine.talking("list networks"):
        found = engine.reader.networks(filters={"driver": ["bridge"]})
    return any((INTERFACES / f"br-{each['Id'][:12]}").exists() for each in found)


def _stamp(engine: Engine) -> Path:
    """Return the file that says that this engine was found here; another socket at the same place has another."""
    socket = ""
    if engine.endpoint.socket_path:
        with suppress(OSError):
            found = os.stat(engine.endpoint.socket_path)  # noqa: PTH116 - it may be anything
            socket = f"{found.st_dev} {found.st_ino} {found.st_ctime_ns}"
    words = f"{engine.endpoint.url}\n{engine.facts.id}\n{socket}"
    return state_dir() / "engines" / hashlib.sha256(words.encode()).hexdigest()[:24]
