"""Why a service does not answer, for nginx's page: a file beside the configuration, which is read at each request."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from orienter_tasks.errors import OrienterError
from orienter_tasks.machine.state import write_private
from orienter_tasks.output import task_names
from orienter_tasks.output.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig


def show(config: InstanceConfig, silent: Mapping[str, str]) -> None:
    """Let the page say why services do not answer, by their names; of all others it says so no longer.

    The page has a notice only while nginx itself gets no answer. Where it cannot be written, the page goes without.
    """
    known = {service.port: name for name, service in config.settings.services.items() if service.port}
    for port_name, name in known.items():
        place = _place(config, port_name)
        with suppress(OSError, OrienterError):
            if name in silent and place.parent.is_dir():
                write_private(place, os.fsencode(_text(config, name, port_name, silent[name])), 0o644, durable=False)
            else:
                place.unlink(missing_ok=True)


def _place(config: InstanceConfig, port_name: str) -> Path:
    return config.instance.nginx_dir / f"why-{port_name}"


def _text(config: InstanceConfig, name: str, port_name: str, why: str) -> str:
    instance, at = config.instance, time.strftime("%H:%M:%S")
    return (
        f"{name} of instance {instance.id} is not answering on port {instance.ports[port_name]}\n"
        f"{at}: {one_line(why)}\n"
        f"see: {task_names.rename('inv dev.status')}\n"
    )
