"""What the configured services and hooks need: their programs, their variables, the leases they take."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding, install
from orienter_tasks.errors import NotFoundError, OrienterError
from orienter_tasks.instance.variables import expand
from orienter_tasks.services import lease
from orienter_tasks.services.service import resolve_program, why_skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.doctor.context import Situation

NODE = ("node", "npm", "npx", "pnpm", "yarn", "corepack")
REMEDIES = {
    "pnpm": "corepack enable pnpm, or: npm install --global pnpm",
    "yarn": "corepack enable yarn, or: npm install --global yarn",
    "opencode": "npm install --global opencode-ai",
    "tsx": "npm install --global tsx",
    "bun": "npm install --global bun",
}


def found(situation: Situation) -> Iterator[Finding]:
    """Require the program of each service that would start, and of each hook."""
    config = situation.config
    if config is None:
        return
    missing: dict[str, list[str]] = defaultdict(list)
    there: set[str] = set()
    for key, command, cwd, env in _commands(config):
        values = {**config.variables.values, **env}
        program, place = command[0], cwd
        try:
            program = expand(command[0], values, f"{key}.command")
            place = str(config.instance.root / expand(cwd, values, f"{key}.cwd"))
            path = resolve_program(program, Path(place), {**situation.environ, **values}, key)
            there.add(Path(path).name)
        except NotFoundError:
            missing[program].append(key)
        except OrienterError as error:
            yield Finding("problem", "services", str(error), error.hint)
        if not Path(place).is_dir():
            yield Finding("problem", "services", f"{key}: its directory {place} is not there", f"mkdir -p {place}")
    for program, users in missing.items():
        words = f"{program} is not there, and {', '.join(users)} {'needs' if len(users) == 1 else 'need'} it"
        yield Finding("problem", "programs", words, remedy(program))
    if there:
        yield Finding("ok", "programs", ", ".join(sorted(there)))
    yield from _packages(config, [*there, *missing])


def skipped(situation: Situation) -> Iterator[Finding]:
    """Tell which services would not start, and why."""
    config = situation.config
    if config is None:
        return
    for name, service in config.settings.services.items():
        reason = why_skipped(service, config.variables.values)
        if reason:
            yield Finding("ok", "services", f"{name} is not started: {reason}")


def leases(situation: Situation) -> Iterator[Finding]:
    """Say who runs what only one instance may run at a time."""
    config = situation.config
    if config is None:
        return
    for name, service in config.settings.services.items():
        if not service.lease:
            continue
        holder = lease.holder(service.lease)
        if holder is None or holder.root in config.instance.roots:
            continue
        words = f"{service.lease} runs in instance {holder.instance} ({holder.root}, pid {holder.pid})"
        if why_skipped(service, config.variables.values):
            yield Finding("ok", "services", words)
        else:
            yield Finding(
                "problem",
                "services",
                f"{words}, and {name} of {config.instance} would start too: one at a time",
                f"cd {holder.root} && inv services.stop -s {name}; or here: inv dev --no-whatsapp",
            )


def remedy(program: str) -> str:
    """Return the command that gets a program."""
    if program in REMEDIES:
        return REMEDIES[program]
    if program in NODE:
        return install("nodejs npm", "node")
    return f"{install(program)}, or change the command in invoke.yaml"


def _commands(config: InstanceConfig) -> Iterator[tuple[str, Sequence[str], str, Mapping[str, str]]]:
    for name, service in config.settings.services.items():
        if not why_skipped(service, config.variables.values):
            yield f"orienter.services.{name}", service.command, service.cwd, service.env
    for hook in config.settings.hooks.before_services:
        yield f"hook {hook.name}", hook.command, hook.cwd, hook.env


def _packages(config: InstanceConfig, programs: Sequence[str]) -> Iterator[Finding]:
    """Node's programs need what package.json lists; pnpm and yarn keep that beside it, too."""
    root = config.instance.root
    wanting = [program for program in programs if program in NODE]
    if not wanting or not (root / "package.json").is_file() or (root / "node_modules").is_dir():
        return
    lock = {"pnpm-lock.yaml": "pnpm install", "yarn.lock": "yarn install"}
    command = next((how for file, how in lock.items() if (root / file).is_file()), "npm install")
    yield Finding("problem", "programs", "package.json is there, and node_modules is not", command)


def node(situation: Situation) -> Iterator[Finding]:
    """Require Node where one of its programs is used: pnpm and npx are scripts of it."""
    config = situation.config
    if config is None:
        return
    used = {Path(command[0]).name for _, command, _, _ in _commands(config)} & set(NODE)
    if used and shutil.which("node") is None:
        yield Finding(
            "problem", "programs", f"node is not on PATH, and {', '.join(sorted(used))} needs it", remedy("node")
        )
