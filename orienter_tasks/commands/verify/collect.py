"""Collect what a running instance uses: log in, list, and resolve to real files and processes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.commands.verify import native
from orienter_tasks.commands.verify.snapshot import Evidence
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.machine import ports
from orienter_tasks.machine.threads import map_in_threads
from orienter_tasks.output.checks import caught
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listeners, listening_ports
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.processes.census import Census
    from orienter_tasks.settings.catalog import CatalogEntry


class _Notes(msgspec.Struct):
    """What has been found about one instance, by topic."""

    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    absent: dict[str, str] = msgspec.field(default_factory=dict)
    unseen: dict[str, str] = msgspec.field(default_factory=dict)

    @contextmanager
    def about(self, *topics: str) -> Iterator[None]:
        """When the block fails, mark these topics unseen and continue with the others."""
        import psutil

        with caught(lambda error: self.unseen.update(dict.fromkeys(topics, error.line()))):
            try:
                yield
            except (psutil.Error, OSError) as error:
                raise CheckError(" ".join(str(error).split()) or type(error).__name__) from error


def look_at_all(configs: Sequence[tuple[InstanceConfig, Backends]]) -> list[Evidence]:
    """Collect from several instances in parallel, by one census."""
    seen = census.take()
    return map_in_threads(lambda pair: look_at(pair[0], pair[1], seen), configs)


def look_at(config: InstanceConfig, backends: Backends, seen: Census) -> Evidence:
    """Collect the evidence of one running instance."""
    notes = _Notes()
    backend = choice.make(backends, config)
    processes = seen.by_component(config.instance)
    pids = [process.pid for each in processes.values() for process in each]
    _servers(config, backend, seen, notes)
    with notes.about("data"):
        notes.facts["locations"] = native.locations(config.instance, processes)
    with notes.about("processes"):
        notes.facts["workloads"] = native.workloads(config, processes)
    if "docker" in backends.used:
        _containers(config, notes)
    else:
        notes.absent["networks"] = "native processes on loopback"
    with notes.about("ports"):
        notes.facts |= _ports(config, backend, seen)
    with notes.about("processes"):
        notes.facts["calls"] = native.calls(pids)
        notes.facts["written"] = native.written(processes)
    return Evidence(
        instance=config.instance,
        backends=backends,
        absent=notes.absent,
        unseen=notes.unseen,
        **notes.facts,
    )


def _servers(config: InstanceConfig, backend: Backend, seen: Census, notes: _Notes) -> None:
    entries = [entry for entry in catalog.entries() if entry.holds and entry.name in config.instance.infra]
    held = notes.facts["contents"] = {}
    notes.facts["own"] = {entry.holds: _own(config, entry) for entry in entries}
    with notes.about(*notes.facts["own"]):
        running = {status.name for status in backend.status(seen) if status.up}
        for entry in entries:
            if entry.name not in running:
                notes.absent[entry.holds] = f"{entry.name} does not run"
                continue
            with notes.about(entry.holds):
                held[entry.holds] = component(entry.name).contents(config)


def _own(config: InstanceConfig, entry: CatalogEntry) -> tuple[str, str]:
    """Name what the instance has of its own in a server, and what separates its base from the id; "" for no name."""
    for variable, (_, separator) in entry.numbered.items():
        return config.variables[variable], separator
    return "", ""


def _containers(config: InstanceConfig, notes: _Notes) -> None:
    from orienter_tasks.commands.verify import containers

    with notes.about("networks", "data", "processes"):
        running = containers.running(config)
        if not running:
            notes.absent |= dict.fromkeys(
                ("networks",) if notes.facts.get("locations") else ("networks", "data"), "no container runs"
            )
        with notes.about("networks"):
            notes.facts["networks"] = containers.networks(config, running)
        with notes.about("data"):
            notes.facts["locations"] = [*notes.facts["locations"], *containers.locations(config, running)]
        with notes.about("processes"):
            notes.facts["workloads"] = [*containers.workloads(config, running), *notes.facts["workloads"]]


def _ports(config: InstanceConfig, backend: Backend, seen: Census) -> dict[str, Any]:
    """Find the instance's ports on which its own components listen, and the holders of others."""
    pids = set(seen.pids(config.instance))
    own = set(backend.bound_ports(seen)) | listening_ports(pids)
    planned = set(config.instance.ports.values())
    held = {port for port in planned - own if not ports.is_free(port)}
    taken = {
        listener.port: listener.description
        for listener in listeners(held)
        if listener.pid is None or listener.pid not in pids
    }
    return {"listening": tuple(sorted(planned & own)), "taken": taken}
