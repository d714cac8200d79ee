"""A host's tasks.py: a task of its own, which takes a minute, runs before or after the start (PLACE)."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from invoke.tasks import Task

from orienter_tasks import ns
from orienter_tasks.tasks import dev

__all__ = ["ns"]


def slow(_c: Any) -> None:
    sys.stdout.write("slow begins\n")
    sys.stdout.flush()
    time.sleep(60)


start: Any = dev.start
place = os.environ.get("PLACE")
if place == "pre":
    start.pre.append(Task(slow))
if place == "post":
    start.post.insert(0, Task(slow))
