"""The one place where tests build an instance, and the configuration that follows from it and from its settings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orienter_tasks.instance import model
from orienter_tasks.lifecycle.config import configure
from orienter_tasks.settings.load import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import Settings


def make_instance(
    root: Path, number: int = 0, settings: Settings | None = None, *, former_roots: tuple[str, ...] = ()
) -> model.Instance:
    """Build an instance, with a token of its own; whether its root exists is the caller's affair."""
    instance = model.make_instance(settings or load_settings(None), number, root)
    token = hashlib.sha256(f"{root} {number}".encode(errors="surrogateescape")).hexdigest()[:16]
    return replace(instance, former_roots=former_roots, token=token)


def make_config(
    root: Path,
    number: int = 0,
    dotenv: Mapping[str, str] | None = None,
    *,
    each_port: Callable[[], int] | None = None,
    former_roots: tuple[str, ...] = (),
    **orienter: Any,
) -> InstanceConfig:
    """Configure an instance whose root exists; `each_port` gives its ports instead of the settings' plan."""
    root.mkdir(parents=True, exist_ok=True)
    settings = load_settings(orienter)
    instance = make_instance(root.resolve(), number, settings, former_roots=former_roots)
    if each_port is not None:
        instance = replace(instance, ports={name: each_port() for name in instance.ports})
    return configure(instance, settings, dotenv or {}, {})


def with_dotenv(config: InstanceConfig, dotenv: Mapping[str, str]) -> InstanceConfig:
    """The same instance, with another `.env`."""
    return configure(config.instance, config.settings, dotenv, {})


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, which go one section deep."""
    result = dict(settings)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result
