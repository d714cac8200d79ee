"""A registry with one small image, on loopback, which Docker lets speak plain HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CHUNKS = 8
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), "amd64")


class Registry:
    """Serves `127.0.0.1:PORT/NAME:1`, its layer in some seconds."""

    def __init__(self, port: int, name: str, *, size: int, seconds: float) -> None:
        self.image = f"127.0.0.1:{port}/{name}:1"
        self.name = name
        self.seconds = seconds
        self.broken = False
        layer = _layer(size)
        config = {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Cmd": ["/none"], "Labels": {"io.orienter.test": name}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        self.blobs = {_digest(blob): blob for blob in (layer, json.dumps(config).encode())}
        self.layer, self.config = self.blobs
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._part("application/vnd.docker.container.image.v1+json", self.config),
                "layers": [self._part("application/vnd.docker.image.rootfs.diff.tar.gzip", self.layer)],
            }
        ).encode()

    def answer(self, path: str) -> bytes | None:
        """Return what lies under a path of the registry's API."""
        last = path.rpartition("/")[2]
        if path == "/v2/":
            return b"{}"
        if path == f"/v2/{self.name}/manifests/1" or last == _digest(self.manifest):
            return self.manifest
        return self.blobs.get(last)

    def parts(self, body: bytes) -> Iterator[bytes]:
        """Give the layer slowly, or wrong; everything else at once."""
        if body is not self.blobs[self.layer]:
            yield body
            return
        step = len(body) // CHUNKS + 1
        for start in range(0, len(body), step):
            data = body[start : start + step]
            yield b"\0" * len(data) if self.broken else data
            time.sleep(self.seconds / CHUNKS)

    def _part(self, media_type: str, digest: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": len(self.blobs[digest])}


@contextmanager
def serving(port: int, name: str, *, size: int = 4_000_000, seconds: float = 0.0) -> Iterator[Registry]:
    """Serve a registry as long as the context lasts."""
    registry = Registry(port, name, size=size, seconds=seconds)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            body = registry.answer(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", MANIFEST if body is registry.manifest else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            self.end_headers()
            if self.command == "GET":
                for part in registry.parts(body):
                    self.wfile.write(part)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Docker tries TLS first, and breaks off when it is told to."""

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _layer(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("none")
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()
