"""Turn what invoke.yaml says under `orienter:` into Settings.

Every error is a ConfigError that names the key, and the nearest right one where a name is misspelt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import catalog
from orienter_tasks.settings.defaults import HOOKS, SERVICES, ports as default_ports
from orienter_tasks.settings.model import (
    BackendChoice,
    Database,
    Docker,
    Embedded,
    Hook,
    Hooks,
    Instances,
    Nginx,
    Ready,
    Section,
    Service,
    Settings,
    Storage,
    Timeouts,
)
from orienter_tasks.settings.rules import NAME, PORT_NAME, check, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

T = TypeVar("T", bound=Section)


def load(raw: object) -> Settings:
    """Validate what invoke.yaml says under `orienter:` (None: nothing) over the defaults."""
    given = _mapping(raw, "orienter")
    _known(given, Settings, "orienter")
    settings = Settings(
        project=_convert_scalar(given, "project", str, Settings().project),
        backend=_backend(given.get("backend", "auto")),
        instances=_section(given, "instances", Instances),
        ports=_ports(given.get("ports")),
        database=_section(given, "database", Database),
        storage=_section(given, "storage", Storage),
        docker=_section(given, "docker", Docker),
        embedded=_section(given, "embedded", Embedded),
        nginx=_section(given, "nginx", Nginx),
        timeouts=_section(given, "timeouts", Timeouts),
        services=_services(given.get("services")),
        hooks=_hooks(given.get("hooks")),
    )
    check(settings)
    return settings


def plain(value: object) -> object:
    """Copy nested mappings and sequences, such as Invoke's DataProxy, into dicts and lists."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


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


def _known(given: Mapping[str, Any], section: type[Section], where: str) -> None:
    fields = section.__struct_fields__
    for key in given:
        if key not in fields:
            raise ConfigError(f"{where}.{key}: unknown key", hint=nearest(key, fields))


def _section(given: Mapping[str, Any], key: str, section: type[T]) -> T:
    return _convert(_mapping(given.get(key), f"orienter.{key}"), section, f"orienter.{key}")


def _convert(raw: Mapping[str, Any], section: type[T], where: str) -> T:
    _known(raw, section, where)
    try:
        return msgspec.convert(raw, section)
    except msgspec.ValidationError as error:
        message = str(error)
        raise ConfigError(_translate(message, where), hint=_allowed(section, message)) from error


def _translate(message: str, where: str) -> str:
    text, _, path = message.rpartition(" - at ") if " - at `$" in message else (message, "", "")
    key = path.strip("`").removeprefix("$")
    return f"{where}{key}: {text[0].lower()}{text[1:]}".replace("`", "")


def _allowed(section: type[Section], message: str) -> str:
    """Name the nearest right word, where msgspec refused one that is none of a few."""
    refused = re.match(r"Invalid enum value ['\"](.*)['\"] - at `\$\.(\w+)`$", message, re.DOTALL)
    if refused is None:
        return ""
    return nearest(refused[1], get_args(get_type_hints(section)[refused[2]]))


def _convert_scalar(given: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = given.get(key, default)
    if not isinstance(value, kind):
        raise ConfigError(f"orienter.{key}: expected {kind.__name__}, got {_kind(value)}")
    return value


def _backend(value: object) -> BackendChoice:
    return backend_name(value, "orienter.backend")


def backend_name(value: object, where: str) -> BackendChoice:
    """Validate a backend's name, from settings, ORIENTER_BACKEND or the command line."""
    if value == "auto":
        return "auto"
    if value == "docker":
        return "docker"
    if value == "embedded":
        return "embedded"
    raise ConfigError(f"{where}: {value!r} is no backend", hint="use auto, docker or embedded")


def _ports(raw: object) -> dict[str, int]:
    ports = default_ports()
    for name, base in _mapping(raw, "orienter.ports").items():
        where = f"orienter.ports.{name}"
        if not PORT_NAME.fullmatch(name):
            raise ConfigError(f"{where}: a port's name is lower-case letters, digits and underscores")
        if base is None and not catalog.component_of_port(name):
            ports.pop(name, None)
        elif isinstance(base, bool) or not isinstance(base, int):
            raise ConfigError(f"{where}: expected a port number, got {_kind(base)}")
        else:
            ports[name] = base
    return ports


def _services(raw: object) -> dict[str, Service]:
    merged: dict[str, Any] = {name: dict(service) for name, service in SERVICES.items()}
    for name, given in _mapping(raw, "orienter.services").items():
        where = f"orienter.services.{name}"
        if not NAME.fullmatch(name):
            raise ConfigError(f"{where}: a service's name is lower-case letters, digits, '-' and '_'")
        if given is None:
            merged.pop(name, None)
            continue
        base = merged.get(name, {})
        changed = _mapping(given, where)
        merged[name] = {**base, **changed}
        for nested in ("env", "ready"):
            if isinstance(changed.get(nested), dict) and isinstance(base.get(nested), dict):
                merged[name][nested] = {**base[nested], **changed[nested]}
    return {name: _service(value, f"orienter.services.{name}") for name, value in merged.items()}


def _service(raw: Mapping[str, Any], where: str) -> Service:
    _known(raw, Service, where)
    _argv(raw, where)
    _environment(raw, where)
    if isinstance(raw.get("ready"), dict):
        _known(_mapping(raw["ready"], f"{where}.ready"), Ready, f"{where}.ready")
    return _convert(raw, Service, where)


def _argv(raw: Mapping[str, Any], where: str) -> None:
    command = raw.get("command")
    if not isinstance(command, (list, tuple)) or not command or not all(isinstance(word, str) for word in command):
        raise ConfigError(
            f"{where}.command: expected a list of words such as [pnpm, run, dev], got {_kind(command)}",
            hint="a command is started without a shell",
        )


def _environment(raw: Mapping[str, Any], where: str) -> None:
    for name, value in _mapping(raw.get("env"), f"{where}.env").items():
        if not _VARIABLE.fullmatch(name):
            raise ConfigError(f"{where}.env.{name}: a variable's name is letters, digits and underscores")
        if not isinstance(value, str):
            raise ConfigError(f"{where}.env.{name}: expected a text, got {_kind(value)}", hint="put it in quotes")


def _hooks(raw: object) -> Hooks:
    given = _mapping(raw, "orienter.hooks")
    _known(given, Hooks, "orienter.hooks")
    listed = given.get("before_services", HOOKS)
    where = "orienter.hooks.before_services"
    if not isinstance(listed, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {_kind(listed)}")
    hooks = []
    for index, item in enumerate(listed):
        hook = _mapping(item, f"{where}[{index}]")
        _known(hook, Hook, f"{where}[{index}]")
        _argv(hook, f"{where}[{index}]")
        _environment(hook, f"{where}[{index}]")
        hooks.append(_convert(hook, Hook, f"{where}[{index}]"))
    return Hooks(before_services=tuple(hooks))
