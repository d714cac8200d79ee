"""The checkout's `.env`: what it lacks, which lines have no effect, who may read it."""

from __future__ import annotations

import os
import shutil
import stat
from operator import attrgetter
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.context import started_on
from orienter_tasks.commands.doctor.remedies import comment_out
from orienter_tasks.commands.env import foreign_ports_of, init
from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.instance.dotenv import placeholders, read_dotenv
from orienter_tasks.instance.variables import masked
from orienter_tasks.machine import worktree
from orienter_tasks.machine.files import is_pipe
from orienter_tasks.machine.git import git
from orienter_tasks.output.checks import Check, Fix
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.lifecycle.context import RunContext

PRIVATE = 0o600
ASK_SECONDS = 10.0


def present(ctx: RunContext) -> Iterator[Check]:
    """Require that it exists as a file and is private."""
    path = ctx.root / ".env"
    if path.is_dir() or not path.exists():
        fix = Fix("make .env, as inv env.init does", lambda: init(ctx))
        yield Check(".env", "warning", "there is none: the defaults' known passwords are used", "inv env.init", fix)
        return
    if is_pipe(path):
        yield Check(".env", "ok", "a named pipe, which starts read")
        return
    if not path.is_file():
        return  # `lines` says why it cannot be read
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        fix = Fix("take .env from other users: mode 0600", lambda: path.chmod(PRIVATE))
        yield Check(".env", "warning", f"its mode is {mode:04o}: other users may read it", "chmod 600 .env", fix)
    else:
        yield Check(".env", "ok", f"{len(ctx.dotenv)} variables, mode {mode:04o}")


def lines(ctx: RunContext) -> Iterator[Check]:
    """Name invalid lines, and variables that derived ones override."""
    _, broken = read_dotenv(ctx.root / ".env")
    if broken:
        numbers = ", ".join(map(str, broken))
        yield Check(".env", "warning", f"no NAME=value in line {numbers}", f"sed -n '{broken[0]}p' .env")
    variables = ctx.current.config.variables
    for name, written in sorted(variables.ignored.items()):
        real = f" and is {masked(name, variables[name])}" if name in variables.values else ""
        words = f"{name}={masked(name, written)} is ignored: {variables.why_ignored(name)}{real}"
        yield Check(".env", "warning", words, comment_out(name))


def inherited(ctx: RunContext) -> Iterator[Check]:
    """Say which of the variables that services inherit on request win over derived ones."""
    variables = ctx.current.config.variables
    for entry in map(catalog.entry_of, ctx.current.instance.infra):
        if not entry.inherit or not attrgetter(entry.inherit)(ctx.settings):
            continue
        set_here = {**dict.fromkeys(ctx.dotenv, ".env"), **dict.fromkeys(os.environ, "the environment")}
        won = [name for name in entry.wins if name in set_here and name not in variables.withheld]
        for name in won:
            words = f"{name} of {set_here[name]} wins over derived variables ({entry.wins[name]})"
            yield Check("variables", "warning", words, f"unset it, or take out orienter.{entry.inherit}")
        if not won:
            words = f"services inherit the user's own ({entry.inherit}), and derived variables win"
            yield Check("variables", "ok", words)


def keys(ctx: RunContext) -> Iterator[Check]:
    """Compare with `.env.example`."""
    example = ctx.root / ".env.example"
    if not (example.is_file() and (ctx.root / ".env").is_file()):
        return
    wanted, _ = read_dotenv(example)
    missing = [name for name in wanted if name not in ctx.dotenv and name not in os.environ]
    if missing:
        yield Check(".env", "warning", f"{', '.join(missing)} of .env.example is missing", _completing(ctx, missing))


def other_ports(ctx: RunContext) -> Iterator[Check]:
    """Name values with a port of another instance."""
    for found in foreign_ports_of(ctx):
        yield Check(".env", "warning", str(found), f"write {found.own} there, unless it is meant")


def secrets(ctx: RunContext) -> Iterator[Check]:
    """Find secrets that still have the value of the example."""
    example = ctx.root / ".env.example"
    left = placeholders(ctx.dotenv, read_dotenv(example)[0] if example.is_file() else {})
    if left:
        words = f"{', '.join(left)} still has the example's placeholder"
        yield Check(".env", "warning", words, _completing(ctx, left))


def ignored_by_git(ctx: RunContext) -> Iterator[Check]:
    """Require that git ignores it."""
    if worktree.read(ctx.root).git_dir is None or not (ctx.root / ".env").is_file() or shutil.which("git") is None:
        return
    if _git(ctx, "ls-files", "--error-unmatch", ".env"):
        yield Check(".env", "problem", "git tracks it, secrets and all", "git rm --cached .env")
    elif not _git(ctx, "check-ignore", "--quiet", ".env"):
        yield Check(".env", "warning", "git does not ignore it", "echo .env >> .gitignore")


def _completing(ctx: RunContext, names: Sequence[str]) -> str:
    """Return how to give variables a value: `env.init` leaves those alone with which data has been made."""
    if started_on(ctx) and {*names} & {*catalog.inputs(), *catalog.numbered()}:
        return (
            "leave it, or change it in the server too, as with \\password in inv infra.psql: the data was made with it"
        )
    return "inv env.init"


def _git(ctx: RunContext, *words: str) -> bool:
    try:
        git(ctx.root, *words, timeout=ASK_SECONDS)
    except (CheckError, NotFoundError):
        return False
    return True
