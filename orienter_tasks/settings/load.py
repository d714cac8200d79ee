"""Turn what invoke.yaml says under `orienter:` into Settings.

Every error is a ConfigError that names the key, and suggests the nearest one for a misspelt name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import catalog
from orienter_tasks.settings.defaults import SERVICES, ports as default_ports
from orienter_tasks.settings.model import (
    BackendChoice,
    BackendName,
    FormerHook,
    FurtherServer,
    Hook,
    Section,
    Service,
    Settings,
    WorktreeHook,
)
from orienter_tasks.settings.rules import NAME, PORT_NAME, VARIABLE, check_settings, nearest
from orienter_tasks.settings.servers import check_servers, make_entry, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AT = " - at `$"  # msgspec's: what is wrong, then where
_NOT_ALLOWED = r"(?s)Invalid enum value ['\"](.*)['\"] - at `\$\.(\w+)`$"

T = TypeVar("T", bound=Section)
Program = TypeVar("Program", Service, Hook, FormerHook, WorktreeHook)


def load_settings(raw: object) -> Settings:
    """Validate what invoke.yaml says under `orienter:` (None: nothing) over the defaults."""
    given = _mapping(raw, "orienter")
    infra = _infra(given.get("infra"))
    given = spread(given, infra)
    dropped = [name for name, server in infra.items() if server is None]
    catalog.set_further(make_entry(name, server) for name, server in infra.items() if server is not None)
    read = {
        "backend": backend_name(given.get("backend", "auto"), "orienter.backend"),
        "infra": infra,
        "ports": _ports(given.get("ports"), dropped),
        "services": _services(given.get("services"), dropped),
        "hooks": _hooks(given.get("hooks")),
    }
    settings = _section({**given, **read}, Settings, "orienter")
    check_settings(settings)
    check_servers(settings)
    return settings


def backend_name(value: object, where: str) -> BackendChoice:
    """Validate a backend's name, from settings, ORIENTER_BACKEND or the command line."""
    try:
        name: BackendChoice = msgspec.convert(value, BackendChoice)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: unknown backend {value!r}", hint="use auto, docker or embedded") from error
    return name


def as_plain(value: object) -> object:
    """Copy nested mappings and sequences, such as Invoke's DataProxy, into dicts and lists."""
    if hasattr(value, "items"):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return value


def _section(raw: object, section: type[T], where: str) -> T:
    """Convert a mapping, and each section within it separately, so that an error can suggest the nearest key."""
    given = _mapping(raw, where)
    _require_known(given, section, where)
    with_defaults = zip(reversed(section.__struct_fields__), reversed(section.__struct_defaults__), strict=False)
    within = {
        key: _section(given[key], type(default), f"{where}.{key}")
        for key, default in with_defaults
        if isinstance(default, Section) and key in given and (given[key] is not None or section is Settings)
    }
    try:
        return msgspec.convert({**given, **within}, section)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), section, where) from error


def _refusal(message: str, section: type[Section], where: str) -> ConfigError:
    """Turn msgspec's «Expected `int`, got `str` - at `$.max`» into our form: the key, then what is wrong with it."""
    text, _, path = message.rpartition(_AT) if _AT in message else (message, "", "")
    line = f"{where}{path.rstrip('`')}: {text[0].lower()}{text[1:]}".replace("`", "")
    refused = re.match(_NOT_ALLOWED, message)
    hint = nearest(refused[1], get_args(get_type_hints(section)[refused[2]])) if refused else ""
    return ConfigError(line, hint=hint)


def _mapping(raw: object, where: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected a mapping, got {_kind(raw)}")
    for key in raw:
        if not isinstance(key, str):
            raise ConfigError(f"{where}: the key {key!r} is not a word")
    return raw


def _kind(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return f"{names.get(type(value), 'a number')} ({repr(value)[:60]})"


def _require_known(given: Mapping[str, Any], section: type[Section], where: str) -> None:
    for key in given:
        if key not in section.__struct_fields__:
            raise ConfigError(f"{where}.{key}: unknown key", hint=nearest(key, section.__struct_fields__))


def _infra(raw: object) -> dict[str, FurtherServer | None]:
    """Return the servers that are dropped, by null, and those that are added."""
    given, where = _mapping(raw, "orienter.infra"), "orienter.infra"
    may_go = [name for name in catalog.names() if catalog.built_in(name) and name != catalog.NGINX.name]
    found: dict[str, FurtherServer | None] = {}
    for name, value in given.items():
        if value is None and name in may_go:
            found[name] = None
        elif value is None and name == catalog.NGINX.name:
            raise ConfigError(f"{where}.{name}: stays: it serves the page", hint=nearest(name, may_go))
        elif value is not None:
            found[name] = _further(value, f"{where}.{name}")
        elif name not in catalog.PRESETS:
            raise ConfigError(f"{where}.{name}: unknown component", hint=nearest(name, [*may_go, *catalog.PRESETS]))
    return found


def _further(raw: object, where: str) -> FurtherServer:
    given = _mapping(raw, where)
    if given.get("backend") not in (None, *get_args(BackendName)):
        hint = "use docker or embedded; without it, orienter.backend decides"
        raise ConfigError(f"{where}.backend: unknown backend {given['backend']!r}", hint=hint)
    port = given.get("port", 0)
    if isinstance(port, bool) or not isinstance(port, (int, dict)):
        raise ConfigError(f"{where}.port: expected a number, or a mapping of names to numbers, got {_kind(port)}")
    return _section(given, FurtherServer, where)


def _ports(raw: object, dropped: Sequence[str]) -> dict[str, int]:
    ports = {name: base for name, base in default_ports().items() if catalog.component_of_port(name) not in dropped}
    for name, base in _mapping(raw, "orienter.ports").items():
        where = f"orienter.ports.{name}"
        if not re.fullmatch(PORT_NAME, name):
            raise ConfigError(f"{where}: a port's name is lower-case letters, digits and underscores")
        if catalog.component_of_port(name) in dropped:
            continue
        if base is None and not catalog.component_of_port(name):
            ports.pop(name, None)
        elif isinstance(base, bool) or not isinstance(base, int):
            raise ConfigError(f"{where}: expected a port number, got {_kind(base)}")
        else:
            ports[name] = base
    return ports


def _services(raw: object, dropped: Sequence[str]) -> dict[str, Service]:
    merged: dict[str, Any] = {
        name: {**service, "needs": [need for need in service.get("needs", []) if need not in dropped]}
        for name, service in SERVICES.items()
    }
    for name, given in _mapping(raw, "orienter.services").items():
        where = f"orienter.services.{name}"
        if not re.fullmatch(NAME, name):
            raise ConfigError(f"{where}: a service's name is lower-case letters, digits, '-' and '_'")
        if given is None:
            merged.pop(name, None)
        else:
            merged[name] = _over(merged.get(name, {}), _mapping(given, where))
    return {name: _program(value, Service, f"orienter.services.{name}") for name, value in merged.items()}


def _over(base: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into a service's defaults, and mappings within it key by key."""
    within = {
        key: {**base[key], **value}
        for key, value in changed.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **changed, **within}


def _hooks(raw: object) -> dict[str, Any]:
    given = _mapping(raw, "orienter.hooks")
    kinds = {"start": Hook, "before_services": FormerHook, "worktree_new": WorktreeHook, "worktree_rm": WorktreeHook}
    return {**given, **{key: _listed(given.get(key), kind, f"orienter.hooks.{key}") for key, kind in kinds.items()}}


def _listed(raw: object, section: type[Program], where: str) -> list[Program]:
    if not isinstance(raw, (list, tuple, type(None))):
        raise ConfigError(f"{where}: expected a list, got {_kind(raw)}")
    return [_program(hook, section, f"{where}[{at}]") for at, hook in enumerate(raw or ())]


def _program(raw: object, section: type[Program], where: str) -> Program:
    given = _mapping(raw, where)
    _require_known(given, section, where)
    command = given.get("command")
    if not isinstance(command, (list, tuple)) or not command or not all(isinstance(word, str) for word in command):
        raise ConfigError(
            f"{where}.command: expected a list of words such as [pnpm, run, dev], got {_kind(command)}",
            hint="a command is started without a shell",
        )
    for name, value in _mapping(given.get("env"), f"{where}.env").items():
        if not re.fullmatch(VARIABLE, name):
            raise ConfigError(f"{where}.env.{name}: a variable's name is letters, digits and underscores")
        if not isinstance(value, str):
            raise ConfigError(f"{where}.env.{name}: expected a text, got {_kind(value)}", hint="put it in quotes")
    return _section(given, section, where)
