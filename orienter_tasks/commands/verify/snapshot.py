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

    Attributes:
        system_identifier: made by initdb; data directories that were copied from one template have the same.
        started_at: when its postmaster started, to the microsecond.
        data_directory: the path of its files as it sees them.
        databases: all of its databases.
    """

    system_identifier: str
    started_at: str
    data_directory: str
    databases: tuple[str, ...]

    @property
    def key(self) -> str:
        """What no other server has."""
        return f"{self.system_identifier} started {self.started_at}"


@dataclass(frozen=True)
class DataLocation:
    """Where an instance keeps files.

    Attributes:
        component: whose files.
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
    """A process or container of an instance.

    Attributes:
        key: pid or container id.
        component: what it is part of.
        description: for people.
        wrong: variables that it lacks or has differently: `POSTGRES_DB=whatsapp_bot_0`, `AI_INSTANCE_ID missing`.
    """

    key: str
    component: str
    description: str
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A Docker network that containers of an instance are on.

    Attributes:
        id: the engine's id.
        name: its name.
        own: whether it is the instance's own.
        members: the names of all containers on it.
        strangers: those of them that are not the instance's.
    """

    id: str
    name: str
    own: bool
    members: tuple[str, ...]
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What was seen of one running instance.

    Attributes:
        instance: which.
        backend: docker or embedded.
        database: the name of its own database.
        bucket: the name of its own bucket.
        cluster: its PostgreSQL; None: not running, or not seen.
        buckets: what its S3 store has; None as above.
        networks: the Docker networks of its containers.
        locations: where its data is.
        listening: ports of its own that its own components listen on.
        taken: ports of its own that somebody else listens on, with who.
        workloads: its processes and containers.
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
