"""The one place where tests make hosts: a repository with tasks.py and invoke.yaml, worktrees, and the real `inv`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orienter_tasks.identity.claims import Claims, of_claim
from tests import slot
from tests.configs import merged
from tests.integration import warm
from tests.integration.left import docker_of, processes_of
from tests.integration.warm import USUAL
from tests.repositories import IGNORED, git, make_repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).with_name("inv")
SECONDS = 180.0
IMAGES = os.environ.get("ORIENTER_TEST_IMAGES", "orienter-test")
TEST_IMAGES = {
    "postgres": f"{IMAGES}/postgres:local",
    "minio": f"{IMAGES}/s3:local",
    "nginx": f"{IMAGES}/nginx:local",
}
TASKS = 'from orienter_tasks import ns\n\n__all__ = ["ns"]\n'
DEMO = {name: REPOSITORY / name for name in ("examples", "tasks.py", ".env.example", ".gitignore")}


@dataclass(frozen=True)
class Answer:
    """What a run of `inv` gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass(frozen=True)
class Checkout:
    """A checkout of a host."""

    path: Path
    environ: dict[str, str] = field(repr=False)

    def start(self, *words: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        """Start `inv` and return without waiting for its end."""
        return self._start(words, cwd or self.path, {**self.environ, **env}, subprocess.DEVNULL)

    def inv(self, *words: str, code: int | None = 0, cwd: Path | None = None, **env: str) -> Answer:
        """Run `inv` to its end; `code` is the exit code it must have, None for any."""
        environ = {**self.environ, **env}
        answer = (self.warm if warm.suits(environ) else self.cold)(words, cwd or self.path, environ)
        assert "Traceback" not in answer.err, str(answer)
        assert code is None or answer.code == code, str(answer)
        return answer

    def typed(self, text: str, *words: str) -> Answer:
        """Run `inv` at a terminal and answer its question."""
        mine, its = pty.openpty()
        try:
            with self._start(words, self.path, self.environ, its) as process:
                os.write(mine, text.encode() + b"\n")
                out, err = process.communicate(timeout=60)
        finally:
            os.close(mine)
            os.close(its)
        assert "Traceback" not in err, err
        return Answer(process.returncode, out, err)

    @staticmethod
    def warm(words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Answer:
        """Run `inv` in a fork of a process that has imported it."""
        return Answer(*warm.run([str(INV), *words], cwd, environ, SECONDS))

    def cold(self, words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Answer:
        """Run `inv` in a new process."""
        with self._start(words, cwd, environ, subprocess.DEVNULL) as process:
            try:
                out, err = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Answer(process.returncode, out, err)

    @staticmethod
    def _start(words: Sequence[str], cwd: Path, environ: Mapping[str, str], stdin: int) -> subprocess.Popen[str]:
        command, pipe = [str(INV), *words], subprocess.PIPE
        return subprocess.Popen(command, cwd=cwd, env=environ, stdin=stdin, stdout=pipe, stderr=pipe, text=True)

    def works_in(self, component: str) -> Path:
        """The directory in which an embedded server of it works, also before it was first started."""
        state = Path(self.environ["ORIENTER_STATE_DIR"])
        (claim,) = [claim for claim in Claims(state).read() if claim.root == str(self.path)]
        instance = of_claim(claim)
        return state / "volumes" / claim.project / claim.token / instance.volume(component) / "data"

    @property
    def variables(self) -> dict[str, str]:
        """What `inv env.export` gives."""
        return dict(self.inv("env.export", "--format", "json").json)

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Ask the instance's page, through nginx."""
        url = f"http://127.0.0.1:{self._page_port()}{path}"
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())

    def _page_port(self) -> str:
        """NGINX_PORT, asked for once, as long as the checkout says the same of its id and ports."""
        files = [self.path / name for name in (".env", "invoke.yaml")]
        texts = [path.read_text(encoding="utf-8") if path.is_file() else "" for path in files]
        asked = (self.path, self.environ.get("AI_INSTANCE_ID", ""), *texts)
        if asked not in _PAGE_PORTS:
            _PAGE_PORTS[asked] = self.variables["NGINX_PORT"]
        return _PAGE_PORTS[asked]

    def get(self, path: str) -> Any:
        """GET JSON."""
        return json.loads(self.request("GET", path))

    def note(self, text: str) -> int:
        """Write a note; return its id."""
        return int(json.loads(self.request("POST", "/api/notes", json.dumps({"text": text}).encode()))["id"])

    def notes(self) -> list[str]:
        """Return the texts of the notes."""
        return [note["text"] for note in self.get("/api/notes")["notes"]]

    def answers(self) -> bool:
        """Say whether anything answers on the page's port."""
        try:
            self.request("GET", "/health")
        except (urllib.error.URLError, OSError):
            return False
        return True


_PAGE_PORTS: dict[tuple[object, ...], str] = {}  # as every question to `inv` costs a moment


class Host:
    """A git repository that is a host, with worktrees, and the real `inv` in each of them."""

    def __init__(
        self,
        directory: Path,
        backend: str,
        settings: Mapping[str, Any],
        files: Mapping[str, str | Path] | None = None,
        *,
        main: str = "code/orienter",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make its main checkout; `settings` are what stands below `orienter:`, `backend` may be "" for none."""
        self.directory = directory
        self.backend = backend
        self.settings = settings
        self.project = str(settings.get("project", ""))
        self.environ = {
            **os.environ,
            "PATH": f"{INV.parent}{os.pathsep}{os.environ['PATH']}",
            **USUAL,
            **({"ORIENTER_BACKEND": backend} if backend else {}),
            **(environ or {}),
        }
        self.checkouts: list[Checkout] = []
        written = {"tasks.py": TASKS, ".gitignore": IGNORED, "invoke.yaml": self._written(), **(files or {})}
        self.main = self._checkout(make_repository(directory / main, written))

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()

    def worktree(self, path: Path) -> Checkout:
        """Add a linked worktree."""
        branch = f"branch-{len(self.checkouts)}"
        self.git("worktree", "add", "--quiet", "-b", branch, str(path))
        return self._checkout(path)

    def git(self, *words: str) -> None:
        """Run git in the main checkout."""
        git(self.main.path, *words)

    def configure(self, checkout: Checkout, **changes: Any) -> None:
        """Change keys below `orienter:` in a checkout's invoke.yaml (JSON is YAML)."""
        settings = json.loads((checkout.path / "invoke.yaml").read_text())
        self.rewrite(checkout, json.dumps({**settings, "orienter": merged(settings["orienter"], changes)}))

    def rewrite(self, checkout: Checkout, text: str) -> None:
        """Give a checkout quite another invoke.yaml."""
        (checkout.path / "invoke.yaml").write_text(text, encoding="utf-8")

    def clean_up(self) -> None:
        """Stop and remove everything through the tool itself; end what is left anyway, and complain."""
        used = [checkout for checkout in self.checkouts if (checkout.path / ".dev-data").is_dir()]
        if not self._stop(used) and not self.left():  # with what the test has made of the settings
            return
        try:
            for checkout in used:
                self.rewrite(checkout, self._written())
            complaints = self._stop(used)
            assert not complaints, "\n".join(complaints)
            assert not self.left(), self.left()
        finally:
            self._sweep()

    def left(self) -> list[str]:
        """Name every process, container, network and volume of the checkouts."""
        kinds = ("container", "network", "volume") if self.backend == "docker" and self._used_or_gone() else ()
        return [
            line
            for checkout in self.checkouts
            for line in (*processes_of(checkout), *(docker_of(checkout, *kinds) if kinds else ()))
        ]

    def _used_or_gone(self) -> bool:
        """Whether there may be Docker resources; where nothing was started, there may be no engine to ask."""
        return any((each.path / ".dev-data").is_dir() or not each.path.exists() for each in self.checkouts)

    def _stop(self, checkouts: Sequence[Checkout]) -> list[str]:
        answers = [each.inv("dev.stop", "--force", "--volumes", "--yes", code=None) for each in checkouts]
        return [str(answer) for answer in answers if answer.code != 0]

    def _sweep(self) -> None:
        for line in self.left():
            kind, name, *_ = line.split()
            if kind.isdecimal():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(kind), signal.SIGKILL)
            else:
                words = {"container": ["rm", "-fv"], "network": ["network", "rm"], "volume": ["volume", "rm"]}[kind]
                subprocess.run(["docker", *words, name], capture_output=True, check=False)

    def _written(self) -> str:
        return json.dumps({"orienter": self.settings})

    def _checkout(self, path: Path) -> Checkout:
        self.checkouts.append(Checkout(path, self.environ))
        return self.checkouts[-1]


def demo_settings(project: str) -> dict[str, Any]:
    """Settings of the demo application, on test ports and test images."""
    names = ("frontend", "dashboard", "opencode", "whatsapp", "slack")
    migrate = {"name": "migrate", "command": ["${PYTHON}", "-m", "examples.demo.migrate"]}
    return {
        "project": project,
        "ports": slot.bases(),
        "services": {name: {"command": ["${PYTHON}", "-m", f"examples.demo.{name}"]} for name in names},
        "hooks": {"before_services": [migrate]},
        "docker": TEST_IMAGES,
    }


def demo_host(directory: Path, backend: str, project: str, **orienter: Any) -> Host:
    """A host with the demo application and this repository's own tasks.py."""
    return Host(directory, backend, {**demo_settings(project), **orienter}, DEMO)
