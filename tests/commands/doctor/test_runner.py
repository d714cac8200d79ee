"""Doctor runs every check that there is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands import doctor
from orienter_tasks.commands.doctor.runner import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable


def is_check(look: Callable[..., Any]) -> bool:
    """Whether a function is written as a check: it takes the context alone, and returns checks."""
    *arguments, returned = (look.__annotations__[name] for name in (*inspect.signature(look).parameters, "return"))
    return arguments == ["RunContext"] and str(returned).endswith("[Check]")


def test_every_check_is_run() -> None:
    names = [each.name for each in pkgutil.iter_modules(doctor.__path__) if each.name.startswith("checks_")]
    found = set()
    for name in names:
        module = importlib.import_module(f"{doctor.__name__}.{name}")
        own = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
        found |= {each for each in own if inspect.isfunction(each) and not each.__name__.startswith("_")}
    assert {each for each in found if is_check(each)} == {look for _, look in CHECKS}
