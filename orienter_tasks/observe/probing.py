"""What services answer when they are asked now, beside what is found of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.machine.threads import map_in_threads
from orienter_tasks.stack.component import NotReadyError
from orienter_tasks.stack.native import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.observe.model import ObservedInstance
    from orienter_tasks.services.service import ServiceComponent
    from orienter_tasks.stack.component import ComponentStatus

SECONDS = 0.5


def probed(found: ObservedInstance, services: Sequence[ServiceComponent]) -> ObservedInstance:
    """Ask the services of an instance that seem to be well whether they are ready, all at once and for half a second.

    Args:
        found: the instance as it was found.
        services: those that its settings describe.
    """
    known = {service.name: service for service in services}
    asked = {each.name: each for each in found.components if each.well and each.name in known}

    def ask(status: ComponentStatus) -> ComponentStatus:
        try:
            known[status.name].ask(SECONDS)
        except NotReadyError as error:
            return silent(status, str(error), str(known[status.name].log))
        return status

    answers = {each.name: each for each in map_in_threads(ask, asked.values())}
    components = [answers.get(each.name, each) for each in found.components]
    partial = found.state == "running" and not all(each.well for each in components)
    return replace(found, components=components, state="partial" if partial else found.state)
