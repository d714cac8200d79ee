"""What tasks do under Invoke's `--dry`: say in one line what they would do. Nothing is claimed, written or ended."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.observe.scan import scan
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext


def init(ctx: RunContext, *, complete: bool = True) -> None:
    from orienter_tasks.commands import env
    from orienter_tasks.instance import dotenv
    from orienter_tasks.machine import worktree

    tree, ports = worktree.read(ctx.root), partial(env.own_ports, ctx)
    new = dotenv.plan(tree, ports, partial(env.passwords, ctx))
    if new is None and complete:
        new = dotenv.completion(tree, ports, partial(env.settled_names, ctx))
    if new is not None:
        ctx.report.note(f"would write .env: {new}")


def execute(ctx: RunContext) -> None:
    from orienter_tasks.commands.env import command_line

    _would(ctx, f"run: {shlex.join(command_line())}")


def hook(ctx: RunContext, shell: str) -> None:
    from orienter_tasks.commands import hook

    hook.known(shell)
    _would(ctx, f"print the hook of {shell}, and have starts write what it reads")


def run(ctx: RunContext, **_: object) -> None:
    from orienter_tasks.commands.env import command_line

    _would(ctx, f"run in a throwaway instance: {shlex.join(command_line('test.run'))}")


def remote_open(ctx: RunContext, place: str, **_: object) -> None:
    from orienter_tasks.commands import remote

    where = remote.parse(place)
    _would(ctx, f"forward the ports of the instance in {where.path} on {where.host}")


def psql(ctx: RunContext) -> None:
    from orienter_tasks.commands.env import behind_dashes

    _would(ctx, f"run: {shlex.join(['psql', *behind_dashes()])}")


def s3(ctx: RunContext, verb: str, json: bool) -> None:
    from orienter_tasks.commands import clients, env

    if verb == "ls":
        clients.s3(ctx, verb, as_json=json)
    else:
        _would(ctx, shlex.join([verb, *env.behind_dashes()]))


def up(ctx: RunContext, **_: object) -> None:
    if ctx.options.fresh:
        _would(ctx, _named("stop", _running(ctx)))
    backend, initial = ctx.current.settled_backend, ctx.options.data or ctx.settings.data.initial
    if initial != "empty" and not (backend is not None and backend.data_volumes()) and not _files(ctx):
        _would(ctx, f"begin with the data of {initial}")
    _would_start(ctx, ctx.settings.servers)


def _files(ctx: RunContext) -> bool:
    from orienter_tasks.commands.data.snapshot import files_of

    return files_of(ctx.current.config).files > 0


def start(ctx: RunContext) -> None:
    plan = ctx.current.plan
    _would_start(ctx, [*(hook.name for hook in plan.hooks), *(service.name for service in plan.services)])


def attach(ctx: RunContext) -> None:
    if not ctx.options.detach:
        _would(ctx, f"follow the logs of {ctx.current.instance}, and stop it at Ctrl-C")


def start_services(ctx: RunContext, service: Sequence[str]) -> None:
    from orienter_tasks.commands.start import services_to_start

    _would_start(ctx, [part.name for part in services_to_start(ctx, service)])


def restart(ctx: RunContext, service: Sequence[str]) -> None:
    from orienter_tasks.commands.start import parts_to_restart

    names = [part.name for part in parts_to_restart(ctx, service or list(ctx.settings.services))]
    _would(ctx, _named("restart", names))


def stop_services(ctx: RunContext, service: Sequence[str]) -> None:
    from orienter_tasks.commands.names import known_services

    wanted = known_services(ctx, service) or list(ctx.settings.services)
    _would(ctx, _named("stop", [name for name in _running(ctx) if name in wanted]))


def stop(ctx: RunContext, *, volumes: bool, every: bool) -> None:
    from orienter_tasks.commands.stop import claims_to_stop

    if not every:
        _stop(ctx, volumes=volumes, services=True)
        return
    found = scan(claims_to_stop(ctx, volumes=volumes), details=False).instances
    _would(ctx, _named("stop", [str(each.instance) for each in found if any(part.running for part in each.components)]))


def down(ctx: RunContext, *, volumes: bool = False, **_: object) -> None:
    _stop(ctx, volumes=volumes, services=False)


def nginx_render(ctx: RunContext) -> None:
    _would(ctx, f"write nginx's configuration to {_nginx_directory(ctx)} if it has changed, and reload a running nginx")


def nginx_check(ctx: RunContext) -> None:
    _would(ctx, f"render nginx's configuration beside {_nginx_directory(ctx)}, and test it there")


def nginx_reload(ctx: RunContext) -> None:
    from orienter_tasks.commands.names import require_running

    require_running(ctx, "nginx")
    _would(ctx, f"write nginx's configuration to {_nginx_directory(ctx)}, and reload nginx")


def selftest(ctx: RunContext, **_: object) -> None:
    _would(ctx, "make throwaway instances in folders of their own, and remove them")


def _stop(ctx: RunContext, *, volumes: bool, services: bool) -> None:
    from orienter_tasks.commands.stop import data_to_remove, never_started
    from orienter_tasks.output.units import megabytes

    if never_started(ctx):
        _would(ctx, "stop nothing")
        return
    doomed = data_to_remove(ctx, volumes=volumes, services=services, sizes=True)
    _would(ctx, _named("stop", _running(ctx)))
    if volumes:
        _would(ctx, _named("remove", [f"{volume.name} ({megabytes(volume.size)})" for volume in doomed]))


def _would_start(ctx: RunContext, names: Sequence[str]) -> None:
    """Say what would be started of these, after the checks of a start."""
    ctx.require_startable()
    current = ctx.current
    current.decide_backends()
    ctx.start.check(names)
    running = [] if ctx.options.fresh else _running(ctx)
    _would(ctx, _named("start", [name for name in names if name not in running]))


def _running(ctx: RunContext) -> list[str]:
    found = scan([ctx.current.claim], details=False).instances[0]
    names = {part.name for part in found.components if part.running}
    return [*(name for name in catalog.names() if name in names), *sorted(names.difference(catalog.names()))]


def _nginx_directory(ctx: RunContext) -> str:

    return str(ctx.current.instance.nginx_dir)


def _named(verb: str, names: Sequence[str]) -> str:
    return f"{verb}: {', '.join(names)}" if names else f"{verb} nothing"


def _would(ctx: RunContext, what: str) -> None:
    ctx.report.answer(f"would {what}")
