"""When nginx last had a request from somebody: a file's time of modification. The main template says what counts.

Apart from the rest, since every listing of instances asks for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orienter_tasks.machine.files import read_small

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance

MAIN = "nginx.conf"
NATIVE = "runtime/requests"
IN_CONTAINER = "/tmp/requests"  # noqa: S108 - within the container
OWN = r"\b(access_log|limit_req)"  # in a host's own template: they would replace ours, and ours would change theirs
MARK = b"zone=noted"
EVERY = 10.0  # seconds in which at most one request is noted


def are_noted(instance: Instance) -> bool:
    """Whether nginx notes requests with the configuration in use: an older version's, or a host's own, may not."""
    try:
        return MARK in read_small(instance.nginx_dir / MAIN)
    except OSError:
        return False


def latest(modified: float, size: int) -> float:
    """Return until when there may have been requests: until nginx was started, if none is noted in the file."""
    return modified + EVERY if size else modified


def native(instance: Instance) -> float | None:
    """Return the same of a native nginx; None where that is not known."""
    try:
        found = os.stat(instance.nginx_dir / NATIVE)  # noqa: PTH116 - as quick as can be
    except OSError:
        return None
    return latest(found.st_mtime, found.st_size)


def forget(instance: Instance) -> None:
    """Remove the file of a native nginx, which is about to start and makes a new one: so it never gets large."""
    (instance.nginx_dir / NATIVE).unlink(missing_ok=True)
