"""What a running instance was seen to use. Data; nothing here looks or judges."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.instance.model import Instance


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL server, as it describes itself.

    Data directories that were copied from one template have the same system identifier.
    """

    system_identifier: str
    started_at: str  # to the microsecond
    data_directory: str  # as the server sees it
    databases: tuple[str, ...]

    @property
    def key(self) -> str:
        """What no other server has."""
        return f"{self.system_identifier} started {self.started_at}"


@dataclass(frozen=True)
class DataLocation:
    """Where a component of an instance keeps files.

    Attributes:
        source: the directory's path or the volume's name.
        key: the same for the same files under whatever path: device and inode, or the volume's name.
        own: whether it is one that the instance is to have.
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


@dataclass(frozen=True)
class Workload:
    """A process or container of an instance, by its pid or container id.

    `wrong` are variables that it lacks or has differently: `POSTGRES_DB=whatsapp_bot_0`, `AI_INSTANCE_ID missing`.
    """

    key: str
    component: str
    description: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A Docker network that containers of an instance are on; its strangers are members that are not the instance's."""

    id: str
    name: str
    own: bool
    members: tuple[str, ...]
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What was seen of one running instance.

    Attributes:
        cluster: None: not running, or not seen; so are `buckets`.
        listening: ports of its own that its own components listen on.
        taken: ports of its own that somebody else listens on, with who.
        calls: ports of this machine that its processes are connected to, with the calling process.
        absent: topics with nothing to see, and why.
        unseen: topics that could not be seen, and why.
    """

    instance: Instance
    backend: str
    database: str
    bucket: str
    cluster: Cluster | None = None
    buckets: tuple[str, ...] | None = None
    networks: Sequence[Network] = ()
    locations: Sequence[DataLocation] = ()
    listening: Sequence[int] = ()
    taken: Mapping[int, str] = field(default_factory=dict)
    workloads: Sequence[Workload] = ()
    calls: Mapping[int, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)
