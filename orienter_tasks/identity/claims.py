"""Which checkout holds which id: records in the per-user state directory, changed only under a lock.

A claim keeps two checkouts from silently sharing an id, and so a database. Reading needs no lock: the file is replaced
atomically.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.instance.backends import read as read_backends
from orienter_tasks.instance.model import Instance
from orienter_tasks.machine import hooks
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import SCHEMA_VERSION, locked, state_dir, write_private
from orienter_tasks.settings.model import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from orienter_tasks.instance.backends import Backends

LOCK_SECONDS = 30.0

_PROJECT = r"[a-z][a-z0-9_-]*"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One checkout's hold on an id.

    Attributes:
        token: a random name of this claim; also written to DATA_DIR, so that a moved checkout is recognized.
        project: prefix of names; ids are counted within it.
        root: the checkout's real path.
        former_roots: where the checkout was before it was moved.
        worktree: its name for people.
        main_root: the main checkout that it is linked to, or its own root.
        git_dir: its own git directory; "" without git.
        device: the device number of the root.
        placed: the text of `backends`.
        ports: every port of its plan, so that plans with other bases do not overlap it.
        moved: those of them that do not follow the formula.
        claimed_at: seconds since the epoch; likewise `used_at`, of the last start, stop or other changing command.
        services: what the last start of all services was to run, not what runs.
    """

    token: str
    project: str
    id: int
    root: str
    worktree: str
    main_root: str
    git_dir: str
    device: int
    ports: dict[str, int]
    moved: dict[str, int] = {}
    former_roots: tuple[str, ...] = ()
    placed: str = msgspec.field(default="", name="backend")
    claimed_at: float = 0.0
    used_at: float = 0.0
    services: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could send a destructive command astray."""
        if not 0 <= self.id <= HIGHEST_ID or not all(map(_is_checkout_path, self.roots)):
            raise ValueError(f"not a claim: id {self.id}, roots {self.roots!r}")
        if not re.fullmatch(_PROJECT, self.project):
            raise ValueError(f"not a claim: project {self.project!r}")

    @property
    def backends(self) -> Backends:
        """Which backend each component has; none until the instance first had infrastructure."""
        return read_backends(self.placed)

    @property
    def roots(self) -> tuple[str, ...]:
        """Every path under which this checkout's resources may be labelled."""
        return (self.root, *self.former_roots)


def _is_checkout_path(path: str) -> bool:
    return path.startswith("/") and path == os.path.normpath(path) and path not in ("/", "//")


class _File(msgspec.Struct, kw_only=True):
    schema_version: int
    claims: list[Claim]


class Claims:
    """The claims of this user on this machine."""

    read_only = False

    def __init__(self, directory: Path | None = None) -> None:
        self.path = (directory or state_dir()) / "claims.json"

    def read(self) -> list[Claim]:
        """Return all claims.

        Raises:
            ConfigError: the file is damaged, or a newer version wrote it; it is left alone.
        """
        try:
            data = read_small(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from error
        try:
            version = msgspec.json.decode(data, type=dict[str, object]).get("schema_version")
            if version != SCHEMA_VERSION:
                raise ConfigError(
                    f"{self.path} has schema version {version}, this program knows {SCHEMA_VERSION}",
                    hint="update orienter-tasks",
                )
            return msgspec.json.decode(data, type=_File).claims
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            hint = f"look at {self.path}; if you move it away, every checkout claims an id again"
            raise ConfigError(f"the claims file is damaged: {error}", hint=hint) from error

    @contextmanager
    def changing(self) -> Iterator[list[Claim]]:
        """Yield the list of claims to change, under the lock; it is written back unless an error is raised."""
        with locked("claims", timeout=LOCK_SECONDS):
            claims = self.read()
            before = list(claims)
            yield claims
            if claims != before:
                self._write(claims)
                hooks.forget(Path(root) for root in {each.root for each in before} - {each.root for each in claims})

    def update(self, token: str, **changes: object) -> Claim | None:
        """Change fields of a claim; return None if it is no longer there."""
        with self.changing() as claims:
            for index, claim in enumerate(claims):
                if claim.token == token:
                    claims[index] = msgspec.structs.replace(claim, **changes)
                    return claims[index]
        return None

    def mark_used(self, token: str) -> None:
        self.update(token, used_at=time.time())

    def record_expected(self, claim: Claim, services: tuple[str, ...]) -> None:
        """Record which services are to run from now on: tables say how many of them do."""
        if services != claim.services:
            self.update(claim.token, services=services)

    def expect_without(self, claim: Claim, services: Container[str]) -> None:
        """Record that these services are not to run after all."""
        with self.changing() as claims:
            for index, known in enumerate(claims):
                if known.token == claim.token:
                    left = tuple(name for name in known.services if name not in services)
                    claims[index] = msgspec.structs.replace(known, services=left)

    def release(self, token: str) -> None:
        with self.changing() as claims:
            claims[:] = [claim for claim in claims if claim.token != token]

    def _write(self, claims: list[Claim]) -> None:
        ordered = sorted(claims, key=lambda claim: (claim.project, claim.id, claim.root))
        try:
            content = msgspec.json.format(msgspec.json.encode(_File(schema_version=SCHEMA_VERSION, claims=ordered)))
        except UnicodeEncodeError as error:
            raise ConfigError(f"a checkout's path is not UTF-8: {error.object!r}", hint="rename it") from error
        write_private(self.path, content)


class ReadOnlyClaims(Claims):
    """The claims; changes to them are discarded: what a run would claim, it only computes."""

    read_only = True

    @contextmanager
    def changing(self) -> Iterator[list[Claim]]:
        """Yield a copy."""
        yield self.read()


def of_claim(claim: Claim) -> Instance:
    """Build the instance that a claim describes, from any directory and without its settings."""
    root, former = Path(claim.root), claim.former_roots
    return Instance(claim.id, root, claim.project, claim.worktree, claim.ports, former, claim.token)


def in_the_way(claims: Sequence[Claim], project: str, instance_id: int, ports: Sequence[int]) -> Claim | None:
    """Return a claim that blocks an id: the same project and id, or one of the same ports."""
    wanted = set(ports)
    blocking = (c for c in claims if (c.project, c.id) == (project, instance_id) or wanted & {*c.ports.values()})
    return next(blocking, None)


def new_token() -> str:
    return os.urandom(8).hex()


def all_taken(holders: Sequence[Claim], project: str, lowest: int, highest: int) -> ConflictError:
    """Describe that no id is free, with a table of the claims."""
    rows = [
        f"  {claim.id:>3}  of {claim.project}  since {time.strftime('%Y-%m-%d', time.localtime(claim.claimed_at))}  "
        f"{claim.root}"
        for claim in sorted(holders, key=lambda claim: (claim.id, claim.project))
    ]
    return ConflictError(
        f"no id is free for this checkout: {lowest} to {highest} of {project} are taken",
        hint="free one with: inv cleanup.instance ID, or raise orienter.instances.max",
        details=list(dict.fromkeys(rows)),
    )
