"""The shape of the `orienter:` section of invoke.yaml: frozen sections with their defaults.

`load_settings` makes a Settings of what the host wrote.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from orienter_tasks.settings.catalog import MINIO, NGINX, POSTGRES, awaited, entries, entry_of

PORT_STEP = 1000
HIGHEST_PORT = 65535
HIGHEST_ID = 56
WHATSAPP_SWITCH = "WHATSAPP_ENABLED"

BackendName = Literal["docker", "embedded"]
BackendChoice = Literal["auto", "docker", "embedded"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One mapping of the settings; unknown keys are refused."""


class Instances(Section, frozen=True):
    """How many instances there may be: ids 0 to `max`."""

    max: int = 9


class Database(Section, frozen=True):
    """PostgreSQL; `name` is the base to which the instance's id is added. `.env` outranks the first three.

    `extensions` are those that the server must be able to create; `icu` and `xml` are what it must be built with.
    """

    name: str = "whatsapp_bot"
    user: str = "aibot"
    password: str = "aibot"  # noqa: S105 - a development default on loopback; `.env` has the generated one
    extensions: tuple[str, ...] = ()


class Storage(Section, frozen=True):
    """The S3 store; `bucket` is the base to which the instance's id is added. `.env` outranks these.

    With `inherit_aws`, services get the user's AWS_PROFILE, session token and files of ~/.aws too.
    """

    bucket: str = "orienter-data"
    user: str = "minioadmin"
    password: str = "minioadmin"  # noqa: S105 - as above
    region: str = "us-east-1"
    inherit_aws: bool = False


class Docker(Section, frozen=True):
    """Images of the Docker backend, and how large a container's log may grow."""

    postgres: str = POSTGRES.image
    minio: str = MINIO.image
    nginx: str = NGINX.image
    log_max_size: str = "10m"
    log_max_file: int = 3

    def image(self, component: str) -> str:
        """Return the image of a component; that of one which a host has registered stands in its entry alone."""
        return str(getattr(self, component, entry_of(component).image))


class Embedded(Section, frozen=True):
    """Programs of the embedded backend; empty: the wheel's, else the one on PATH."""

    postgres_bin: str = ""
    minio: str = ""
    rclone: str = ""
    nginx: str = ""


class Nginx(Section, frozen=True):
    """The reverse proxy: its template, its network in Docker, the login page, an instance's name, and further ones."""

    template: str = "nginx-local.conf.j2"
    network: Literal["auto", "bridge", "host"] = "auto"
    login: str = "/dashboard/"
    hostname: str = "{project}-{id}.localhost"
    hosts: tuple[str, ...] = ()


class Timeouts(Section, frozen=True):
    """Seconds: until an infrastructure component is ready, for a graceful stop, and to wait for another start."""

    infra: float = 60.0
    stop: float = 10.0
    lock: float = 120.0


class Logs(Section, frozen=True):
    """How large a native process's log may grow (`50m`, as in Docker), and how many former ones are kept."""

    max_size: str = "50m"
    keep: int = 1

    @property
    def max_bytes(self) -> int:
        number, unit = (self.max_size[:-1], self.max_size[-1]) if self.max_size[-1:].isalpha() else (self.max_size, "")
        return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit]


class Ready(Section, frozen=True):
    """When a service counts as ready: HTTP 2xx or 3xx on a path, or a TCP accept on its port."""

    http: str = ""
    timeout: float = 60.0


class Service(Section, frozen=True):
    """A process of the host's own; see docs/settings.md for each key."""

    command: tuple[str, ...]
    port: str = ""
    ready: Ready = Ready()
    needs: tuple[str, ...] = ()
    cwd: str = "."
    env: dict[str, str] = {}
    copy_once: dict[str, str] = {}
    requires_env: tuple[str, ...] = ()
    enabled_by: str = ""
    lease: str = ""
    on_conflict: Literal["refuse", "skip"] = "refuse"
    log: str = ""
    on_exit: Literal["stop", "restart", "ignore"] = "stop"
    exposed: bool = False


class FormerHook(Section, frozen=True):
    """An entry of `before_services`: a hook that needs the servers and the hooks before it."""

    name: str
    command: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = {}
    creates: str | tuple[str, ...] = ()
    sources: str | tuple[str, ...] = ()
    services: tuple[str, ...] | None = None
    exports: bool = False
    optional: bool = False
    timeout: float = 600.0


class Hook(Section, frozen=True):
    """A command that runs to its end during a start; see docs/settings.md for each key."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    before: tuple[str, ...] | None = None
    cwd: str = "."
    env: dict[str, str] = {}
    once: Literal["start", "data"] = "start"
    creates: str | tuple[str, ...] = ()
    sources: str | tuple[str, ...] = ()
    exports: bool = False
    optional: bool = False
    timeout: float = 600.0


class WorktreeHook(Section, frozen=True):
    """A command that runs to its end when a worktree is made or removed, one after the other; see docs/settings.md."""

    name: str
    command: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = {}
    optional: bool = False
    timeout: float = 600.0


class Hooks(Section, frozen=True):
    """Commands that a start runs (`before_services` is the former list), and those of a new and a removed worktree."""

    start: tuple[Hook, ...] = ()
    before_services: tuple[FormerHook, ...] = ()
    worktree_new: tuple[WorktreeHook, ...] = ()
    worktree_rm: tuple[WorktreeHook, ...] = ()

    @property
    def of_worktrees(self) -> tuple[WorktreeHook, ...]:
        return (*self.worktree_new, *self.worktree_rm)


class Data(Section, frozen=True):
    """Where the data of a new instance comes from, and the files below DATA_DIR that are part of its data."""

    initial: str = "empty"
    paths: tuple[str, ...] = ()


class Worktrees(Section, frozen=True):
    """Where a new worktree goes, and which ignored files it gets a copy of, as patterns of .gitignore."""

    path: str = "~/claude-worktrees/{repo}/{name}"
    copy: tuple[str, ...] = ()


class ServerReady(Section, frozen=True):
    """When a further server is ready: HTTP 2xx or 3xx on a path, or an answer; on its port of that name, or the first.

    `send` is said to it, and `expect` must be in what it says; without any of them, it has to keep a connection open.
    """

    http: str = ""
    send: str = ""
    expect: str = ""
    port: str = ""


class FurtherServer(Section, frozen=True):
    """A further server of the infrastructure: what differs from a preset, or all of it; see docs/servers.md."""

    backend: BackendName | None = None
    image: str | tuple[str, ...] = ""
    program: str | tuple[str, ...] = ""
    port: int | dict[str, int] = 0
    ready: ServerReady = ServerReady()
    data: bool | str = False
    env: dict[str, str] = {}
    exports: dict[str, str] = {}


class Settings(Section, frozen=True):
    """Everything under `orienter:`."""

    project: str = "orienter"
    backend: BackendChoice = "auto"
    instances: Instances = Instances()
    ports: dict[str, int] = {}
    database: Database = Database()
    storage: Storage = Storage()
    docker: Docker = Docker()
    embedded: Embedded = Embedded()
    nginx: Nginx = Nginx()
    timeouts: Timeouts = Timeouts()
    logs: Logs = Logs()
    infra: dict[str, FurtherServer | None] = {}
    data: Data = Data()
    worktree: Worktrees = Worktrees()
    services: dict[str, Service] = {}
    hooks: Hooks = Hooks()

    @property
    def servers(self) -> list[str]:
        """The components of the infrastructure: with those that `infra` adds, without those that it drops."""
        return [entry.name for entry in entries() if self.infra.get(entry.name, not entry.further)]

    def own_backend(self, component: str) -> BackendName | None:
        """Return the backend that is set for a component alone."""
        server = self.infra.get(component)
        return server.backend if server is not None else None

    def hostname(self, instance_id: int) -> str:
        """Return the host name of an instance; "" where it has none."""
        return self.nginx.hostname.replace("{project}", _dns_label(self.project)).replace("{id}", str(instance_id))

    @property
    def all_hooks(self) -> list[Hook]:
        """All hooks, those of the former list first."""
        hooks: list[Hook] = []
        servers = [name for name in awaited() if name in self.servers]
        for entry in self.hooks.before_services:
            given = msgspec.structs.asdict(entry)
            before, earlier = given.pop("services"), [hook.name for hook in hooks]
            hooks.append(Hook(**given, needs=(*servers, *earlier), before=before))
        return [*hooks, *self.hooks.start]


def _dns_label(project: str) -> str:
    """Make a DNS label of a project's name; a changed name gets a checksum, so that no two projects share a label."""
    label = re.sub("[-_]+", "-", project).strip("-")  # two hyphens mark encoded names, such as xn--
    if label == project:
        return label
    from zlib import crc32

    return f"{label}-{crc32(project.encode()) & 0xFFFF:04x}"
