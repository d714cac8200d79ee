"""The component minio: a real MinIO server where there is one, else rclone's S3 server behind a small nginx.

rclone is chosen among what PyPI has as programs because it checks signatures, keeps plain files, needs one socket and
about 45 MB. SeaweedFS behaves more like S3 (it keeps metadata and knows policies) but takes 180 to 210 MB, 2.5 s to
stop, and a dozen more TCP ports that ask for no password; JuiceFS's gateway is MinIO's own code and keeps metadata,
but takes 120 to 135 MB and refuses the batch deletes of today's AWS SDKs. What rclone lacks: Content-Type and metadata
of objects do not outlive its process, a part of an object comes with status 200, and there are no bucket policies and
no SigV2 links.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.s3 import ensure_bucket
from orienter_tasks.backends.embedded import programs as binaries
from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS, Launch, Server
from orienter_tasks.backends.embedded.user import prefix_for_port
from orienter_tasks.errors import ConfigError, OrienterError
from orienter_tasks.infra.nginx import launch_of, worker_user
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.machine.state import private_dir, write_private
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.stack.component import LogRequest, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.embedded.programs import StoreKind
    from orienter_tasks.backends.protocol import InstanceConfig, Standing
    from orienter_tasks.stack.component import Note

FRONT = "minio-front"
SOCKET = "s3.sock"
MINIO_MARK = ".minio.sys"

# rclone's errors are text/xml, which minio-py takes for no answer of S3's; everything else passes as it is.
# All paths are relative to the working directory: a socket's may have no more than 103 bytes.
FRONT_CONF = """\
{user}
pid front/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{
    worker_connections 512;
}}
http {{
    access_log off;
    client_body_temp_path front/client_body;
    proxy_temp_path front/proxy;
    fastcgi_temp_path front/fastcgi;
    uwsgi_temp_path front/uwsgi;
    scgi_temp_path front/scgi;
    map "$upstream_status $upstream_http_content_type" $s3_type {{
        default $upstream_http_content_type;
        "~^[345].. text/xml" application/xml;
    }}
    server {{
        listen {listen};
        client_max_body_size 0;
        client_body_timeout 1h;
        send_timeout 1h;
        large_client_header_buffers 8 32k;
        ignore_invalid_headers off;
        underscores_in_headers on;
        merge_slashes off;
        location / {{
            proxy_pass http://unix:{socket}:;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_hide_header Content-Type;
            add_header Content-Type $s3_type always;
        }}
    }}
}}
"""


def written_by(data: Path) -> StoreKind | None:
    """Say which kind of server wrote the objects in a directory; None when there are none."""
    try:
        names = os.listdir(data)  # noqa: PTH208 - one reading: the mark may be made at this moment
    except (FileNotFoundError, NotADirectoryError):
        return None
    if MINIO_MARK in names:
        return "minio"
    return "rclone" if names else None


class StorageComponent:
    """The S3 store of one instance, in DATA_DIR/minio."""

    name = "minio"
    needs: Sequence[str] = ()

    def __init__(self, config: InstanceConfig) -> None:
        self.timeout = config.settings.timeouts.infra
        self.directory = config.instance.data_dir / "minio"
        self.server = Server(config.instance, self.name, self.directory)
        self.front = Server(config.instance, FRONT, self.directory)
        self._config = config

    @property
    def kind(self) -> StoreKind:
        """Which server serves, or would."""
        return written_by(self.directory / "data") or binaries.store(self._config.settings).kind

    def start(self, note: Note) -> bool:  # noqa: ARG002 - it is too quick for words
        """Start the server, and the nginx in front of rclone; each only when it does not run."""
        servers = (self.server, self.front) if self.kind == "rclone" else (self.server,)
        missing = [server for server in servers if server.pid is None]
        launches = [(server, self._launch(server)) for server in missing]
        for server in missing:
            server.stop(LEFTOVER_SECONDS)
        try:
            for server, launch in launches:
                server.launch(launch)
        except OrienterError:
            for server in missing:
                server.stop(LEFTOVER_SECONDS)
            raise
        return bool(missing)

    def probe(self) -> None:
        """Require that our own process has the port, and that the bucket answers to the instance's credentials."""
        public = self.front if self.kind == "rclone" else self.server
        self._require_alive(public)
        if public is self.front and not (self.directory / SOCKET).exists():
            raise NotReadyError("rclone does not listen yet")
        port = self._config.instance.ports["minio_api"]
        pid = public.pid
        if pid is None or port not in listening_ports([pid]):
            raise NotReadyError(f"{public.name} does not listen on port {port} yet")
        ensure_bucket(self._config)
        self._require_alive(public)

    def stop(self, grace: float) -> None:
        """Stop the front, then the server; data is kept."""
        try:
            self.front.stop(grace)
        finally:
            self.server.stop(grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Read the server's log file."""
        return self.server.lines(request)

    def standing(self) -> Standing:
        """What it is doing; half of it is as much as running, for it is to be stopped."""
        port = self._config.instance.ports["minio_api"]
        if written_by(self.directory / "data") == "minio":
            return self.server.standing(self.name, f"MinIO, port {port}")
        if self.front.pid is None:
            return self.server.standing(self.name, "rclone without the nginx in front of it: run inv infra.up")
        if self.server.pid is None:
            return self.front.standing(self.name, "nginx without the rclone behind it: run inv infra.up")
        return self.server.standing(self.name, f"rclone, port {port}; it has no console")

    def _require_alive(self, public: Server) -> None:
        self.server.require_alive()
        public.require_alive()

    def _launch(self, server: Server) -> Launch:
        data = self.directory / "data"
        for directory in (self._config.instance.data_dir, self.directory, data):
            private_dir(directory)
        if server is self.front:
            return self._front()
        store = binaries.store(self._config.settings, written_by(data))
        return self._minio(store.program) if store.kind == "minio" else self._rclone(store.program)

    @property
    def _prefix(self) -> Sequence[str]:
        return prefix_for_port(self._config.instance.ports["minio_api"])

    def _minio(self, program: Path) -> Launch:
        variables, port = self._config.variables, self._config.instance.ports
        addresses = ["--address", f"{LOOPBACK}:{port['minio_api']}"]
        if "minio_console" in port:
            addresses += ["--console-address", f"{LOOPBACK}:{port['minio_console']}"]
        return Launch(
            binary=program,
            version=("--version",),
            command=[*self._prefix, str(program), "server", str(self.directory / "data"), *addresses],
            env={
                "MINIO_ROOT_USER": variables["AWS_ACCESS_KEY_ID"],
                "MINIO_ROOT_PASSWORD": variables["AWS_SECRET_ACCESS_KEY"],
                "MINIO_REGION": variables["AWS_REGION"],
                "MINIO_BROWSER": "on" if "minio_console" in port else "off",
            },
        )

    def _rclone(self, program: Path) -> Launch:
        (self.directory / SOCKET).unlink(missing_ok=True)
        words = ["serve", "s3", "--config", os.devnull, "--addr", f"unix://{SOCKET}", "--cache-dir", "cache", "data"]
        return Launch(
            binary=program,
            version=("version",),
            command=[*self._prefix, str(program), *words],
            env={"RCLONE_AUTH_KEY": self._auth_key()},
        )

    def _auth_key(self) -> str:
        """The pair as one field of CSV, which is how rclone reads it from its environment."""
        key, secret = self._config.variables["AWS_ACCESS_KEY_ID"], self._config.variables["AWS_SECRET_ACCESS_KEY"]
        for name, value in (("MINIO_ROOT_USER", key), ("MINIO_ROOT_PASSWORD", secret)):
            if not value or set(value) & set(",\r\n"):
                raise ConfigError(
                    f"{name} of {self._config.instance} is empty or holds a comma", hint="change it in .env"
                )
        return '"' + f"{key},{secret}".replace('"', '""') + '"'

    def _front(self) -> Launch:
        port = self._config.instance.ports["minio_api"]
        program, workers = binaries.nginx(self._config.settings), worker_user(port)
        listen = f"{LOOPBACK}:{port}"
        text = FRONT_CONF.format(listen=listen, socket=SOCKET, user=f"user {workers};" if workers else "")
        write_private(self.directory / "front" / "nginx.conf", text, durable=False)
        return launch_of(program, self.directory, "front/nginx.conf", port)
