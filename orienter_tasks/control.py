"""What the tasks do with an instance, each in one call: stop, show, follow."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from orienter_tasks import inventory
from orienter_tasks.errors import ConfigError, ConflictError, InterruptError
from orienter_tasks.settings import INFRA
from orienter_tasks.validation import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.attach import Attachment
    from orienter_tasks.backends.backend import Holding
    from orienter_tasks.context import InstanceContext
    from orienter_tasks.stack.component import Component

STATUS_COLUMNS = ("component", "state", "port", "what", "up", "memory")
POLL_SECONDS = 0.5


def known_components(ctx: InstanceContext, names: Sequence[str]) -> list[str]:
    """Require that every name is a component of this instance."""
    known = [*INFRA, *(hook.name for hook in ctx.settings.hooks.before_services), *ctx.settings.services]
    return _known(names, known)


def known_services(ctx: InstanceContext, names: Sequence[str]) -> list[str]:
    """Require that every name is a service of the settings."""
    return _known(names, list(ctx.settings.services))


def stop_services(ctx: InstanceContext, names: Sequence[str]) -> None:
    """Stop the named services, or all."""
    from orienter_tasks import shutdown

    wanted = known_services(ctx, names)
    stopped = []
    if _anything_runs(ctx):
        ctx.lock_for_stopping()
        stopped = shutdown.stop_services(ctx.instance, wanted, ctx.grace, ctx.progress().show)
        ctx.finish()
    if not stopped:
        ctx.report.note(f"{ctx.instance}: no such service was running")


def stop_this(ctx: InstanceContext, *, volumes: bool = False, yes: bool = False, services: bool = True) -> None:
    """Stop this instance; with `volumes` remove its data after asking.

    Raises:
        ConflictError: when services still run that need the infrastructure, and only that was to stop.
    """
    if not ctx.claim.backend and not _anything_runs(ctx):
        ctx.report.note(f"{ctx.instance} is not running")
        return
    if not services:
        busy = [part.name for part in _services_up(ctx)]
        if busy:
            raise ConflictError(
                f"{', '.join(busy)} of {ctx.instance} still run", hint="stop everything with: inv dev.stop"
            )
    doomed = list(ctx.backend.holdings()) if volumes and ctx.claim.backend else []
    if doomed:
        confirm(ctx, doomed, yes=yes)
    ctx.lock_for_stopping()
    ctx.progress()
    ran = ctx.stop()
    removed = ctx.backend.remove_data() if doomed else []
    ctx.finish()
    ctx.touch()
    ctx.report.note(f"{ctx.instance} is stopped" if ran else f"{ctx.instance} was not running")
    for name in removed:
        ctx.report.note(f"removed {name}")


def stop_every(ctx: InstanceContext, *, volumes: bool) -> None:
    """Stop every instance of this project, one thread each; report what could not be stopped.

    Raises:
        ConfigError: when the data of all was to go: that is clean-up's to plan.
    """
    from concurrent.futures import ThreadPoolExecutor

    if volumes:
        raise ConfigError("--all --volumes would remove the data of every checkout", hint="do it in each one")
    claims = [claim for claim in ctx.claims.read() if claim.project == ctx.settings.project]
    with ThreadPoolExecutor(max_workers=max(1, len(claims))) as pool:
        outcomes = list(pool.map(ctx.stop_claim, claims))
    failures = [outcome for outcome in outcomes if outcome is not None]
    ctx.report.note(f"{len(claims) - len(failures)} of {len(claims)} instances of {ctx.settings.project} are stopped")
    for failure in failures[1:]:
        ctx.report.error(failure)
    if failures:
        raise failures[0]


def confirm(ctx: InstanceContext, doomed: Sequence[Holding], *, yes: bool) -> None:
    """Ask before data goes; a pipe without `--yes` is refused.

    Raises:
        ConfigError: when nobody can be asked, or the answer is no.
    """
    sizes = ", ".join(f"{holding.name} ({inventory.megabytes(holding.size)})" for holding in doomed)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"this removes the data of {ctx.instance}: {sizes}", hint="add --yes to do it unasked")
    ctx.report.warn(f"this removes the data of {ctx.instance}: {sizes}")
    sys.stderr.write("remove it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was stopped or removed")


def status(ctx: InstanceContext, names: Sequence[str], *, as_json: bool) -> bool:
    """Show the components of this instance; say whether all that should run does."""
    taken = inventory.take([ctx.claim])
    found = taken.instances[0]
    for unseen in taken.unseen:
        ctx.report.warn(f"not seen: {unseen}")
    if as_json:
        document = inventory.as_document(found)
        document["components"] = [
            part for part in inventory.part_documents(found) if not names or part["name"] in names
        ]
        ctx.report.json({**document, "unseen": list(taken.unseen)})
        return found.state == "running"
    rows = _status_rows(ctx, found, names)
    title = f"{ctx.instance}  {found.state}  {ctx.instance.url}"
    ctx.report.table(STATUS_COLUMNS, rows, title=title, wrapping="what", droppable=("memory",))
    return found.state == "running"


def logs(
    ctx: InstanceContext, names: Sequence[str], *, follow: bool | None, lines: int, since: float | None, grep: str
) -> None:
    """Print the logs of components, merged; follow them on a terminal unless told otherwise."""
    from orienter_tasks.logstream import LogStream

    chosen = known_components(ctx, names)
    everything: list[Component] = [*ctx.plan.infra, *ctx.plan.hooks, *ctx.plan.services]
    components = [part for part in everything if not chosen or part.name in chosen]
    after = time.time() - since if since is not None else None
    stream = LogStream(components, lines=lines, since=after, grep=grep)
    if follow if follow is not None else sys.stdout.isatty():
        try:
            stream.follow(lambda: True, every=POLL_SECONDS)
        except KeyboardInterrupt:
            return
    else:
        stream.show()


def announce(ctx: InstanceContext) -> None:
    """Print where everything is."""
    instance, variables = ctx.instance, ctx.variables
    facts = [("page", instance.url)]
    for name, service in ctx.settings.services.items():
        if service.port and any(name == running.name for running in ctx.plan.services):
            facts.append((name, f"http://localhost:{instance.ports[service.port]}"))
    facts += [
        ("postgres", f"localhost:{instance.ports['postgres']}, database {variables['POSTGRES_DB']}"),
        ("s3", f"localhost:{instance.ports['minio_api']}, bucket {variables['S3_BUCKET']}"),
        ("backend", ctx.claim.backend),
        ("logs", str(instance.log_dir)),
    ]
    ctx.report.box(f"instance {instance.id} · {instance.worktree}", facts)


def attach(ctx: InstanceContext) -> None:
    """Follow the logs until Ctrl-C or a failure, then stop the instance."""
    from orienter_tasks.attach import Attachment

    attachment = Attachment(ctx.site, ctx.backend, ctx.plan.services, ctx.report.warn)
    ctx.report.note("following the logs; Ctrl-C stops this instance")
    _follow(ctx, attachment)


def _follow(ctx: InstanceContext, attachment: Attachment) -> None:
    try:
        attachment.run()
    except BaseException as error:
        _stop_patiently(ctx)
        if isinstance(error, KeyboardInterrupt):
            raise InterruptError("stopped by Ctrl-C", expected=True) from None
        raise
    ctx.report.note(f"{ctx.instance} was stopped by another command")


def _stop_patiently(ctx: InstanceContext) -> None:
    """Stop; a second Ctrl-C hurries."""
    sys.stdout.flush()
    try:
        ctx.lock_for_stopping()
        ctx.progress()
        ctx.stop()
    except KeyboardInterrupt:
        ctx.hurry()
        ctx.stop()
    finally:
        ctx.finish()
    ctx.report.note(f"{ctx.instance} is stopped; its data stays")


def _known(names: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise ConfigError(f"-s {name}: there is no such component", hint=nearest(name, known))
    return list(names)


def _services_up(ctx: InstanceContext) -> list[inventory.Part]:
    found = inventory.take([ctx.claim], with_memory=False).instances[0]
    return [part for part in found.services if part.running]


def _anything_runs(ctx: InstanceContext) -> bool:
    from orienter_tasks.processes import tree

    return bool(tree.names(ctx.instance))


def _status_rows(ctx: InstanceContext, found: inventory.Found, names: Sequence[str]) -> list[list[str]]:
    parts = {part.name: part for part in found.parts}
    expected = [*INFRA, *ctx.settings.services]
    skipped = dict(ctx.plan.skipped) if ctx.claim.backend else {}
    rows = []
    for name in dict.fromkeys([*expected, *parts]):
        if names and name not in names:
            continue
        part = parts.get(name)
        port = _port(ctx, name)
        if part is not None:
            state = "running" if part.running else "failed"
        else:
            state = "skipped" if name in skipped else "stopped"
        rows.append(
            [
                name,
                state,
                str(port) if port else "",
                part.what if part else skipped.get(name, ""),
                inventory.ago(part.started_at) if part else "",
                inventory.megabytes(part.memory) if part and part.running else "",
            ]
        )
    return rows


def _port(ctx: InstanceContext, name: str) -> int | None:
    if name in INFRA:
        return ctx.instance.ports["minio_api" if name == "minio" else name]
    service = ctx.settings.services.get(name)
    return ctx.instance.ports[service.port] if service is not None and service.port else None
