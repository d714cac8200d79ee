"""Show what an instance's components are doing, and where everything is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.infra.all import component
from orienter_tasks.observe import inventory
from orienter_tasks.output.tables import Column
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.observe.parts import Part


@dataclass(frozen=True)
class Row:
    """A component that runs, or should."""

    name: str
    state: str
    port: str
    what: str
    part: Part | None = None


COLUMNS: tuple[Column[Row], ...] = (
    Column("component", lambda row: row.name),
    Column("state", lambda row: row.state),
    Column("port", lambda row: row.port),
    Column("what", lambda row: row.what, wrap=True),
    Column("up", lambda row: inventory.ago(row.part.started_at) if row.part else ""),
    Column("memory", lambda row: inventory.megabytes(row.part.memory) if row.part and row.part.running else "", drop=1),
)


def status(ctx: InstanceContext, names: Sequence[str], *, as_json: bool) -> bool:
    """Show the components of this instance; say whether all that should run does."""
    taken = inventory.take([ctx.current.claim], with_listeners=True)
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
    title = f"{ctx.current.instance}  {found.state}  {ctx.current.instance.url}"
    ctx.report.table(COLUMNS, _rows(ctx, found, names), title=title)
    for line in inventory.last_words(found):
        ctx.report.answer(line)
    return found.state == "running"


def announce(ctx: InstanceContext) -> None:
    """Print where everything is."""
    instance = ctx.current.instance
    facts = [("page", instance.url)]
    for name, service in ctx.settings.services.items():
        if service.port and any(name == running.name for running in ctx.current.plan.services):
            facts.append((name, f"http://localhost:{instance.ports[service.port]}"))
    addresses = (component(name).address(ctx.current.config) for name in catalog.names())
    facts += [address for address in addresses if address is not None]
    facts += [("backend", ctx.current.claim.backend), ("logs", str(instance.log_dir))]
    ctx.report.box(f"instance {instance.id} · {instance.worktree}", facts)


def _rows(ctx: InstanceContext, found: inventory.Found, names: Sequence[str]) -> list[Row]:
    parts = {part.name: part for part in found.parts}
    skipped = dict(ctx.current.plan.skipped) if ctx.current.claim.backend else {}
    rows = []
    for name in dict.fromkeys([*catalog.names(), *ctx.settings.services, *parts]):
        if names and name not in names:
            continue
        part, port = parts.get(name), str(_port(ctx, name) or "")
        if part is None:
            rows.append(Row(name, "skipped" if name in skipped else "stopped", port, skipped.get(name, "")))
            continue
        rows.append(Row(name, part.state, port, ", ".join(filter(None, (part.what, _lacks(ctx, part)))), part))
    return rows


def _lacks(ctx: InstanceContext, part: Part) -> str:
    native = part.running and part.kind == "process" and part.name in catalog.names()
    return component(part.name).lacks(ctx.current.config) if native else ""


def _port(ctx: InstanceContext, name: str) -> int | None:
    if name in catalog.names():
        return ctx.current.instance.ports[catalog.entry_of(name).port]
    service = ctx.settings.services.get(name)
    return ctx.current.instance.ports[service.port] if service is not None and service.port else None
