"""A Docker engine to make resources on: a hand-written one in memory, and the real one. The same tests run on both."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from orienter_tasks.backends.docker.endpoint import Endpoint
from orienter_tasks.backends.docker.engine import Engine
from orienter_tasks.errors import BackendError
from orienter_tasks.instance.model import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker.api.client import APIClient

    from orienter_tasks.backends.docker.reader import Reader

IMAGE = f"{os.environ.get('ORIENTER_TEST_IMAGES', 'orienter-test')}/nginx:local"


def labels(project: str, number: int | str, root: str, component: str = "") -> dict[str, str]:
    """Return the labels of something of ours."""
    own = {LABEL_PROJECT: project, LABEL_INSTANCE: str(number), LABEL_ROOT: root}
    return {**own, LABEL_COMPONENT: component} if component else own


class EngineLab(Protocol):
    """Makes resources on an engine, and tells what is there."""

    engine: Engine

    def container(
        self, name: str, labels: Mapping[str, str], *, volume: str = "", network: str = "", running: bool = True
    ) -> None: ...

    def volume(self, name: str, labels: Mapping[str, str]) -> None: ...

    def network(self, name: str, labels: Mapping[str, str]) -> None: ...

    def there(self, kind: str) -> set[str]: ...


@dataclass
class Entry:
    """One resource on the engine in memory."""

    kind: str
    id: str
    name: str
    labels: Mapping[str, str]
    running: bool = False
    volume: str = ""
    network: str = ""


@dataclass
class MemoryApi:
    """The calls of the reader and the SDK's client that clean-up makes, with a real engine's answers."""

    entries: dict[str, Entry] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    dies_after: int | None = None
    dead: bool = False

    def containers(self, *, all: bool = False, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: A002 - the SDK's
        using = (filters or {}).get("volume", [None])[0]
        return [
            {
                "Id": entry.id,
                "Names": [f"/{entry.name}"],
                "Labels": dict(entry.labels),
                "State": "running" if entry.running else "exited",
                "Status": "Up 1 second",
                "Created": 1.0,
                "Ports": [],
                "HostConfig": {"NetworkMode": ""},
            }
            for entry in self._matching("container", filters)
            if (all or entry.running) and using in (None, entry.volume)
        ]

    def volumes(self, *, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        found = [{"Name": entry.name, "Labels": dict(entry.labels)} for entry in self._matching("volume", filters)]
        return {"Volumes": found or None}

    def networks(self, *, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return [
            {"Id": entry.id, "Name": entry.name, "Labels": dict(entry.labels)}
            for entry in self._matching("network", filters)
        ]

    def inspect_container(self, name: str) -> dict[str, Any]:
        entry = self._one("container", name)
        return {"Id": entry.id, "Config": {"Labels": dict(entry.labels)}, "State": {"Running": entry.running}}

    def inspect_volume(self, name: str) -> dict[str, Any]:
        return {"Labels": dict(self._one("volume", name).labels)}

    def inspect_network(self, name: str) -> dict[str, Any]:
        entry = self._one("network", name)
        attached = {
            one.id: {"Name": one.name}
            for one in self.entries.values()
            if one.kind == "container" and one.running and one.network == entry.name
        }
        return {"Id": entry.id, "Labels": dict(entry.labels), "Containers": attached}

    def stop(self, identifier: str, *, timeout: int) -> None:
        self._acting(f"stop {identifier} within {timeout}")
        self._one("container", identifier).running = False

    def remove_container(self, identifier: str, *, force: bool, v: bool) -> None:
        self._acting(f"remove container {identifier} {v=} {force=}")
        del self.entries[self._one("container", identifier).id]

    def remove_volume(self, name: str) -> None:
        self._acting(f"remove volume {name}")
        entry = self._one("volume", name)
        if any(one.volume == name for one in self.entries.values()):
            raise _refused(409, f"remove {name}: volume is in use")
        del self.entries[entry.id]

    def remove_network(self, identifier: str) -> None:
        self._acting(f"remove network {identifier}")
        del self.entries[self._one("network", identifier).id]

    def df(self, **_: Any) -> dict[str, Any]:
        found = [{"Name": e.name, "UsageData": {"Size": 1000}} for e in self.entries.values() if e.kind == "volume"]
        return {"Volumes": found}

    def close(self) -> None: ...

    def _matching(self, kind: str, filters: Mapping[str, Any] | None) -> list[Entry]:
        self._answer()
        wanted = [word.partition("=") for word in (filters or {}).get("label", [])]
        return [
            entry
            for entry in self.entries.values()
            if entry.kind == kind
            and all(key in entry.labels and (not sep or entry.labels[key] == value) for key, sep, value in wanted)
        ]

    def _one(self, kind: str, name: str) -> Entry:
        self._answer()
        for entry in self.entries.values():
            if entry.kind == kind and name in (entry.id, entry.name):
                return entry
        raise _refused(404, f"No such {kind}: {name}")

    def _acting(self, call: str) -> None:
        if self.dies_after is not None and len(self.calls) >= self.dies_after:
            self.dead = True
        self._answer()
        self.calls.append(call)

    def _answer(self) -> None:
        if self.dead:
            raise ConnectionResetError("the engine went away")


class MemoryEngine(Engine):
    """An engine whose client is the one in memory."""

    def __init__(self) -> None:
        super().__init__(Endpoint("unix:///nowhere", "a test"))
        self.memory = MemoryApi()
        self.silent: str | None = None

    @property
    def api(self) -> APIClient:
        if self.silent is not None:
            raise BackendError(f"no engine: {self.silent}")
        return self.memory  # type: ignore[return-value]

    @property
    def reader(self) -> Reader:
        return self.api  # type: ignore[return-value]

    @property
    def api_version(self) -> str:
        return "1.41"

    def why_silent(self) -> str | None:
        return self.silent


class MemoryLab:
    """Makes resources in memory."""

    def __init__(self) -> None:
        self.engine: Engine = MemoryEngine()
        self._ids = (f"id-{number}" for number in itertools.count())

    @property
    def memory(self) -> MemoryApi:
        assert isinstance(self.engine, MemoryEngine)
        return self.engine.memory

    def container(
        self, name: str, labels: Mapping[str, str], *, volume: str = "", network: str = "", running: bool = True
    ) -> None:
        self._add("container", name, labels, running=running, volume=volume, network=network)

    def volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._add("volume", name, labels)

    def network(self, name: str, labels: Mapping[str, str]) -> None:
        self._add("network", name, labels)

    def there(self, kind: str) -> set[str]:
        return {entry.name for entry in self.memory.entries.values() if entry.kind == kind}

    def _add(self, kind: str, name: str, labels: Mapping[str, str], **facts: Any) -> None:
        identifier = name if kind == "volume" else next(self._ids)
        self.memory.entries[identifier] = Entry(kind, identifier, name, labels, **facts)


class RealLab:
    """Makes resources on the engine of this machine; `clean` removes exactly those."""

    def __init__(self) -> None:
        self.engine = Engine()
        self._made: list[tuple[str, str]] = []

    def container(
        self, name: str, labels: Mapping[str, str], *, volume: str = "", network: str = "", running: bool = True
    ) -> None:
        api = self.engine.api
        binds = [f"{volume}:/kept"] if volume else []
        config = api.create_host_config(binds=binds, network_mode=network or "none")
        made = api.create_container(IMAGE, ["sleep", "300"], name=name, labels=dict(labels), host_config=config)
        self._made.append(("container", made["Id"]))
        if running:
            api.start(made["Id"])

    def volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.engine.api.create_volume(name, labels=dict(labels))
        self._made.append(("volume", name))

    def network(self, name: str, labels: Mapping[str, str]) -> None:
        made = self.engine.api.create_network(name, labels=dict(labels), check_duplicate=True)
        self._made.append(("network", made["Id"]))

    def there(self, kind: str) -> set[str]:
        api = self.engine.api
        if kind == "container":
            return {entry["Names"][0].lstrip("/") for entry in api.containers(all=True)}
        found = api.volumes()["Volumes"] or () if kind == "volume" else api.networks()
        return {entry["Name"] for entry in found}

    def clean(self) -> None:
        from docker.errors import NotFound

        api = self.engine.api
        for kind, identifier in sorted(self._made):  # containers first
            try:
                if kind == "container":
                    api.remove_container(identifier, force=True)
                elif kind == "volume":
                    api.remove_volume(identifier)
                else:
                    api.remove_network(identifier)
            except NotFound:
                continue
        self.engine.close()


def _refused(status: int, text: str) -> Exception:
    from docker.errors import APIError, NotFound

    response: Any = SimpleNamespace(status_code=status)
    return (NotFound if status == 404 else APIError)(text, response=response, explanation=text)
