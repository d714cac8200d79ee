"""Invoke's configuration files: errors in one line instead of a traceback, and those of other checkouts."""

from __future__ import annotations

import sys
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

HINT = "invoke.yaml must be a mapping whose keys are words; check INVOKE_… variables as well"


def report_errors() -> None:
    """Report what Invoke cannot read before any task runs; every other exception goes to the former hook."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(trace)]
        in_task = any(name.startswith(("invoke.tasks", "orienter_tasks.")) for name in modules)
        if in_task or "invoke.config" not in modules or not isinstance(error, Exception):
            before(kind, error, trace)
            return
        from invoke.vendor.yaml import YAMLError

        from orienter_tasks.output.console import Report

        words = " ".join(str(error).split())[:300]
        fault = ConfigError(f"Invoke cannot read its configuration: {words}", hint=HINT)
        if isinstance(error, (YAMLError, UnicodeDecodeError)):
            fault = ConfigError(f"invoke.yaml is not valid YAML: {words}", hint="correct it there")
        Report().error(fault)
        raise SystemExit(fault.exit_code)

    sys.excepthook = hook


def raw_settings_of(root: Path) -> object:
    """Return what another checkout's configuration says under `orienter:`, as Invoke would read it there; or None.

    Raises:
        ConfigError: it cannot be read.
    """
    from invoke.config import Config
    from invoke.exceptions import UnknownFileType
    from invoke.vendor.yaml import YAMLError

    config = Config(project_location=root)
    try:
        config.load_project()
    except (YAMLError, UnknownFileType, OSError, ValueError) as error:
        raise ConfigError(f"cannot read the settings of {root}: {' '.join(str(error).split())}") from error
    return config.get("orienter")


def parse_yaml(text: str) -> Any:
    """Parse YAML with the parser that Invoke brings.

    Raises:
        ValueError: it is not YAML.
    """
    from invoke.vendor import yaml

    load: Callable[[str], Any] = yaml.safe_load  # its stubs have no types
    try:
        return load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
