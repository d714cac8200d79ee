"""Checkouts in every state that one can get into, made of plain files as git leaves them."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from orienter_tasks.commands.cleanup.kinds import KINDS
from orienter_tasks.commands.cleanup.snapshot import Viewpoint
from orienter_tasks.identity.claims import Claim, new_token
from orienter_tasks.identity.ownership import MARKER, record
from orienter_tasks.machine import worktree
from orienter_tasks.processes.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.identity.claims import Claims

Fate = Literal[
    "here",
    "removed",  # git worktree remove
    "deleted",  # rm -rf: git calls it prunable
    "husk",  # git worktree remove, and a service wrote into it once more
    "moved",  # mv: the mark came along
    "moved and pruned",  # mv, then git worktree prune
    "moved by git",  # git worktree move
    "locked",  # not there, and locked
    "unmounted",  # another device lies where it lay
    "main",  # a main checkout that exists
    "main deleted",  # a main checkout that is not there
    "no repository",  # worktree and main checkout are both not there
]
FATES: tuple[Fate, ...] = Fate.__args__  # type: ignore[attr-defined]
GONE: frozenset[Fate] = frozenset({"removed", "deleted", "husk"})
HERE: frozenset[Fate] = frozenset({"here", "main"})
KEPT: frozenset[Fate] = frozenset(FATES) - GONE - HERE
OLD = 10 * 86400


@dataclass
class World:
    """One main checkout with linked worktrees below a directory, and their claims."""

    directory: Path
    project: str
    claims: list[Claim] = field(default_factory=list)
    fates: dict[int, Fate] = field(default_factory=dict)
    places: dict[int, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.main = self.directory / "code" / "main"
        (self.main / ".git" / "objects").mkdir(parents=True)
        (self.main / ".git" / "worktrees").mkdir()
        (self.main / ".git" / "HEAD").write_text("ref: refs/heads/main\n")

    def checkout(self, number: int, fate: Fate, *, backend: str = "", project: str = "") -> Claim:
        """Make a checkout with an instance's files, claim an id for it, and let it meet its fate."""
        linked = not fate.startswith("main")
        root = self.directory / "trees" / f"tree-{number}" if linked else self.directory / "clones" / f"main-{number}"
        git_dir = self._linked(root, number) if linked else self._clone(root)
        claim = Claim(
            token=new_token(),
            project=project or self.project,
            id=number,
            root=str(root),
            worktree=root.name,
            main_root=str(self.main if linked else root),
            git_dir=str(git_dir),
            device=root.stat().st_dev,
            ports={"nginx": 20000 + number},
            placed=backend,
        )
        _instance_files(claim, root)
        claim, place = self._meet(claim, fate, root, git_dir)
        self.claims.append(claim)
        self.fates[number], self.places[number] = fate, place
        return claim

    def save(self, claims: Claims) -> None:
        """Write the claims."""
        with claims.changing() as book:
            book[:] = self.claims

    def _linked(self, root: Path, number: int) -> Path:
        git_dir = self.main / ".git" / "worktrees" / f"tree-{number}"
        git_dir.mkdir()
        (git_dir / "gitdir").write_text(f"{root}/.git\n")
        (git_dir / "commondir").write_text("../..\n")
        (git_dir / "HEAD").write_text(f"ref: refs/heads/tree-{number}\n")
        root.mkdir(parents=True)
        (root / ".git").write_text(f"gitdir: {git_dir}\n")
        (root / "README").write_text("a worktree\n")
        return git_dir

    def _clone(self, root: Path) -> Path:
        (root / ".git" / "objects").mkdir(parents=True)
        (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        return root / ".git"

    def _meet(self, claim: Claim, fate: Fate, root: Path, git_dir: Path) -> tuple[Claim, Path]:
        place = root
        if fate in ("moved", "moved and pruned", "moved by git"):
            place = self.directory / "elsewhere" / f"moved-{claim.id}"
            place.parent.mkdir(exist_ok=True)
            root.rename(place)
            if fate == "moved by git":
                (git_dir / "gitdir").write_text(f"{place}/.git\n")
                shutil.rmtree(place / ".dev-data")  # git's word alone
            if fate == "moved and pruned":
                shutil.rmtree(git_dir)
        elif fate == "husk":
            (root / ".git").unlink()
            (root / "README").unlink()
            (root / ".dev-data/.gitignore").write_text("*\n")
            shutil.rmtree(git_dir)
        elif fate not in HERE:
            shutil.rmtree(root)
            if fate == "removed":
                shutil.rmtree(git_dir)
            elif fate == "locked":
                (git_dir / "locked").write_text("on a stick\n")
            elif fate == "unmounted":
                claim = msgspec.structs.replace(claim, device=claim.device + 1)
            elif fate == "no repository":
                away = str(git_dir).replace("/main/", "/not-there/")
                claim = msgspec.structs.replace(claim, git_dir=away, main_root=str(self.main.with_name("not-there")))
        return claim, place


def claim_of(
    root: Path, number: int = 3, *, project: str = "orienter", backend: str = "", started: bool = True
) -> Claim:
    """Claim an id for a checkout as `inv` does; a start leaves the mark."""
    tree = worktree.read(root)
    claim = Claim(
        token=new_token(),
        project=project,
        id=number,
        root=str(tree.root),
        worktree=root.name,
        main_root=str(tree.main_root),
        git_dir=str(tree.git_dir or ""),
        device=worktree.device_of(root),
        ports={"nginx": 20000 + number},
        placed=backend,
        claimed_at=time.time(),
    )
    record(tree, claim)
    if started:
        marker = root / ".dev-data" / f"instance-{number}" / MARKER
        marker.parent.mkdir(parents=True)
        marker.write_text(claim.token + "\n")
    return claim


def view_of(world: World, claims: Claims, engine: Engine) -> Viewpoint:
    """Look at a world from its main checkout."""
    return Viewpoint(world.project, claims, world.main, engine, KINDS)


def dead_record(claim: Claim, component: str = "api", **changes: object) -> bytes:
    """Write the record of a process that is gone."""
    record = Record(
        component=component,
        pid=2**22 - 7,
        mark="another boot:1",
        command=("api",),
        cwd=claim.root,
        log="",
        project=claim.project,
        instance=claim.id,
        root=claim.root,
        stop_signal=15,
        group=True,
        started_at=1.0,
    )
    return msgspec.json.encode(msgspec.structs.replace(record, **changes))


def snapshot(*directories: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return every path with its mode, time of change and content."""
    found = {}
    for directory in directories:
        for path in sorted([directory, *directory.rglob("*")]):
            status = path.lstat()
            content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[str(path)] = (status.st_mode, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns, content)
    return found


def age(path: Path, seconds: float = OLD) -> None:
    """Let a file be written to so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def _instance_files(claim: Claim, root: Path) -> None:
    data, logs, pids = (root / parent / f"instance-{claim.id}" for parent in (".dev-data", "logs", ".dev-pids"))
    for directory in (data / "postgres", logs, pids):
        directory.mkdir(parents=True)
    (data / MARKER).write_text(claim.token + "\n")
    (data / "postgres" / "rows").write_bytes(b"rows of " + str(claim.id).encode())
    (logs / "old.log").write_text("old lines\n" * 10)
    age(logs / "old.log")
    (logs / "new.log").write_text("new lines\n")
    (pids / "api.json").write_bytes(dead_record(claim))
