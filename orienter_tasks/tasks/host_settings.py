"""Read another checkout's invoke.yaml, the way Invoke itself would there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.config import Config
from invoke.exceptions import UnknownFileType
from invoke.vendor.yaml import YAMLError

from orienter_tasks.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def raw_settings_of(root: Path) -> object:
    """Return what a checkout's own configuration says under `orienter:`; None when it says nothing.

    Raises:
        ConfigError: it cannot be read.
    """
    config = Config(project_location=root)
    try:
        config.load_project()
    except (YAMLError, UnknownFileType, OSError, ValueError) as error:
        raise ConfigError(f"cannot read the settings of {root}: {' '.join(str(error).split())}") from error
    return config.get("orienter")
