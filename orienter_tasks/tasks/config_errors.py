"""Invoke reads invoke.yaml before any task runs: what it cannot read ends in one line too, not in a traceback."""

from __future__ import annotations

import sys
from traceback import walk_tb
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

LONGEST_WORDS = 300
HINT = "invoke.yaml has to be a mapping whose keys are words; look at INVOKE_… variables as well"


def install() -> None:
    """Report such a fault at the end of the program; every other one is left to whom it was left to before."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(trace)]
        in_task = any(name.startswith(("invoke.tasks", "orienter_tasks.")) for name in modules)
        if in_task or "invoke.config" not in modules or not isinstance(error, Exception):
            before(kind, error, trace)
            return
        from invoke.vendor.yaml import YAMLError

        from orienter_tasks.output.console import Report

        words = " ".join(str(error).split())[:LONGEST_WORDS]
        fault = ConfigError(f"Invoke cannot read its configuration: {words}", hint=HINT)
        if isinstance(error, (YAMLError, UnicodeDecodeError)):
            fault = ConfigError(f"invoke.yaml is not valid YAML: {words}", hint="correct it there")
        Report().error(fault)
        raise SystemExit(fault.exit_code)

    sys.excepthook = hook
