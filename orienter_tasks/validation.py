"""Turn what invoke.yaml says under `orienter:` into Settings.

Every error is a ConfigError that names the key, and the nearest right one where a name is misspelt.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from orienter_tasks.defaults import HOOKS, PORTS, SERVICES
from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import (
    HIGHEST_ID,
    HIGHEST_PORT,
    INFRA,
    INFRA_PORTS,
    PORT_STEP,
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PORT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,50}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,55}")

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
    _check_names(settings)
    check_ports(settings.ports, settings.instances.max)
    _check_services(settings)
    return settings


def check_ports(ports: Mapping[str, int], highest_id: int) -> None:
    """Prove that no two bases meet for any two ids, and that every port can exist.

    Raises:
        ConfigError: naming the two keys, or the key and the id whose port would pass 65535.
    """
    for name, base in ports.items():
        if base < 1 or base + highest_id * PORT_STEP > HIGHEST_PORT:
            raise ConfigError(
                f"orienter.ports.{name}: base {base} gives instance {highest_id} port {base + highest_id * PORT_STEP}; "
                f"ports are 1 to {HIGHEST_PORT}",
                hint="choose a lower base, or lower orienter.instances.max",
            )
    names = list(ports)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            distance = abs(ports[one] - ports[other])
            if distance % PORT_STEP == 0 and distance // PORT_STEP <= highest_id:
                raise ConfigError(
                    f"orienter.ports: {one} ({ports[one]}) and {other} ({ports[other]}) meet: "
                    f"they are {distance // PORT_STEP} × {PORT_STEP} apart and ids go up to {highest_id}",
                    hint=f"change the base of {other}",
                )


def nearest(word: str, known: Sequence[str]) -> str:
    """Return « (did you mean X?)» for the nearest known word, or a list of all that are known."""
    match = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


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
    return f"{names.get(type(value), 'a number')} ({value!r})"


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
        raise ConfigError(_translate(str(error), where)) from error


def _translate(message: str, where: str) -> str:
    text, _, path = message.partition(" - at ")
    key = path.strip("`").removeprefix("$").replace("[...]", "")
    unknown = re.match(r"Object contains unknown field `(.*)`", text)
    if unknown:
        return f"{where}{key}.{unknown[1]}: unknown key"
    return f"{where}{key}: {text[0].lower()}{text[1:]}".replace("`", "")


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
    ports = dict(PORTS)
    for name, base in _mapping(raw, "orienter.ports").items():
        where = f"orienter.ports.{name}"
        if not _PORT_NAME.fullmatch(name):
            raise ConfigError(f"{where}: a port's name is lower-case letters, digits and underscores")
        if base is None and name not in INFRA_PORTS:
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
        if not _NAME.fullmatch(name):
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
    _argv(raw, where)
    if isinstance(raw.get("ready"), dict):
        _known(raw["ready"], Ready, f"{where}.ready")
    return _convert(raw, Service, where)


def _argv(raw: Mapping[str, Any], where: str) -> None:
    command = raw.get("command")
    if not isinstance(command, (list, tuple)) or not command or not all(isinstance(word, str) for word in command):
        raise ConfigError(
            f"{where}.command: expected a list of words such as [pnpm, run, dev], got {_kind(command)}",
            hint="a command is started without a shell",
        )


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
        hooks.append(_convert(hook, Hook, f"{where}[{index}]"))
    return Hooks(before_services=tuple(hooks))


def _check_names(settings: Settings) -> None:
    if not _NAME.fullmatch(settings.project) or len(settings.project) > 40:  # noqa: PLR2004 - leaves room in names
        raise ConfigError(
            f"orienter.project: {settings.project!r} is not lower-case letters, digits, '-' and '_', at most 40"
        )
    if not 0 <= settings.instances.max <= HIGHEST_ID:
        raise ConfigError(f"orienter.instances.max: {settings.instances.max} is not within 0 to {HIGHEST_ID}")
    if not _BASE_NAME.fullmatch(settings.database.name):
        raise ConfigError(f"orienter.database.name: {settings.database.name!r} is no plain PostgreSQL name")
    if not _BUCKET.fullmatch(settings.storage.bucket):
        raise ConfigError(f"orienter.storage.bucket: {settings.storage.bucket!r} is no bucket name")
    for name, seconds in msgspec.structs.asdict(settings.timeouts).items():
        if seconds <= 0:
            raise ConfigError(f"orienter.timeouts.{name}: {seconds} is not above 0 seconds")


def _check_services(settings: Settings) -> None:
    names = [*INFRA, *settings.services]
    for name, service in settings.services.items():
        where = f"orienter.services.{name}"
        if name in INFRA:
            raise ConfigError(f"{where}: {name} is a component of the infrastructure", hint="choose another name")
        if service.port and service.port not in settings.ports:
            raise ConfigError(
                f"{where}.port: no port is named {service.port!r}", hint=nearest(service.port, list(settings.ports))
            )
        if service.ready.http and not service.port:
            raise ConfigError(f"{where}.ready.http: the service has no port", hint=f"set {where}.port")
        for need in service.needs:
            if need not in names:
                raise ConfigError(f"{where}.needs: no component is named {need!r}", hint=nearest(need, names))
    for circle in _circles(settings.services):
        raise ConfigError(f"orienter.services: needs go in a circle: {' → '.join(circle)}")
    hooks = [hook.name for hook in settings.hooks.before_services]
    for name in hooks:
        if not _NAME.fullmatch(name) or name in names or hooks.count(name) > 1:
            raise ConfigError(
                f"orienter.hooks.before_services: {name!r} is taken, or is not lower-case letters, digits, '-' and '_'"
            )


def _circles(services: Mapping[str, Service]) -> Iterator[list[str]]:
    def walk(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
        elif name in services:
            for need in services[name].needs:
                yield from walk(need, [*path, name])

    for name in services:
        yield from walk(name, [])
