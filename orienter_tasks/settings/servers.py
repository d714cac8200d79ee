"""The further servers that settings add: presets, and those that they describe, as entries of the catalog."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import PRESETS, CatalogEntry
from orienter_tasks.settings.model import Docker, FurtherServer
from orienter_tasks.settings.rules import HTTP_PATH, NAME, PORT_NAME, VARIABLE, is_own_file, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from orienter_tasks.settings.model import Settings

LONGEST_NAME = 40
DIRECTORY = r"/[^:\0]+"
REFERENCE = r"\$\{([^}]*)\}"
OF_INSTANCE = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT", "COMPOSE_PROJECT_NAME", "DATA_DIR", "LOG_DIR", "PID_DIR")
"""Variables of every instance, which those of a server may refer to."""
OF_SERVICES = (
    *("ORIENTER_BACKEND", "SERVICE_HOST", "NODE_ENV", "WHATSAPP_ENABLED", "WHATSAPP_API_PORT"),
    *("OPENCODE_URL", "OPENCODE_SERVER_URL"),
)
"""Further variables that are derived, whatever servers there are."""
OF_PRESETS = ("backend", "image", "program", "port", "exports")
"""What may be said of a preset."""
NOTHING = FurtherServer()


def words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of an image or a program."""
    return value if isinstance(value, tuple) else (value,) if value else ()


def port_names(name: str, server: FurtherServer) -> dict[str, str]:
    """Return the names of a described server's ports, by those that its own settings use; "" for an only one."""
    base = name.replace("-", "_")
    return {key: f"{base}_{key}" for key in server.port} if isinstance(server.port, dict) else {"": base}


def port_bases(name: str, server: FurtherServer) -> dict[str, int]:
    names = port_names(name, server)
    return (
        {names[key]: base for key, base in server.port.items()}
        if isinstance(server.port, dict)
        else ({names[""]: server.port})
    )


def make_entry(name: str, server: FurtherServer) -> CatalogEntry:
    """Return the entry of a server.

    Raises:
        ConfigError: what the settings say of it makes no server; the message names the key.
    """
    where = f"orienter.infra.{name}"
    for variable in (*server.env, *server.exports):
        if not re.fullmatch(VARIABLE, variable):
            raise ConfigError(f"{where}: {variable!r} is not a variable's name: letters, digits and underscores")
    known = catalog.built_in(name) or PRESETS.get(name)
    if known is not None:
        return _changed(known, server, where)
    _check_name(name, where)
    _check_described(name, server, where)
    return CatalogEntry(
        name=name,
        ports=port_bases(name, server),
        image=next(iter(words(server.image)), ""),
        data=bool(server.data),
        variables=server.exports,
        further=True,
    )


def check_servers(settings: Settings) -> None:
    """Require that no variable of a server is another one's, and that those that exports refer to are there."""
    owners = {**dict.fromkeys((*OF_INSTANCE, *OF_SERVICES), "the instance"), **_of_ports(settings)}
    entries = [catalog.entry_of(name) for name in settings.servers]
    for entry in entries:
        exports = _exports(settings, entry.name)
        own = [*entry.defaults, *entry.numbered, *(name for name in entry.variables if name not in exports)]
        for name in own if entry.further else ():
            _require_free(name, owners, f"orienter.infra.{entry.name}")
        owners |= dict.fromkeys((*own, *entry.shields), entry.name)
    known = {*OF_INSTANCE, *_of_ports(settings)}
    for entry in entries:
        known |= {*entry.defaults, *entry.numbered}
        for name, value in entry.variables.items():
            if name in _exports(settings, entry.name):
                where = f"orienter.infra.{entry.name}.exports"
                _require_free(name, owners, where)
                owners[name] = entry.name
                _require_known(value, known, f"{where}.{name}")
            known.add(name)


def _require_free(name: str, owners: Mapping[str, str], where: str) -> None:
    if name in owners:
        raise ConfigError(f"{where}: {name} is a variable of {owners[name]}", hint="choose another name")


def _require_known(value: str, known: Collection[str], where: str) -> None:
    for name in re.findall(REFERENCE, value):
        if name not in known:
            hint = nearest(name, sorted(known))
            raise ConfigError(f"{where}: no variable of a server is named {name!r}", hint=hint)


def _of_ports(settings: Settings) -> dict[str, str]:
    return {f"{name.upper()}_PORT": f"port {name}" for name in settings.ports}


def _exports(settings: Settings, name: str) -> Mapping[str, str]:
    server = settings.infra.get(name)
    return server.exports if server is not None else {}


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{where}: a server's name is lower-case letters, digits, '-' and '_', at most {LONGEST_NAME}"
        )
    if is_own_file(name):
        raise ConfigError(f"{where}: {name} is the name of something else", hint="choose another name")


def spread(given: Mapping[str, Any], infra: Mapping[str, FurtherServer | None]) -> dict[str, Any]:
    """Return settings in which what is said of a server also stands in the sections that had it before.

    Raises:
        ConfigError: they say something else there.
    """
    found = dict(given)
    for name, server in infra.items():
        entry = catalog.built_in(name) or PRESETS.get(name)
        if server is None or entry is None:
            continue
        places = [("ports", entry.port, "port")]
        if name in Docker.__struct_fields__:
            places += [("docker", name, "image"), ("embedded", entry.program, "program")]
        for section, key, own in places:
            value, there = getattr(server, own), found.get(section) or {}
            if not value or not isinstance(there, dict):
                continue
            if there.get(key) not in (None, "", value):
                raise ConfigError(
                    f"orienter.infra.{name}.{own}: {value!r} here, and {there[key]!r} in orienter.{section}.{key}",
                    hint="take one of them out: they mean the same",
                )
            found[section] = {**there, key: value}
    return found


def _changed(known: CatalogEntry, server: FurtherServer, where: str) -> CatalogEntry:
    """Return a preset, or a component that is there anyway, with what the settings change of it."""
    for key in FurtherServer.__struct_fields__:
        if key not in OF_PRESETS and getattr(server, key) != getattr(NOTHING, key):
            hint = f"known here: {', '.join(OF_PRESETS)}; under another name, all of a server can be described"
            raise ConfigError(f"{where}.{key}: {known.name} knows that itself", hint=hint)
    for key in ("image", "program"):
        if not isinstance(getattr(server, key), str):
            raise ConfigError(f"{where}.{key}: expected a text, got a list", hint=f"write one {key}")
    if isinstance(server.port, dict):
        raise ConfigError(f"{where}.port: expected a number, got a mapping", hint="write one port")
    if server.program and not known.program:
        raise ConfigError(f"{where}.program: {known.name} has no program to choose", hint="take it out")
    for name in {*known.defaults, *known.numbered, *known.variables, *known.shields} & {*server.exports}:
        raise ConfigError(f"{where}.exports: {name} is a variable of {known.name}", hint="choose another name")
    return msgspec.structs.replace(
        known,
        ports={**known.ports, known.port: server.port or known.ports[known.port]},
        image=server.image or known.image,
        variables={**known.variables, **server.exports},
    )


def _check_described(name: str, server: FurtherServer, where: str) -> None:
    if not server.port:
        similar = nearest(name, [*PRESETS, *(entry.name for entry in catalog.BUILT_IN)])
        port = f"add the port on which it listens; presets: {', '.join(PRESETS)}"
        hint = similar if similar.startswith("did you mean") else port
        raise ConfigError(f"{where}: it is not a preset, and has no port", hint=hint)
    if not server.image and not server.program:
        raise ConfigError(f"{where}: it has neither an image nor a program", hint="add image: for Docker, or program:")
    for problem in (*_wrong_ports(name, server), *_wrong_data(server), *_wrong_readiness(server)):
        raise ConfigError(f"{where}.{problem[0]}: {problem[1]}", hint=problem[2])


def _wrong_ports(name: str, server: FurtherServer) -> Iterator[tuple[str, str, str]]:
    names = port_names(name, server)
    for key in names:
        if key and not re.fullmatch(PORT_NAME, key):
            yield f"port.{key}", "a port's name is lower-case letters, digits and underscores", ""
    for port in names.values():
        if other := catalog.component_of_port(port):
            yield "port", f"{port} is a port of {other}", "choose another name"


def _wrong_data(server: FurtherServer) -> Iterator[tuple[str, str, str]]:
    if server.image and server.data is True:
        yield "data", "its image needs a directory", "write data: /data, or whatever directory its server keeps data in"
    if isinstance(server.data, str):
        if not server.image:
            yield "data", "a program works in its data directory, and has no other", "write data: true"
        elif not re.fullmatch(DIRECTORY, server.data):
            yield "data", f"{server.data!r} is not a directory of a container", "write it like /data"


def _wrong_readiness(server: FurtherServer) -> Iterator[tuple[str, str, str]]:
    ready = server.ready
    if ready.http and not re.fullmatch(HTTP_PATH, ready.http):
        yield "ready.http", f"invalid path {ready.http!r}", "write it like /health"
    if ready.http and (ready.send or ready.expect):
        yield "ready", "it is asked by HTTP, or with what to send and to expect", "take one of them out"
    ports = list(server.port) if isinstance(server.port, dict) else []
    if ready.port and ready.port not in ports:
        yield "ready.port", f"it has no port named {ready.port!r}", nearest(ready.port, ports) if ports else ""
