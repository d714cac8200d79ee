"""What every test gets: a state directory, an environment and a working directory of its own, and guards.

A test that is not marked `docker` or `embedded` may start no container and no server: the guard makes it fail.
"""

from __future__ import annotations

import compileall
import functools
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest

import orienter_tasks
from orienter_tasks.backends.docker import endpoint
from orienter_tasks.settings import catalog
from orienter_tasks.settings.load import load_settings
from tests import configs, leftovers
from tests.repositories import GIT_ENV, IGNORED, git, make_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Settings

pytest_plugins = ["tests.workers", "tests.clusters", "tests.node"]

SERVERS = frozenset(
    {
        "postgres",
        "initdb",
        "pg_ctl",
        "nginx",
        "rclone",
        "minio",
        "dockerd",
        "valkey-server",
        "redis-server",
        "memcached",
    }
)
CLEARED = (
    *("AI_INSTANCE_", "ORIENTER_", "POSTGRES_", "MINIO_", "REDIS_", "AWS_", "S3_", "PG", "DOCKER_", "COMPOSE_", "GIT_"),
    *("WHATSAPP_", "OPENCODE_", "SLACK_", "INVOKE_", "DATABASE_URL", "SERVICE_HOST", "NODE_ENV", "NO_COLOR"),
    "XDG_RUNTIME_DIR",
    *("DATA_DIR", "LOG_DIR", "PID_DIR", "NGINX_PORT", "DASHBOARD_PORT", "VITE_PORT"),
)
KEPT = ("ORIENTER_REQUIRE_", "ORIENTER_TEST_")
ENGINE = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
"""Which engine the tests marked `docker` use; no other test may depend on what the user's shell says of engines."""

# Invoke keeps no compiled modules: the `inv` of every test would compile the package anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
compileall.compile_dir(Path(orienter_tasks.__file__).parent, quiet=2)

# who runs the tests in the background may have these ignored: then `inv` would go on ignoring them, and rightly
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# two busy cores: a slow example is no bug
hypothesis.settings.register_profile(
    "project", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("project")


class Forbidden(BaseException):
    """A test that is not marked for it started a server or a container; no `except Exception` swallows this."""


class _Guard:
    """Whether the running test may start servers and talk to an engine."""

    active = False

    @classmethod
    def refuse(cls, what: str) -> None:
        if cls.active:
            raise Forbidden(f"{what} in a test that is marked neither docker nor embedded")


def _guarded(what: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(what)
    def guarded(*args: object, **kwargs: object) -> object:
        _Guard.refuse("a Docker client")
        return what(*args, **kwargs)

    return guarded


class _DockerLoader(Loader):
    """Guards docker's client when something imports it: no test pays for importing it here."""

    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        module.APIClient.__init__ = _guarded(module.APIClient.__init__)


class _DockerFinder(MetaPathFinder):
    _busy = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "docker.api.client" or self._busy:
            return None
        self._busy = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._busy = False
        if spec is not None and spec.loader is not None:
            spec.loader = _DockerLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _DockerFinder())
endpoint.ask = _guarded(endpoint.ask)  # type: ignore[assignment]


def _server_in(command: object) -> str | None:
    """Return the server that a command would start: its program, or the path of one among its words."""
    words = command.split() if isinstance(command, str) else [command] if isinstance(command, os.PathLike) else command
    if not isinstance(words, (list, tuple)):
        return None
    for index, raw in enumerate(words):
        word = os.fsdecode(raw) if isinstance(raw, (str, bytes, os.PathLike)) else ""
        path = Path(word)
        if path.name in SERVERS and (index == 0 or (path.is_absolute() and not path.is_dir())):
            return word
    return None


@functools.cache
def engine_answers() -> bool:
    """Ask once a session whether a Docker engine answers."""
    import docker
    from docker.errors import DockerException

    answers = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker's client leaves a socket open when it is refused
        try:
            client = docker.from_env(timeout=20)  # Podman is slow while the machine is busy
            try:
                answers = bool(client.ping())
            finally:
                client.close()
        except DockerException:
            pass
        gc.collect()
    return answers


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs root")
    if item.get_closest_marker("docker") is not None and not engine_answers():
        if os.environ.get("ORIENTER_REQUIRE_DOCKER") == "1":
            pytest.fail("no Docker engine answers, and ORIENTER_REQUIRE_DOCKER=1 requires one")
        pytest.skip("no Docker engine answers")
    if item.get_closest_marker("docker") is not None:
        leftovers.remove_resources()
    if any(item.get_closest_marker(name) for name in ("docker", "embedded")):
        leftovers.end_processes()


@pytest.fixture(autouse=True)
def isolated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep a test from the user's state, variables and directory; return its state directory."""
    node: pytest.Item = request.node
    kept = (*KEPT, *ENGINE) if node.get_closest_marker("docker") is not None else KEPT
    for name in list(os.environ):
        if name.startswith(CLEARED) and not name.startswith(kept):
            monkeypatch.delenv(name)
    state = tmp_path / "state"
    monkeypatch.setenv("ORIENTER_STATE_DIR", str(state))
    for name, value in GIT_ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return state


@pytest.fixture(autouse=True)
def no_further_servers() -> Iterator[None]:
    """Let no test know the servers that another one's settings have added."""
    yield
    catalog.set_further(())


@pytest.fixture(autouse=True)
def no_servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a test fail that starts a server or a container without being marked for it."""
    node: pytest.Item = request.node
    if any(node.get_closest_marker(name) for name in ("docker", "embedded")):
        yield
        return
    original = subprocess.Popen.__init__

    def guarded(self: subprocess.Popen[Any], args: Any, *rest: Any, **kwargs: Any) -> None:
        server = _server_in(args) or _server_in(kwargs.get("executable"))
        if server is not None:
            # __del__ looks at these
            self.returncode = 0
            self._child_created = False  # type: ignore[attr-defined]
            _Guard.refuse(f"starting {server}")
        original(self, args, *rest, **kwargs)

    monkeypatch.setattr(subprocess.Popen, "__init__", guarded)
    _Guard.active = True
    yield
    _Guard.active = False


@pytest.fixture
def settings() -> Settings:
    """The settings of a host that says nothing."""
    return load_settings(None)


class MakeInstance(Protocol):
    """Builds an instance whose root exists."""

    def __call__(
        self, instance_id: int = 0, root: Path | None = None, *, settings: Settings | None = None
    ) -> Instance: ...


@pytest.fixture
def make_instance(tmp_path: Path, settings: Settings) -> MakeInstance:
    default = settings

    def make(instance_id: int = 0, root: Path | None = None, *, settings: Settings | None = None) -> Instance:
        root = root or tmp_path / "checkout"
        root.mkdir(parents=True, exist_ok=True)
        return configs.make_instance(root.resolve(), instance_id, settings or default)

    return make


class MakeRepo(Protocol):
    """Makes a main checkout with one commit."""

    def __call__(self, name: str = "repo", *, under: Path | None = None) -> Path: ...


@pytest.fixture
def make_repo(tmp_path: Path) -> MakeRepo:
    def make(name: str = "repo", *, under: Path | None = None) -> Path:
        files = {"README": "a test\n", ".gitignore": IGNORED}
        return make_repository((under or tmp_path) / name, files).resolve()

    return make


class MakeWorktree(Protocol):
    """Makes a linked worktree of a checkout with `git worktree add`."""

    def __call__(self, repo: Path, name: str, *, under: Path | None = None, branch: str | None = None) -> Path: ...


@pytest.fixture
def make_worktree(tmp_path: Path) -> MakeWorktree:
    count = iter(range(1, 1000))

    def make(repo: Path, name: str, *, under: Path | None = None, branch: str | None = None) -> Path:
        root = (under or tmp_path / "worktrees") / name
        root.parent.mkdir(parents=True, exist_ok=True)
        git(repo, "worktree", "add", "--quiet", "-b", branch or f"branch-{next(count)}", str(root))
        return root.resolve()

    return make
