"""The components of an instance, built from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.services.hook import HookComponent
from orienter_tasks.services.service import ServiceComponent, why_skipped
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.stack.component import Component


@dataclass(frozen=True)
class Plan:
    """The components of an instance; `infra` is empty before it has a backend, `skipped` has names and reasons."""

    infra: Sequence[Component]
    hooks: Sequence[HookComponent]
    services: Sequence[ServiceComponent]
    skipped: Sequence[tuple[str, str]]

    @property
    def lasting(self) -> Sequence[Component]:
        """All but the hooks, which end."""
        return [*self.infra, *self.services]


def make_plan(config: InstanceConfig, infra: Sequence[Component], *, without: Sequence[str] = ()) -> Plan:
    exported: dict[str, str] = {}
    waited_for: dict[str, list[str]] = {name: [] for name in config.settings.services}
    hooks: list[HookComponent] = []
    for hook in config.settings.hooks.before_services:
        before = [earlier.name for earlier in hooks[-1:]]
        hooks.append(HookComponent(config, hook, needs=(*catalog.awaited(), *before), exported=exported))
        for name in waited_for if hook.services is None else hook.services:
            waited_for[name] = [hook.name]
    services, skipped = [], []
    for name, service in config.settings.services.items():
        reason = "not wanted" if name in without else why_skipped(service, config.variables.values)
        if reason:
            skipped.append((name, reason))
        else:
            services.append(ServiceComponent(config, name, service, hooks=waited_for[name], exported=exported))
    return Plan(infra, hooks, services, skipped)
