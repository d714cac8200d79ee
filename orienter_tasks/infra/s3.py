"""The component minio: a real MinIO server if there is one, else rclone's S3 server behind a small nginx.

Of the S3 servers on PyPI, rclone was chosen because it checks signatures, keeps plain files, starts and stops in 0.1 s,
and needs one socket and about 45 MB. SeaweedFS (`weed mini`) is closer to S3 (it keeps metadata and supports policies)
but takes 1.2 s to start, 2.2 s to stop, 115 to 177 MB, and a dozen ports. JuiceFS's gateway is MinIO's code and keeps
metadata, but takes 120 to 135 MB and refuses the batch deletes of today's AWS SDKs. rclone's limits: objects lose
their Content-Type and metadata when its process ends, range requests get status 200, bucket policies and SigV2 links
are not supported, and an object cannot have others below its name.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients import sessions
from orienter_tasks.backends.clients.s3 import ensure_bucket, is_name
from orienter_tasks.backends.embedded import programs, user
from orienter_tasks.backends.embedded.component import NativeComponent
from orienter_tasks.backends.embedded.server import Launch, Server
from orienter_tasks.backends.embedded.version import version_of
from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.identity import replacing
from orienter_tasks.infra import s3_front
from orienter_tasks.infra.component import InfraComponent, ServerContents
from orienter_tasks.infra.nginx import nginx_launch, worker_user
from orienter_tasks.infra.s3_front import SOCKET
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir, write_private
from orienter_tasks.settings.catalog import MINIO
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.embedded.programs import StoreKind
    from orienter_tasks.backends.protocol import Inside, InstanceConfig
    from orienter_tasks.infra.copying import Copying
    from orienter_tasks.infra.portable import Portable
    from orienter_tasks.instance.variables import Variables
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Note

NAME, (FRONT,) = MINIO.name, MINIO.further_processes
MINIO_MARK = ".minio.sys"
DATA_IN_CONTAINER = "/data"
VERSION: Mapping[StoreKind, tuple[str, ...]] = {
    "minio": ("--version",),
    "rclone": ("version", "--config", os.devnull),  # else it makes ~/.config/rclone
}


def written_by(data: Path) -> StoreKind | None:
    """Return which kind of server wrote the objects in a directory; None if there are none."""
    try:
        names = os.listdir(data)  # noqa: PTH208 - one reading, since the mark may appear meanwhile
    except (FileNotFoundError, NotADirectoryError):
        return None
    if MINIO_MARK in names:
        return "minio"
    return "rclone" if names else None


class StorageComponent(InfraComponent):
    """The S3 store."""

    trace = "object"

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        del placed
        from orienter_tasks.backends.docker.spec import ContainerSpec, Mount, Port, common_fields, http_health

        variables, ports = config.variables, config.instance.ports
        return ContainerSpec(
            **common_fields(config, NAME),
            network=config.instance.network,
            environment={
                "MINIO_ROOT_USER": variables["MINIO_ROOT_USER"],
                "MINIO_ROOT_PASSWORD": variables["MINIO_ROOT_PASSWORD"],
                "MINIO_REGION": variables["AWS_REGION"],
            },
            ports=(Port(ports["minio_api"], 9000), Port(ports["minio_console"], 9001)),
            mounts=(Mount("volume", config.instance.volume(NAME), DATA_IN_CONTAINER),),
            command=(
                "server",
                replacing.path_in(DATA_IN_CONTAINER, config.instance, NAME),
                "--console-address",
                ":9001",
            ),
            # not every release of the image has curl
            health=http_health("9000/minio/health/live", otherwise="mc ready local"),
        )

    def native(self, config: InstanceConfig) -> NativeStore:
        return NativeStore(config)

    def copying(self) -> Copying:
        from orienter_tasks.infra.s3_copying import StorageCopying

        return StorageCopying(DATA_IN_CONTAINER, MINIO_MARK)

    def portable(self) -> Portable:
        from orienter_tasks.infra.s3_portable import StoragePortable

        return StoragePortable()

    def ready(self, config: InstanceConfig, inside: Inside) -> None:
        del inside
        ensure_bucket(config)

    def installed(self, settings: Settings) -> bool:
        return programs.find_store(settings) is not None

    def version(self, settings: Settings) -> str:
        store = programs.store(settings)
        return version_of(store.program, *VERSION[store.kind]).splitlines()[0]

    def login(self, config: InstanceConfig) -> str:
        bucket = config.variables["S3_BUCKET"]
        words = f"the S3 store answers on {config.instance.ports['minio_api']}: {bucket}"
        with sessions.store(config) as session:
            if bucket not in session.buckets():
                raise CheckError(f"{words} does not exist", hint="inv infra.up")
        return words

    def contents(self, config: InstanceConfig) -> ServerContents:
        with sessions.store(config) as session:
            names = tuple(session.buckets())
        return ServerContents(names, remedy="inspect bucket {name} from {root}, then remove it")

    def leave_trace(self, config: InstanceConfig, text: str) -> None:
        with sessions.store(config) as session:
            session.put(str(config.instance.id), text.encode())

    def traces(self, config: InstanceConfig) -> list[str]:
        with sessions.store(config) as session:
            return [session.get(name).decode() for name in session.objects()]

    def require_valid(self, variables: Variables) -> None:
        if not is_name(variables["S3_BUCKET"]):
            raise CheckError(f"{variables['S3_BUCKET']} is not a bucket name", hint="change S3_BUCKET in .env")

    def lacks(self, config: InstanceConfig) -> str:
        return "no console" if NativeStore(config).kind == "rclone" else ""

    def address(self, config: InstanceConfig) -> tuple[str, str]:
        return "s3", f"localhost:{config.instance.ports['minio_api']}, bucket {config.variables['S3_BUCKET']}"


class NativeStore(NativeComponent):
    """The S3 store of one instance, in its volume."""

    def __init__(self, config: InstanceConfig) -> None:
        super().__init__(config, NAME)
        self.front = Server(config.instance, FRONT, self.directory, config.settings.logs)

    @property
    def servers(self) -> Sequence[Server]:
        return (self.server, self.front)

    @property
    def serving(self) -> Sequence[Server]:
        return self.servers if self.kind == "rclone" else (self.server,)

    @property
    def kind(self) -> StoreKind:
        """The server that runs or would run."""
        return written_by(self.directory / "data") or self._installed

    @cached_property
    def _installed(self) -> StoreKind:
        return programs.store(self.config.settings).kind

    def launch(self, server: Server, note: Note) -> Launch:
        del note
        data = self.directory / "data"
        private_dir(data)
        if server is self.front:
            return self._front()
        store = programs.store(self.config.settings, written_by(data))
        return self._minio(store.program) if store.kind == "minio" else self._rclone(store.program)

    def ask(self) -> None:
        """Require the bucket, with the instance's credentials."""
        if self.front in self.serving and not (self.directory / SOCKET).exists():
            raise NotReadyError("rclone does not listen yet")
        ensure_bucket(self.config)

    def _minio(self, program: Path) -> Launch:
        variables, console = self.config.variables, self.config.instance.ports["minio_console"]
        addresses = ["--address", f"{LOOPBACK}:{self.port}", "--console-address", f"{LOOPBACK}:{console}"]
        env = {
            "MINIO_ROOT_USER": variables["AWS_ACCESS_KEY_ID"],
            "MINIO_ROOT_PASSWORD": variables["AWS_SECRET_ACCESS_KEY"],
            "MINIO_REGION": variables["AWS_REGION"],
            "MINIO_BROWSER": "on",
        }
        return self._launch("minio", program, ["server", str(self.directory / "data"), *addresses], env)

    def _rclone(self, program: Path) -> Launch:
        (self.directory / SOCKET).unlink(missing_ok=True)
        words = ["serve", "s3", "--config", os.devnull, "--addr", f"unix://{SOCKET}", "--cache-dir", "cache"]
        # so long may two requests in one directory hide an object
        words += ["--dir-cache-time", "2s"]
        # else rclone takes one name for another: U+240A for a line's end, and one Unicode normal form for the other
        words += ["--no-unicode-normalization", "--local-encoding", "Slash,Ctl,Del,Dot", "data"]
        return self._launch("rclone", program, words, {"RCLONE_AUTH_KEY": self._auth_key()})

    def _launch(self, kind: StoreKind, program: Path, words: Sequence[str], env: Mapping[str, str]) -> Launch:
        return Launch(program, VERSION[kind], [*user.prefix_for_port(self.port), str(program), *words], env)

    def _auth_key(self) -> str:
        """Return key and secret as one CSV field, as rclone reads them from its environment."""
        key, secret = self.config.variables["AWS_ACCESS_KEY_ID"], self.config.variables["AWS_SECRET_ACCESS_KEY"]
        for name, value in (("MINIO_ROOT_USER", key), ("MINIO_ROOT_PASSWORD", secret)):
            if not value or set(value) & set(",\r\n"):
                raise ConfigError(
                    f"{name} of {self.config.instance} is empty or contains a comma", hint="change it in .env"
                )
        return '"' + f"{key},{secret}".replace('"', '""') + '"'

    def _front(self) -> Launch:
        nginx = programs.nginx(self.config.settings)
        for path, text in s3_front.files(nginx, f"{LOOPBACK}:{self.port}", worker_user(self.port)).items():
            write_private(self.directory / path, text, durable=False)
        return nginx_launch(self.config.settings, s3_front.CONFIGURATION, self.port)
