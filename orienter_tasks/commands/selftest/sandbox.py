"""Throwaway checkouts below DATA_DIR's parent: linked worktrees of a repository of their own, with their own state.

The claims in that state name all that was started, so that a later run can clear up after a killed one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.infra import choice
from orienter_tasks.instance.model import port_plan
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.lifecycle.stop import stop_instance
from orienter_tasks.machine import directories, ports
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import is_locked, locked, private_dir, write_private
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.settings.model import BackendName, Settings

PREFIX = "test-"
LONGEST_BASE = 28
LOCK_SECONDS = 600.0
GIT_SECONDS = 30.0
STATE = "ORIENTER_STATE_DIR"
VOLUMES = "ORIENTER_VOLUME_DIR"
UNSET = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT", "WHATSAPP_ENABLED")
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "orienter@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Sandbox:
    """A directory with throwaway checkouts of a host."""

    def __init__(self, directory: Path, host: HostConfig) -> None:
        self.directory = directory
        project = f"{host.settings.project[:LONGEST_BASE]}-{directory.name}"
        self.settings = msgspec.structs.replace(host.settings, project=project)
        self._host = host

    def checkout(self, name: str, instance_id: int) -> Path:
        """Make a linked worktree with the host's templates and `.env`, for the instance of an id."""
        repository = self.directory / "repository"
        if not repository.exists():
            repository.mkdir()
            _git(repository, "init", "--quiet")
            _git(repository, "commit", "--quiet", "--allow-empty", "--no-verify", "--message=throwaway")
        root = self.directory / name
        _git(repository, "worktree", "add", "--quiet", "--detach", str(root))
        self._link_templates(root)
        dotenv = self._host.root / ".env"
        try:
            text = read_small(dotenv).decode(errors="replace")
        except OSError:  # there is none, or none that a start would take
            text = ""
        kept = [line for line in text.splitlines() if not line.replace("export ", "").strip().startswith(UNSET)]
        write_private(root / ".env", "".join(f"{line}\n" for line in [*kept, f"AI_INSTANCE_ID={instance_id}"]))
        return root

    def folder(self, name: str) -> HostConfig:
        """Make a directory with the host's templates, for instances that are not started."""
        root = self.directory / name
        root.mkdir()
        self._link_templates(root)
        return HostConfig(self.settings, self._host.dotenv, root)

    def _link_templates(self, root: Path) -> None:
        if (self._host.root / "templates").is_dir():
            (root / "templates").symlink_to(self._host.root / "templates", target_is_directory=True)

    def context(self, root: Path, backend: BackendName) -> RunContext:
        """Return the context of a run in one of the checkouts, without services."""
        options = RunOptions(backend=backend, quiet=True, without=tuple(self.settings.services))
        context = RunContext(root, None, options=options)
        context.settings = self.settings
        return context

    def claims(self) -> list[Claim]:
        """Return the claims made here."""
        return Claims(self.directory / "state").read()

    def clear(self) -> None:
        """Stop and remove everything that was made here; may be called twice.

        Raises:
            OrienterError: something is left; then the directory, which names it, stays too.
        """
        with _own_state(self.directory / "state"):
            for claim in self.claims():
                _remove(claim, self.settings)
        directories.remove(self.directory)


@contextmanager
def open_sandbox(host: HostConfig) -> Iterator[Sandbox]:
    """Yield a new sandbox, use its state meanwhile, and clear it in any case.

    Only one run at a time is possible in a checkout. It first clears what a killed one has left.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(_lock_name(host.root), timeout=LOCK_SECONDS))
        for directory in _directories(host.root):
            Sandbox(directory, host).clear()
        made = Sandbox(private_dir(_base(host.root) / f"{PREFIX}{secrets.token_hex(3)}"), host)
        stack.callback(made.clear)
        stack.enter_context(_own_state(private_dir(made.directory / "state")))
        yield made


def left(root: Path) -> list[Path]:
    """Return the directories that a killed run has left in a checkout; none while a run is in progress."""
    return [] if is_locked(_lock_name(root)) else _directories(root)


def _directories(root: Path) -> list[Path]:
    return sorted(_base(root).glob(f"{PREFIX}*"))


def _base(root: Path) -> Path:
    return (root / ".dev-data").resolve()  # may be a link to a bigger disk


def _lock_name(root: Path) -> str:
    return f"test-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"


def free_ids(settings: Settings, claims: Sequence[Claim], count: int) -> list[int]:
    """Return ids, the highest first, with infrastructure ports that are neither claimed nor in use.

    Raises:
        CheckError: there are too few.
    """
    claimed = {port for claim in claims for port in claim.ports.values()}
    found: list[int] = []
    for number in range(settings.instances.max, -1, -1):
        plan = port_plan(settings, number)
        wanted = {plan[name] for name in catalog.ports() if name in plan}
        if not wanted & claimed and all(ports.is_free(port) and ports.may_bind(port) for port in wanted):
            found.append(number)
        if len(found) == count:
            return found
    raise CheckError(
        f"{count} throwaway instances need {count} ids whose ports are free, and there are {len(found)}",
        hint="see: inv instances; stop one, or raise orienter.instances.max",
    )


def _remove(claim: Claim, settings: Settings) -> None:
    if not claim.backend or not Path(claim.root).is_dir():
        return
    config = config_of(claim, settings, {})
    backend = choice.make(claim.backend, config)
    stop_instance(config.instance, backend, settings.timeouts.stop, lambda _: None)
    backend.remove_data()


@contextmanager
def _own_state(directory: Path) -> Iterator[None]:
    """Use a separate state directory in this process, without the variables that name an instance."""
    former = {name: os.environ.pop(name) for name in (STATE, VOLUMES, *UNSET) if name in os.environ}
    os.environ[STATE] = str(directory)
    try:
        yield
    finally:
        del os.environ[STATE]
        os.environ.update(former)


def _git(directory: Path, *words: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(directory), "-c", f"core.hooksPath={os.devnull}", *words]
    try:
        done = subprocess.run(
            command, env={**inherited, **GIT_ENV}, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise NotFoundError("git is not on PATH", hint="see: inv doctor") from error
    if done.returncode != 0:
        raise CheckError(f"git {words[0]} fails: {done.stderr.strip()}")
