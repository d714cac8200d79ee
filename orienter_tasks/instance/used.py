"""When a command of ours that needs no start last used an instance: the time of an empty file in DATA_DIR."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance

NAME = "used"


def touch(instance: Instance) -> None:
    """Note that it is used now; without a word where that cannot be written, or nothing was ever started."""
    with suppress(OSError):
        (instance.data_dir / NAME).touch(0o600)


def touched(instance: Instance) -> float:
    """Return when it was, in seconds since the epoch; 0 if it was never noted."""
    try:
        return os.stat(instance.data_dir / NAME).st_mtime  # noqa: PTH116 - every listing asks for it
    except OSError:
        return 0.0
