"""What a start knows, remembered until the next.

The services that it left out, its hooks' exports, and why it failed; its host name and servers, for those without its
settings.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

NAME = "last-start"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a start failed.

    Attributes:
        component: the component that failed; "" where it was none.
        what: the error, for people.
        hint: what to do about it.
        at: when, in seconds since the epoch.
        last_lines: the end of the component's log.
        exit_code: what the start ended with.
    """

    component: str
    what: str
    hint: str
    at: float
    last_lines: tuple[str, ...] = ()
    exit_code: int = 1


class LastStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found.

    Attributes:
        skipped: services that were not started, and why.
        exported: names of the variables that each hook exported; their values are not written down.
        hostname: of the instance.
        servers: names of its infrastructure, of which settings may have added some.
        failure: why it failed; None if it did not.
    """

    skipped: dict[str, str] = {}
    exported: dict[str, tuple[str, ...]] = {}
    hostname: str = ""
    servers: tuple[str, ...] = ()
    failure: Failure | None = None


def load(instance: Instance) -> LastStart:
    try:
        return msgspec.json.decode(read_small(_path(instance)), type=LastStart)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LastStart()


def save(instance: Instance, start: LastStart) -> None:
    if start != load(instance):
        write_private(_path(instance), msgspec.json.encode(start), durable=False)


def remember(instance: Instance, failure: Failure | None) -> None:
    """Note why a start failed; None when the next one begins. Where that cannot be noted, the start itself counts."""
    with suppress(OrienterError, OSError):
        if instance.pid_dir.is_dir():  # else the checkout was removed meanwhile
            known = {"hostname": instance.hostname, "servers": tuple(instance.infra)}
            save(instance, msgspec.structs.replace(load(instance), failure=failure, **known))


def _path(instance: Instance) -> Path:
    return instance.pid_dir / NAME
