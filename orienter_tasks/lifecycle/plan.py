"""The components of an instance, built from its configuration."""

from __future__ import annotations

from collections import ChainMap
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.services.hook import HookComponent
from orienter_tasks.services.service import ServiceComponent, variables, why_skipped
from orienter_tasks.settings import catalog, graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.settings.model import Hook
    from orienter_tasks.stack.component import Component


class Plan(msgspec.Struct, frozen=True, dict=True):
    """The components of an instance.

    `skipped` has names and reasons, as far as they are known before hooks have run.
    """

    backend: Backend | None
    hooks: Sequence[HookComponent]
    services: Sequence[ServiceComponent]
    skipped: Sequence[tuple[str, str]]

    @cached_property
    def infra(self) -> Sequence[Component]:
        """Its servers; none before it has a backend. Commands that only look need not load them."""
        return self.backend.components() if self.backend is not None else ()

    @property
    def lasting(self) -> Sequence[Component]:
        """All but the hooks, which end."""
        return [*self.infra, *self.services]

    def hooks_before(self, parts: Sequence[Component]) -> list[HookComponent]:
        """Return the hooks that these wait for in a start, directly or not."""
        needs = {part.name: part.needs for part in (*self.hooks, *self.lasting)}
        awaited = graph.reachable(needs, [part.name for part in parts])
        return [hook for hook in self.hooks if hook.name in awaited]


def make_plan(config: InstanceConfig, backend: Backend | None, *, without: Sequence[str] = ()) -> Plan:
    hooks, settings = config.settings.all_hooks, config.settings
    needs, exporters = graph.needs(settings), graph.exporters(settings)
    printed: dict[str, dict[str, str]] = {hook.name: {} for hook in hooks}

    def exported_to(name: str) -> Mapping[str, str]:
        return ChainMap(*(printed[hook] for hook in reversed(exporters[name])))

    def make_hook(hook: Hook) -> HookComponent:
        awaited = graph.reachable(needs, [hook.name])
        data = [name for name in catalog.with_data() if name in awaited]
        return HookComponent(
            config,
            hook,
            needs=needs[hook.name],
            exported=exported_to(hook.name),
            printed=printed[hook.name],
            generations=partial(backend.generations, data) if backend is not None else dict,
        )

    services, skipped, now = [], [], variables(config, {})
    for name, service in settings.services.items():
        reason = "not wanted" if name in without else "" if exporters[name] else why_skipped(service, now)
        if reason:
            skipped.append((name, reason))
        else:
            made = ServiceComponent(config, name, service, needs=needs[name], exported=exported_to(name))
            services.append(made)
    return Plan(backend, [make_hook(hook) for hook in hooks], services, skipped)
