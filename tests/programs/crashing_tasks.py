"""A host's tasks.py in which two of the package's commands, and a task of its own, raise what nothing foresees."""

from __future__ import annotations

from typing import Any

from invoke.tasks import Task

import orienter_tasks.commands.instances
import orienter_tasks.commands.stop
from orienter_tasks import ns


def broken(*_: object, **__: object) -> None:
    raise KeyError("s3cr3t-word", "xoxb-123456", "other-word", "postgresql://me:in-the-url@127.0.0.1/db")


def locks_and_breaks(ctx: Any, **_: object) -> None:
    ctx.start.lock()
    raise ValueError("first\nsecond")


orienter_tasks.commands.instances.show = broken
orienter_tasks.commands.stop.stop_this = locks_and_breaks


def own(c: Any) -> None:
    broken()


ns.add_task(Task(own))
