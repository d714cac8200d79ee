"""What a run of tests that was killed has left: found by the marks of its slot, and ended by the slot's next owner.

Nobody else works under a slot's marks while its lock is held (tests/slot.py), so what carries them is nobody's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

# the slot's number comes before any other (slot.project)
NAMES = re.compile(r"(my-)?orienter-(test|faults|e2e|small)(-[a-z]+)*-(?P<slot>\d+)-")


def resources(api: Any) -> Iterator[tuple[str, str]]:
    """Return kind and name of what tests have on an engine: containers first, which hold the others."""
    found = [("container", name.strip("/")) for one in api.containers(all=True) for name in one["Names"]]
    found += [("network", one["Name"]) for one in api.networks()]
    found += [("volume", one["Name"]) for one in api.volumes()["Volumes"] or ()]
    return ((kind, name) for kind, name in found if NAMES.match(name))


def remove(api: Any, kind: str, name: str) -> None:
    """Remove one of them."""
    if kind == "container":
        api.remove_container(name, force=True, v=True)
    elif kind == "network":
        api.remove_network(name)
    else:
        api.remove_volume(name, force=True)


@functools.cache
def end_processes() -> None:
    """End what was started by another run with this process's slot: by its environment, or a server by its port."""
    from tests import slot

    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marked = process.environ().get(slot.MARK) == str(slot.NUMBER)
            if process.pid not in mine | children and (marked or _serves_slot(process)):
                process.kill()


def _serves_slot(process: psutil.Process) -> bool:
    """Whether it listens on a port of this slot and works below a directory of pytest's."""
    from tests import slot

    if "/pytest-of-" not in process.cwd():
        return False
    listening = (found.laddr.port for found in process.net_connections("tcp") if found.status == psutil.CONN_LISTEN)
    return any(port % 1000 in slot.DIGITS for port in listening)


@functools.cache
def remove_resources() -> None:
    """Remove what the engine has under the names of this process's slot."""
    import docker

    from tests import slot

    with contextlib.closing(docker.from_env()) as client:
        for kind, name in resources(client.api):
            matched = NAMES.match(name)
            if matched is not None and int(matched["slot"]) == slot.NUMBER:
                remove(client.api, kind, name)
