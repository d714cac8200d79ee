"""What services and hooks wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.settings.model import Settings


def needs(settings: Settings) -> dict[str, list[str]]:
    """Return what each service and hook waits for: its own `needs`, and the hooks that run before it.

    A hook without `before` runs before all services, or before none if it needs one itself. One with `once: data` that
    names no server waits for all that keep data.
    """
    hooks = settings.all_hooks
    graph = {name: [*service.needs] for name, service in settings.services.items()}
    graph |= {hook.name: [*hook.needs] for hook in hooks}
    for hook in hooks:
        for name in hook.before or ():
            graph[name].append(hook.name)
    keeping = [name for name in catalog.with_data() if name in settings.servers]
    for hook in hooks:
        if hook.once == "data" and reachable(graph, [hook.name]).isdisjoint(keeping):
            graph[hook.name] += keeping
    everywhere = [hook.name for hook in hooks if hook.before is None]
    late = {name for name in everywhere if not settings.services.keys().isdisjoint(reachable(graph, [name]))}
    for name in settings.services:
        graph[name] += [hook for hook in everywhere if hook not in late]
    return graph


def exporters(settings: Settings) -> dict[str, list[str]]:
    """Return the hooks whose exports each service and hook gets: those that it waits for itself."""
    exporting = {hook.name for hook in settings.all_hooks if hook.exports}
    return {name: [need for need in needed if need in exporting] for name, needed in needs(settings).items()}


def reachable(graph: Mapping[str, Sequence[str]], names: Iterable[str]) -> set[str]:
    """Return all that these wait for, directly or not, and these."""
    found, left = set[str](), [*names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += graph.get(name, ())
    return found
