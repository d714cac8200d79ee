"""The demo's instances and services, as its tests start and ask them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests import slot
from tests.demo.stores import ACCESS_KEY, PASSWORD, PATIENCE, SECRET_KEY, USER, client, connect, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.demo.stores import Stores

ROOT = Path(__file__).resolve().parents[2]
SERVICE_PORTS = ("DASHBOARD_PORT", "VITE_PORT", "OPENCODE_PORT", "WHATSAPP_PORT")


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, path: str, method: str = "GET", *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def send(self, path: str, document: object, method: str = "POST") -> Answer:
        return self.ask(path, method, body=json.dumps(document).encode(), headers={"Content-Type": "application/json"})

    @contextmanager
    def events(self) -> Iterator[http.client.HTTPResponse]:
        """Listen to /api/events; the answer's lines come as they are sent."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", "/api/events")
            with connection.getresponse() as response:
                yield response

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM and return the exit code and the seconds it took."""
        began = time.monotonic()
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE), time.monotonic() - began


@dataclass(frozen=True)
class Instance:
    """One instance's variables, and its services."""

    variables: dict[str, str]
    bucket: Path
    logs: Path
    services: ExitStack

    def migrate(self) -> subprocess.CompletedProcess[str]:
        return run("migrate", self.variables)

    def start(self, name: str, port_variable: str, ready: str, **changed: str) -> Service:
        """Start a service and wait until it answers on `ready`, whatever it says there."""
        log = self.logs / f"{name}.log"
        command = [sys.executable, "-m", f"examples.demo.{name}"]
        process = self.services.enter_context(running(command, log, cwd=ROOT, env={**self.variables, **changed}))
        service = Service(process, int(self.variables[port_variable]), log)
        wait_until(lambda: service.ask(ready).status, log)
        return service

    def dashboard(self, **changed: str) -> Service:
        return self.start("dashboard", "DASHBOARD_PORT", "/api/auth/validate", **changed)

    def frontend(self) -> Service:
        return self.start("frontend", "VITE_PORT", "/")


@contextmanager
def instance(instance_id: int, home: Path, stores: Stores) -> Iterator[Instance]:
    """Make an instance with an empty database and bucket; end what it started."""
    number = next(stores.numbers)
    database, bucket = f"demo_{number}", f"demo-{number}"
    with closing(connect(stores.database_port)) as connection:
        connection.run(f"CREATE DATABASE {database}")
    client(stores.s3_port).make_bucket(bucket)
    (home / "logs").mkdir()
    ports = {name: slot.port() for name in SERVICE_PORTS}
    variables = {
        "PATH": os.environ["PATH"],
        "AI_INSTANCE_ID": str(instance_id),
        "AI_INSTANCE_ROOT": str(home),
        "ORIENTER_BACKEND": "embedded",
        "NGINX_PORT": str(80 + 1000 * instance_id),
        **{name: str(port) for name, port in ports.items()},
        "POSTGRES_PORT": str(stores.database_port),
        "POSTGRES_DB": database,
        "DATABASE_URL": f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{stores.database_port}/{database}",
        "MINIO_API_PORT": str(stores.s3_port),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{stores.s3_port}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "S3_BUCKET": bucket,
        "DATA_DIR": str(home / "data"),
        "WHATSAPP_ENABLED": "false",
    }
    with ExitStack() as services:
        yield Instance(variables, stores.buckets / bucket, home / "logs", services)


def run(name: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of the demo's programs to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"examples.demo.{name}"],
        cwd=ROOT,
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
