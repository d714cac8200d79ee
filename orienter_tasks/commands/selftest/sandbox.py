"""Throwaway instances: checkouts below DATA_DIR's parent, linked worktrees of a repository of their own.

Each holds a free id like any other checkout, under a project of its own, so that nobody else gets it meanwhile. While a
run lives it holds a lock; what a killed one has left, the next one clears: found by its directory, or by its claims.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.infra import choice
from orienter_tasks.instance.model import port_plan
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.lifecycle.stop import stop_instance
from orienter_tasks.machine import directories, ports
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.signals import run_or_hurry
from orienter_tasks.machine.state import is_locked, locked, private_dir, state_dir, write_private
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.settings.model import Settings

PREFIX = "test-"
LONGEST_BASE = 28
GIT_SECONDS = 30.0
UNSET = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT", "WHATSAPP_ENABLED")
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "orienter@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Sandbox:
    """A directory with throwaway instances of a host."""

    def __init__(self, directory: Path, host: HostConfig) -> None:
        self.directory = directory
        self.settings = msgspec.structs.replace(host.settings, project=f"{_base_name(host)}-{directory.name}")
        self._host = host

    def instance(self, name: str, options: RunOptions) -> RunContext:
        """Make a checkout that holds a free id, and return the context of a run there.

        Raises:
            CheckError: no id is free.
        """
        root = self.checkout(name)
        for number in free_ids(self.settings, Claims().read()):
            self._write_dotenv(root, number)
            context = RunContext(root, None, options=options)
            context.settings = self.settings
            try:
                claimed = context.current.instance.id
            except ConflictError:  # another one was faster
                continue
            if claimed == number:
                return context
        raise CheckError(
            "a throwaway instance needs an id whose ports are free, and there is none",
            hint="see: inv instances; stop one, or raise orienter.instances.max",
        )

    def checkout(self, name: str) -> Path:
        """Make a linked worktree with the host's templates."""
        repository = self.directory / "repository"
        if not repository.exists():
            repository.mkdir()
            _git(repository, "init", "--quiet")
            _git(repository, "commit", "--quiet", "--allow-empty", "--no-verify", "--message=throwaway")
        root = self.directory / name
        _git(repository, "worktree", "add", "--quiet", "--detach", str(root))
        self._link_templates(root)
        return root

    def folder(self, name: str) -> HostConfig:
        """Make a directory with the host's templates, for instances that are not started."""
        root = self.directory / name
        root.mkdir()
        self._link_templates(root)
        return HostConfig(self.settings, self._host.dotenv, root)

    def _write_dotenv(self, root: Path, number: int) -> None:
        try:
            text = read_small(self._host.root / ".env").decode(errors="replace")
        except OSError:  # there is none, or none that a start would take
            text = ""
        kept = [line for line in text.splitlines() if not line.replace("export ", "").strip().startswith(UNSET)]
        write_private(root / ".env", "".join(f"{line}\n" for line in [*kept, f"AI_INSTANCE_ID={number}"]))

    def _link_templates(self, root: Path) -> None:
        if (self._host.root / "templates").is_dir():
            (root / "templates").symlink_to(self._host.root / "templates", target_is_directory=True)

    def claims(self) -> list[Claim]:
        """Return the claims made here."""
        return [claim for claim in Claims().read() if claim.project == self.settings.project]

    def clear(self) -> None:
        """Stop and remove everything that was made here; may be called twice.

        Raises:
            OrienterError: something is left; then the directory and the claims, which name it, stay too.
        """
        for claim in self.claims():
            _remove(claim, self.settings)
        directories.remove(self.directory)


@contextmanager
def open_sandbox(host: HostConfig) -> Iterator[Sandbox]:
    """Yield a new sandbox, and clear it in any case; first clear what killed runs have left.

    Any number may be open at once.
    """
    with ExitStack() as stack:
        former = {name: os.environ.pop(name) for name in UNSET if name in os.environ}
        stack.callback(os.environ.update, former)
        for directory in left(host.root, host.settings.project):
            with suppress(ConflictError), _locked(directory):  # else another run clears it
                Sandbox(directory, host).clear()
        directory = _directory(host.root) / f"{PREFIX}{secrets.token_hex(3)}"
        stack.enter_context(_locked(directory))
        made = Sandbox(private_dir(directory), host)
        stack.callback(lambda: run_or_hurry(made.clear, made.clear))
        yield made


def left(root: Path, project: str) -> list[Path]:
    """Return the directories of runs that were killed: those in a checkout, and those whose claims are still there."""
    ours = re.compile(rf"{re.escape(project[:LONGEST_BASE])}-{PREFIX}[0-9a-f]{{6}}")
    claimed = {Path(claim.root).parent for claim in Claims().read() if ours.fullmatch(claim.project)}
    return sorted(each for each in {*_directory(root).glob(f"{PREFIX}*"), *claimed} if not is_locked(each.name))


def _base_name(host: HostConfig) -> str:
    return host.settings.project[:LONGEST_BASE]


def _directory(root: Path) -> Path:
    return (root / ".dev-data").resolve()  # may be a link to a bigger disk


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a sandbox, whose name nobody uses again.

    Raises:
        ConflictError: another process has it.
    """
    with locked(directory.name, timeout=0):
        try:
            yield
        finally:
            for path in (state_dir() / "locks").glob(f"*{directory.name}*"):  # its own, and of its instances
                path.unlink(missing_ok=True)


def free_ids(settings: Settings, claims: Sequence[Claim]) -> Iterator[int]:
    """Yield ids, the highest first, with infrastructure ports that are neither claimed nor in use."""
    claimed = {port for claim in claims for port in claim.ports.values()}
    for number in range(settings.instances.max, -1, -1):
        plan = port_plan(settings, number)
        wanted = {plan[name] for name in catalog.ports() if name in plan}
        if not wanted & claimed and all(ports.is_free(port) and ports.may_bind(port) for port in wanted):
            yield number


def _remove(claim: Claim, settings: Settings) -> None:
    if claim.placed:
        config = config_of(claim, settings, {})
        backend = choice.make(claim.backends, config)
        stop_instance(config.instance, backend, settings.timeouts.stop, lambda _: None)
        backend.remove_data()
    Claims().release(claim.token)


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
