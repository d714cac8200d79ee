"""Invoke reads invoke.yaml before any task runs: what it cannot read is told in one line too, not in a traceback."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from invoke import config

from orienter_tasks.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]

LONGEST_WORDS = 300
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - compared as text


def install() -> None:
    """Tell of such a fault at the end of the program; every other one is left to whom it was left to before."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, Exception) or not _is_about_configuration(trace):
            before(kind, error, trace)
            return
        from orienter_tasks.output.console import Report

        fault = explain(error)
        Report().error(fault)
        raise SystemExit(fault.exit_code)

    sys.excepthook = hook


def explain(error: Exception) -> ConfigError:
    """Put a fault that Invoke met in its configuration into words."""
    from invoke.vendor.yaml import YAMLError

    words = " ".join(str(error).split())[:LONGEST_WORDS]
    if isinstance(error, (YAMLError, UnicodeDecodeError)):
        return ConfigError(f"invoke.yaml is not valid YAML: {words}", hint="correct it there")
    return ConfigError(
        f"Invoke cannot read its configuration: {words}",
        hint="invoke.yaml has to be a mapping whose keys are words; look at INVOKE_… variables as well",
    )


def _is_about_configuration(trace: TracebackType | None) -> bool:
    """Whether it came out of Invoke's reading of configuration, and not out of a task that Invoke runs."""
    files = list(_files(trace))
    return config.__file__ in files and not any(file.startswith(OURS) for file in files)


def _files(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
