"""Show what an instance's components are doing, and where everything is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from orienter_tasks.commands.logs import limit_logs
from orienter_tasks.commands.names import pages
from orienter_tasks.errors import OrienterError
from orienter_tasks.infra.all import component
from orienter_tasks.observe.model import as_document, component_document, last_words
from orienter_tasks.observe.probing import probed
from orienter_tasks.observe.scan import scan
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import ago, megabytes
from orienter_tasks.services import last_start
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.model import ObservedInstance
    from orienter_tasks.services.service import ServiceComponent
    from orienter_tasks.stack.component import ComponentStatus


class Row(msgspec.Struct, frozen=True):
    """A component that runs, or should."""

    name: str
    state: str
    port: str
    what: str
    found: ComponentStatus | None = None


COLUMNS: tuple[Column[Row], ...] = (
    Column("component", lambda row: row.name),
    Column("state", lambda row: row.state),
    Column("port", lambda row: row.port),
    Column("what", lambda row: row.what, wrap=True),
    Column("up", lambda row: ago(row.found.started_at) if row.found else ""),
    Column("memory", lambda row: megabytes(row.found.memory) if row.found and row.found.running else "", drop=1),
)


def status(ctx: RunContext, names: Sequence[str], *, as_json: bool) -> bool:
    """Show the components of this instance, which are asked whether they answer; say whether all is well."""
    found, unseen_parts = look(ctx, sizes=True, use=as_json)
    for unseen in unseen_parts:
        ctx.report.warn(f"not seen: {unseen}")
    limit_logs(ctx)
    _show_on_page(ctx, found)
    if as_json:
        document = as_document(found)
        document["components"] = [
            component_document(each) for each in found.components if not names or each.name in names
        ]
        ctx.report.json({**document, "skipped": skipped_services(ctx), "unseen": list(unseen_parts)})
        return found.state == "running"
    title = f"{ctx.current.instance}  {found.state}  {ctx.current.instance.host_url}"
    ctx.report.table(COLUMNS, _rows(ctx, found, names), title=title)
    if found.failure is not None and not found.failure.component:
        ctx.report.answer(f"the last start failed {ago(found.failure.at)} ago: {found.failure.what}")
    for line in last_words(found):
        ctx.report.answer(line)
    return found.state == "running"


def look(ctx: RunContext, *, sizes: bool = False, use: bool = False) -> tuple[ObservedInstance, Sequence[str]]:
    """Look at this instance and ask its services whether they answer; also return what could not be seen.

    `sizes` and `use`: as in `scan`.
    """
    taken = scan([ctx.current.claim], sizes=sizes, use=use)
    return probed(replace(taken.instances[0], instance=ctx.current.instance), _services(ctx)), taken.unseen


def _show_on_page(ctx: RunContext, found: ObservedInstance) -> None:
    from orienter_tasks.backends.nginx import notices

    with suppress(OrienterError):
        if not ctx.options.dry:
            notices.show(ctx.current.config, {each.name: each.silence for each in found.components if each.silence})


def _services(ctx: RunContext) -> Sequence[ServiceComponent]:
    """Return the services that can be asked; none where the settings or variables are wrong, which a start reports."""
    with suppress(OrienterError):
        return ctx.current.plan.services if ctx.current.claim.placed else ()
    return ()


def announce(ctx: RunContext) -> None:
    """Print where everything is."""
    instance = ctx.current.instance
    facts = pages(instance)
    skipped = skipped_services(ctx)
    for name, service in ctx.settings.services.items():
        if service.port and name not in skipped:
            facts.append((name, f"http://localhost:{instance.ports[service.port]}"))
    addresses = (component(name).address(ctx.current.config) for name in instance.infra)
    facts += [address for address in addresses if address is not None]
    facts += [("backend", str(ctx.current.claim.backends)), ("logs", str(instance.log_dir))]
    ctx.report.box(f"instance {instance.id} · {instance.worktree}", facts)


def skipped_services(ctx: RunContext) -> dict[str, str]:
    """Return the services that are not to run, and why: by their variables, or as the last start found."""
    known = ctx.settings.services.keys()
    found = {name: why for name, why in last_start.load(ctx.current.instance).skipped.items() if name in known}
    return {**found, **dict(ctx.current.plan.skipped)}


def _rows(ctx: RunContext, found: ObservedInstance, names: Sequence[str]) -> list[Row]:
    known = {each.name: each for each in found.components}
    skipped = skipped_services(ctx) if ctx.current.claim.placed else {}
    rows = []
    for name in dict.fromkeys([*ctx.current.instance.infra, *ctx.settings.services, *known]):
        if names and name not in names:
            continue
        status, port = known.get(name), str(_port(ctx, name) or "")
        if status is None:
            hidden = found.state == "unknown" and name in catalog.names()
            state = "skipped" if name in skipped else "unknown" if hidden else "stopped"
            rows.append(Row(name, state, port, skipped.get(name, "")))
            continue
        what = f"{status.what} ({ago(status.ended_at)} ago)" if status.ended_at else status.what
        what = ", ".join(filter(None, (what, _lacks(ctx, status))))
        rows.append(Row(name, status.state, port, what, status))
    return rows


def _lacks(ctx: RunContext, status: ComponentStatus) -> str:
    native = status.running and status.kind == "process" and status.name in catalog.names()
    return component(status.name).lacks(ctx.current.config) if native else ""


def _port(ctx: RunContext, name: str) -> int | None:
    if name in catalog.names():
        return ctx.current.instance.ports.get(catalog.entry_of(name).port)
    service = ctx.settings.services.get(name)
    return ctx.current.instance.ports[service.port] if service is not None and service.port else None
