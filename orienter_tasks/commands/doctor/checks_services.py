"""What the configured services and hooks need: programs, directories, variables, leases."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.remedies import install
from orienter_tasks.errors import NotFoundError
from orienter_tasks.instance.variables import expand
from orienter_tasks.machine.files import read_small
from orienter_tasks.output.checks import Check, caught, failed
from orienter_tasks.services import lease
from orienter_tasks.services.service import commands, environment, resolve_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.lifecycle.context import RunContext

NODE = ("node", "npm", "npx", "pnpm", "yarn", "corepack")
LOCKS = {"pnpm-lock.yaml": "pnpm install", "yarn.lock": "yarn install"}
REMEDIES = {
    "pnpm": "corepack enable pnpm, or: npm install --global pnpm",
    "yarn": "corepack enable yarn, or: npm install --global yarn",
    "opencode": "npm install --global opencode-ai",
    "tsx": "npm install --global tsx",
    "bun": "npm install --global bun",
}


def found(ctx: RunContext) -> Iterator[Check]:
    """Require the programs and directories of the services that would start, and of the hooks."""
    missing: dict[str, list[str]] = defaultdict(list)
    there: set[str] = set()
    config, wrong, unset = ctx.current.config, list[Check](), list[Check]()
    known = environment(config, {})
    for key, command, cwd, env, exporters in commands(config.settings, known):
        with caught(lambda error: unset.append(failed("services", error))):
            values = {**known, **{name: expand(value, known, f"{key}.env.{name}") for name, value in env.items()}}
            program = expand(command[0], values, f"{key}.command")
            place = config.instance.root / expand(cwd, values, f"{key}.cwd")
            if not place.is_dir():
                words = f"{key}: its directory {place} is not there"
                wrong.append(Check("services", "problem", words, f"mkdir -p {place}"))
            try:
                there.add(Path(resolve_program(program, place, values, key)).name)
            except NotFoundError:
                missing[program].append(key)
        if not exporters:
            wrong += unset
        unset.clear()
    yield from wrong
    for program, users in missing.items():
        words = f"{program} is not there, and {', '.join(users)} {'needs' if len(users) == 1 else 'need'} it"
        yield Check("programs", "problem", words, remedy(program))
    if there:
        yield Check("programs", "ok", ", ".join(sorted(there)))
    yield from _packages(config.instance.root, [*there, *missing])


def _packages(root: Path, programs: Sequence[str]) -> Iterator[Check]:
    """Require installed packages where a program of Node's runs, and package.json names some."""
    if not {*programs} & {*NODE} or not _names_packages(root) or (root / "node_modules").is_dir():
        return
    command = next((how for file, how in LOCKS.items() if (root / file).is_file()), "npm install")
    yield Check("programs", "problem", "package.json names packages, and node_modules is not there", command)


def _names_packages(root: Path) -> bool:
    try:
        content = json.loads(read_small(root / "package.json"))
    except (OSError, ValueError):
        return False
    if (root / "pnpm-workspace.yaml").is_file():
        return True
    keys = ("dependencies", "devDependencies", "optionalDependencies", "workspaces")
    return isinstance(content, dict) and any(content.get(key) for key in keys)


def node(ctx: RunContext) -> Iterator[Check]:
    """Require Node where one of its programs is used: pnpm and npx are scripts."""
    config = ctx.current.config
    programs = {Path(command[0]).name for _, command, *_ in commands(config.settings, environment(config, {}))}
    used = ", ".join(sorted(programs & {*NODE}))
    if used and shutil.which("node") is None:
        yield Check("programs", "problem", f"node is not on PATH, and {used} needs it", remedy("node"))


def skipped(ctx: RunContext) -> Iterator[Check]:
    """Name the services that would not start, and why."""
    for name, reason in ctx.current.plan.skipped:
        yield Check("services", "ok", f"{name} is not started: {reason}")


def leases(ctx: RunContext) -> Iterator[Check]:
    """Name the instances that hold the leases of this one's services."""
    config = ctx.current.config
    for name, service in config.settings.services.items():
        holder = lease.holder(service.lease) if service.lease else None
        if holder is None or holder.root in config.instance.roots:
            continue
        words = f"{service.lease} runs in instance {holder.instance} ({holder.root}, pid {holder.pid})"
        if service.on_conflict == "skip":
            yield Check("services", "ok", f"{words}: {name} of {config.instance} is not started")
        elif name in dict(ctx.current.plan.skipped):
            yield Check("services", "ok", words)
        else:
            words = f"{words}, and {name} of {config.instance} would start too: one at a time"
            stop = f"cd {holder.root} && inv services.stop -s {name}; or here: inv dev --no-whatsapp"
            yield Check("services", "problem", words, stop)


def remedy(program: str) -> str:
    """Return the command that installs a program."""
    if program in REMEDIES:
        return REMEDIES[program]
    if program in NODE:
        return install("nodejs npm", "node")
    return f"{install(program)}, or change the command in invoke.yaml"
