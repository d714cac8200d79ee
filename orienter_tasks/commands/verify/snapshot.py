"""What a running instance was found to use, as data."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.infra.component import ServerContents
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.instance.model import Instance


class DataLocation(msgspec.Struct, frozen=True, dict=True):
    """Where a component of an instance keeps files.

    Attributes:
        source: the directory's path or the volume's name.
        key: the same for the same files under whatever path: device and inode, or the volume's name.
        own: whether the instance is meant to have it.
        data: whether it holds data: two instances may not share it.
    """

    component: str
    source: str
    key: str
    own: bool
    data: bool = True

    @cached_property
    def real(self) -> str:
        """The directory's path without symbolic links."""
        return os.path.realpath(self.source)


class Workload(msgspec.Struct, frozen=True):
    """A process or container of an instance, by its pid or container id.

    `wrong` are variables that it lacks or has differently: `POSTGRES_DB=whatsapp_bot_0`, `AI_INSTANCE_ID missing`.
    """

    key: str
    component: str
    description: str
    wrong: tuple[str, ...] = ()


class Network(msgspec.Struct, frozen=True):
    """A Docker network that containers of an instance are on; `outsiders` are its other members."""

    id: str
    name: str
    own: bool
    members: tuple[str, ...]
    outsiders: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True):
    """What was found of one running instance.

    Attributes:
        own: the instance's own database, bucket and so on, by topic, with what separates its base from the id.
        contents: what its servers hold, by topic; without those that do not run, or were not seen.
        listening: ports of its own that its own components listen on.
        taken: ports of its own that somebody else listens on, with who.
        calls: ports of this machine that its processes are connected to, with the calling process.
        written: files that its services have open for writing, by device and inode, with who.
        absent: topics with nothing to see, and why.
        unseen: topics that could not be seen, and why.
    """

    instance: Instance
    backends: Backends
    own: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    contents: Mapping[str, ServerContents] = msgspec.field(default_factory=dict)
    networks: Sequence[Network] = ()
    locations: Sequence[DataLocation] = ()
    listening: Sequence[int] = ()
    taken: Mapping[int, str] = msgspec.field(default_factory=dict)
    workloads: Sequence[Workload] = ()
    calls: Mapping[int, str] = msgspec.field(default_factory=dict)
    written: Mapping[str, str] = msgspec.field(default_factory=dict)
    absent: Mapping[str, str] = msgspec.field(default_factory=dict)
    unseen: Mapping[str, str] = msgspec.field(default_factory=dict)
