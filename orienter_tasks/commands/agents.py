"""The skill file that tells a coding agent how to use an instance in this repository, from the host's own settings."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, write_private
from orienter_tasks.output import task_names
from orienter_tasks.settings import catalog
from orienter_tasks.settings.model import PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import Settings

BEGIN, END = "<!-- orienter-tasks: begin -->", "<!-- orienter-tasks: end -->"
"""What stands between these is ours; `--write` changes nothing else."""

FRONT = """\
---
name: {name}
description: >-
  Run, test and debug {project} locally: this repository's servers and services, a stack of its own for every git
  worktree. Use it before starting a server, connecting to a database, choosing a port, running tests that need either,
  or making or removing a worktree.
---

"""

BODY = """\
# The development stack of {project}

Each checkout of this repository is an **instance**: it has an id, and from it ports, a database, a bucket and
directories that no other checkout uses. The main checkout is 0; a linked worktree gets one of 1 to {highest} at its
first start and keeps it. All commands work in any directory of a checkout. Never assume an id or a port: ask.

- `inv env.show` – id, page, ports, variables of this checkout (`--json`)
- `inv env.exec -- printenv DATA_DIR` – run any command with this instance's variables
- `inv instances` – every instance on this machine (`--json`)

## Ports

A port is its base + {step} × id. Services read them from their variables:

| what | variable | base (id 0) |
|---|---|---|
{ports}

## Start, and wait

- `inv dev --detach` – start what is not running, return when all is ready; safe to repeat
- `inv dev.wait --timeout 120` – when something else starts it: exit code 0 once it is ready, the start's own as
  soon as it has failed
- `inv dev.announce` – addresses of the page, database and bucket
- `inv dev.restart{service}` – after a change that a service does not pick up on its own
{services}
Exit codes: 0 done · 1 a check or a service failed · 2 wrong settings or usage · 3 not found or not running ·
4 something else holds a port, an id or a lock · 5 no backend · 6 timed out. An error ends with `hint:` and the command
to run.

## When something is wrong

1. `inv dev.why` – what is wrong, the worst first, and on its last line the command to run next (`--json`)
2. `inv dev.logs{service} --no-follow --lines 50` – logs; without `-s`, of everything, merged; `--grep` filters
3. `inv dev.status` – what each component is doing (`--json`)
4. `inv doctor` – checks of the machine and of this checkout, each with a remedy

## Data
{data}
## Tests

- `inv test.run -- true` – put your command in place of `true`: it gets a throwaway instance of its own, its exit
  code is kept (125: it was not run), and everything goes away afterwards. `--data main` copies the main checkout's
  data.{chosen} Several can run at once.

## Worktrees

- `inv worktree.new my-branch` – a worktree with its files, its data and all services running
- `inv worktree.list` – all of them, with their instances
- `inv worktree.rm my-branch` – takes one away with its instance, and refuses what would lose work
- A worktree that was made in any other way works too: go there and run `inv dev --detach`.
- `inv cleanup.daily --dry-run` shows what instances of removed worktrees have left; without `--dry-run` it asks,
  then removes it.

## Cleaning up

- `inv dev.stop` – stops this instance when you are done; data stays
- `inv dev.stop --idle 2h` – stops it only if nobody has used it for two hours, and says why if it stays

## Never

- Never end processes by port or by pattern (`lsof -ti`, `fuser -k`, `pkill`, `killall`): that hits other instances,
  which people or other agents use. Stop with `inv dev.stop`, which knows what is this checkout's own.
- Never remove containers, volumes, networks, `.dev-data` or `.dev-pids` by hand, and never prune Docker.
- Never start a service of this repository on its own, or a second database: `inv dev --detach` does both.
- Never write ports or addresses of an instance into `.env` or code; never copy another checkout's.
- Never use `--all`, `cleanup.instance` or `cleanup.all`, nor `--volumes` outside of your own worktree, unless you are
  asked to.
"""


def skill(ctx: RunContext, *, write: bool) -> None:
    """Print the skill file, or write it to where this repository keeps such files.

    Raises:
        ConflictError: what is there is not ours, or not where this checkout keeps it.
    """
    name = f"{ctx.settings.project}-dev".replace("_", "-")
    front = FRONT.format(name=name, project=ctx.settings.project)
    body = task_names.rename(BODY.format(**_values(ctx.settings)))
    if not write:
        ctx.report.answer((front + body).rstrip("\n"))
        return
    path, text = planned(ctx.root, name, front, body)
    if text is None:
        ctx.report.note(f"{path} is up to date")
    elif ctx.options.dry:
        ctx.report.answer(f"would write {path}")
    else:
        _write(path, text)
        ctx.report.note(f"{path} is written")


def planned(root: Path, name: str, front: str, body: str) -> tuple[Path, str | None]:
    """Return the file in which an agent looks here, and its new text; None where it has that already."""
    is_skill = (root / ".claude").is_dir()
    path = root / ".claude" / "skills" / name / "SKILL.md" if is_skill else root / "AGENTS.md"
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise ConflictError(f"{path} leads to {real}, outside of this checkout", hint="make it a file of its own")
    present = _present(real)
    section = f"{BEGIN}\n{body}{END}\n"
    if present is None:
        return real, front + section if is_skill else section
    end = "\r\n" if "\r\n" in present else "\n"
    section = section.replace("\n", end)
    counts = present.count(BEGIN), present.count(END)
    if counts == (1, 1) and present.index(BEGIN) < present.index(END):
        before, after = present.partition(BEGIN)[0], present.partition(END)[2]
        text = f"{before}{section.rstrip()}{after}"
    elif counts == (0, 0) and not is_skill:
        gap = "" if not present or present.endswith(end * 2) else end if present.endswith(end) else end * 2
        text = f"{present}{gap}{section}"
    else:
        what = "is not ours" if counts == (0, 0) else "has our markers more than once, or only one of them"
        raise ConflictError(f"{path} {what}", hint=f"our part stands between {BEGIN} and {END}")
    return real, text if text != present else None


def _present(path: Path) -> str | None:
    try:
        return read_small(path).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConflictError(f"{path} cannot be read as text: {error}", hint="look at that file") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    except OSError as error:
        raise failure(path, f"cannot write {path}", error) from error
    write_private(path, text, mode)


def _values(settings: Settings) -> dict[str, object]:
    services = list(settings.services)
    first = f" -s {services[0]}" if services else ""
    return {
        "project": settings.project,
        "highest": settings.instances.max,
        "step": PORT_STEP,
        "ports": "\n".join(_ports(settings)),
        "service": first,
        "services": "\n".join(["", *_services(settings), ""]) if services else "",
        "data": "\n".join(["", *_data(settings), ""]),
        "chosen": f" `-s {services[0]}` starts a service too." if services else "",
    }


def _ports(settings: Settings) -> Iterator[str]:
    users = {service.port: name for name, service in settings.services.items() if service.port}
    for name, base in settings.ports.items():
        what = catalog.component_of_port(name) or users.get(name)
        if what and (what in settings.servers or what in settings.services):
            yield f"| {what} | `{name.upper()}_PORT` | {base} |"


def _services(settings: Settings) -> Iterator[str]:
    yield "Services, for `-s NAME`:"
    yield ""
    for name, service in settings.services.items():
        words = re.sub(r"[`|\s]+", " ", " ".join(service.command))
        yield f"- {name}: `{words}`"


def _data(settings: Settings) -> Iterator[str]:
    if "postgres" in settings.servers:
        yield "- `inv infra.psql -- -c 'SELECT 1'` – SQL in this instance's database"
    if "minio" in settings.servers:
        yield "- `inv infra.s3 ls` – objects of this instance's bucket; also `cp -- FILE s3:KEY`, `rm -- KEY`"
    if any(name in settings.servers for name in catalog.with_data()):
        yield "- `inv data.snapshot before-change` – keep the data before a risky change; `inv data.list` shows all"
        yield "- `inv data.restore before-change --yes` – go back to it; what was there becomes an automatic snapshot"
        yield "- `inv data.clone --yes` – replace this instance's data by a copy of the main checkout's"
        yield "- `inv data.reset --yes` – back to the last snapshot used here, else to empty"
    else:
        yield "This repository has no server that keeps data."
