"""Real checkouts of a host like this repository, driven by the real `inv` as a subprocess."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import slot

REPOSITORY = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).with_name("inv")
IMAGES = os.environ.get("ORIENTER_TEST_IMAGES", "orienter-test")


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
        return subprocess.Popen(
            [str(INV), *words],
            cwd=cwd or self.path,
            env={**self.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def inv(self, *words: str, code: int | None = 0, cwd: Path | None = None, **env: str) -> Answer:
        """Run `inv` to its end; `code` is the exit code it must have, None for any."""
        with self.start(*words, cwd=cwd, **env) as process:
            try:
                out, err = process.communicate(timeout=180)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        answer = Answer(process.returncode, out, err)
        assert "Traceback" not in err, str(answer)
        assert code is None or answer.code == code, str(answer)
        return answer

    @property
    def variables(self) -> dict[str, str]:
        """What `inv env.export` gives."""
        return dict(self.inv("env.export", "--format", "json").json)

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """Ask the instance's page, through nginx."""
        url = f"http://127.0.0.1:{self.variables['NGINX_PORT']}{path}"
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())

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


class Host:
    """A git repository with the demo application as its services, and worktrees of it."""

    def __init__(self, directory: Path, project: str, backend: str) -> None:
        self.directory = directory
        self.project = project
        self.backend = backend
        self.environ = {
            **os.environ,
            "PATH": f"{INV.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ORIENTER_BACKEND": backend,
            "LC_ALL": "C.UTF-8",
        }
        self.checkouts: list[Checkout] = []
        self.main = self._make_main()

    def worktree(self, path: Path) -> Checkout:
        """Add a linked worktree."""
        branch = f"branch-{len(self.checkouts)}"
        self.git("worktree", "add", "-q", "-b", branch, str(path))
        return self._checkout(path)

    def git(self, *words: str) -> None:
        """Run git in the main checkout."""
        subprocess.run(["git", *words], cwd=self.main_path, env=self.environ, check=True, capture_output=True)

    @property
    def main_path(self) -> Path:
        """Where the main checkout lies."""
        return self.directory / "code" / "orienter"

    def configure(self, checkout: Checkout, **changes: Any) -> None:
        """Change keys below `orienter:` in a checkout's invoke.yaml (JSON is YAML)."""
        path = checkout.path / "invoke.yaml"
        settings = json.loads(path.read_text())
        for key, value in changes.items():
            old = settings["orienter"].get(key)
            settings["orienter"][key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        path.write_text(json.dumps(settings))

    def settings(self) -> dict[str, Any]:
        """What invoke.yaml says: this repository's demo on test ports and test images."""
        demo = {
            name: {"command": ["${PYTHON}", "-m", f"examples.demo.{name}"]}
            for name in ("frontend", "dashboard", "opencode", "whatsapp", "slack")
        }
        return {
            "project": self.project,
            "ports": slot.bases(),
            "services": demo,
            "hooks": {
                "before_services": [{"name": "migrate", "command": ["${PYTHON}", "-m", "examples.demo.migrate"]}]
            },
            "docker": {name: f"{IMAGES}/{image}:local" for name, image in _IMAGE_NAMES.items()},
        }

    def clean_up(self) -> None:
        """Stop everything that was started and remove its data, through the tool itself; complain if that fails."""
        complaints = []
        for checkout in self.checkouts:
            if checkout.path.is_dir():
                answer = checkout.inv("dev.stop", "--force", "--volumes", "--yes", code=None)
                if answer.code != 0:
                    complaints.append(str(answer))
        assert not complaints, "\n".join(complaints)

    def _make_main(self) -> Checkout:
        path = self.main_path
        path.mkdir(parents=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "examples", path / "examples", ignore=ignore)
        for name in ("tasks.py", ".env.example", ".gitignore"):
            shutil.copy(REPOSITORY / name, path / name)
        (path / "invoke.yaml").write_text(json.dumps({"orienter": self.settings()}))
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "A host")
        return self._checkout(path)

    def _checkout(self, path: Path) -> Checkout:
        checkout = Checkout(path, self.environ)
        self.checkouts.append(checkout)
        return checkout


_IMAGE_NAMES = {"postgres": "postgres", "minio": "s3", "nginx": "nginx"}
