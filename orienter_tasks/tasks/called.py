"""What the user called: Invoke gives pre- and post-tasks neither the settings of the called task nor its name.

A host may have our tasks below another name, with settings of their own: `Collection.from_module(orienter_tasks,
name="stack", config=…)`. Only Invoke's own program, behind `inv`, is known here; others get what Invoke gives them.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from invoke.config import Config
    from invoke.program import Program


def load_settings_of_called(config: Config) -> None:
    """Load the settings of the collection of the called task.

    Raises:
        ConfigError: tasks of ours were called whose settings differ.
    """
    program = _program()
    if program is None or program.config is not config:
        return
    found = {name: program.collection.configuration(name) for name in _called(program)}
    first = next(iter(found), "")
    for name, loaded in found.items():
        if loaded.get("orienter") != found[first].get("orienter"):
            raise ConfigError(f"{first} and {name} have different settings", hint="run one after the other")
    if first and found[first] != program.collection.configuration():
        config.load_collection(found[first])


def rename(text: str) -> str:
    """Give our tasks in a text the names by which they can be called: `inv dev` may be `inv stack.dev`."""
    if "inv " not in text or not (prefix := _prefix()):
        return text
    from orienter_tasks import ns

    names = "|".join(map(re.escape, (*ns.tasks, *ns.collections)))
    return re.sub(rf"\binv (?=(?:{names})\b)", f"inv {prefix}", text)


def _prefix() -> str:
    """Return what stands before the names of our tasks: those of the called one, else of any."""
    program, own = _program(), _own()
    if program is None:
        return ""
    for name in (*_called(program), *program.collection.task_names):
        known = own.get(program.collection[name].body, "")
        if known and name.endswith(known):
            return name.removesuffix(known)
    return ""


def _called(program: Program) -> list[str]:
    """Return the names of our tasks on the command line."""
    names = [context.name for context in program.tasks if context.name]
    return [name for name in names if program.collection[name].body.__module__.startswith(f"{__package__}.")]


def _own() -> Mapping[Callable[..., Any], str]:
    """Return our tasks' names by their bodies: Invoke copies tasks, but not these."""
    from orienter_tasks import ns

    return {ns[name].body: name for name in ns.task_names}


def _program() -> Program | None:
    """Return Invoke's program, if it runs and has read its command line."""
    program: Program | None = getattr(sys.modules.get("invoke.main"), "program", None)
    return program if hasattr(program, "tasks") else None
