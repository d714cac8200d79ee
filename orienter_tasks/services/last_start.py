"""What only a start knows, remembered until the next one: which services it left out, and what its hooks exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

NAME = "last-start"


class LastStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found.

    Attributes:
        skipped: services that were not started, and why.
        exported: names of the variables that each hook exported; their values are not written down.
    """

    skipped: dict[str, str] = {}
    exported: dict[str, tuple[str, ...]] = {}


def load(instance: Instance) -> LastStart:
    try:
        return msgspec.json.decode(read_small(_path(instance)), type=LastStart)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LastStart()


def save(instance: Instance, start: LastStart) -> None:
    if start != load(instance):
        write_private(_path(instance), msgspec.json.encode(start), durable=False)


def _path(instance: Instance) -> Path:
    return instance.pid_dir / NAME
