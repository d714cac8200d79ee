"""Look at one running instance: log in, list, and follow what is seen to where it really is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.clients import sessions as login
from orienter_tasks.commands.verify import native
from orienter_tasks.commands.verify.snapshot import Cluster, Evidence
from orienter_tasks.errors import OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.machine import ports
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listeners, listening_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.processes.table import Process
    from orienter_tasks.settings.model import BackendName

CLUSTER = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_postmaster_start_time()::text,
       current_setting('data_directory'), (SELECT array_agg(datname::text ORDER BY datname) FROM pg_database)
"""


@dataclass
class _Notes:
    """What is found out about one instance, topic by topic; one topic that fails leaves the others alone."""

    facts: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)

    def take(self, topic: str, look: Callable[[], Mapping[str, Any]]) -> None:
        import psutil

        try:
            self.facts.update(look())
        except OrienterError as error:
            self.unseen[topic] = error.line()
        except (psutil.Error, OSError) as error:
            self.unseen[topic] = " ".join(str(error).split()) or type(error).__name__


def look_at_all(configs: Sequence[tuple[InstanceConfig, BackendName]]) -> list[Evidence]:
    """Look at several instances at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(configs))) as pool:
        return list(pool.map(lambda pair: look_at(*pair), configs))


def look_at(config: InstanceConfig, name: BackendName) -> Evidence:
    """Gather the evidence of one running instance."""
    notes = _Notes()
    backend = choice.make(name, config)
    processes = census.take().by_component(config.instance)
    pids = [process.pid for each in processes.values() for process in each]
    running = _running(backend, notes)
    _stores(config, running, notes)
    if name == "docker":
        _containers(config, processes, notes)
    else:
        notes.absent["networks"] = "native processes on loopback"
        notes.take("data", lambda: {"places": native.places(config.instance)})
        notes.take("processes", lambda: {"actors": native.actors(config, processes)})
    notes.take("ports", lambda: _ports(config, backend, set(pids)))
    notes.take("processes", lambda: {"calls": native.calls(pids)})
    return Evidence(
        instance=config.instance,
        backend=name,
        database=config.variables["POSTGRES_DB"],
        bucket=config.variables["S3_BUCKET"],
        absent=notes.absent,
        unseen=notes.unseen,
        **notes.facts,
    )


def _running(backend: Backend, notes: _Notes) -> set[str]:
    try:
        return {standing.component for standing in backend.standings() if standing.running}
    except OrienterError as error:
        notes.unseen["databases"] = notes.unseen["buckets"] = error.line()
        return set()


def _stores(config: InstanceConfig, running: set[str], notes: _Notes) -> None:
    for topic, component, look in (("databases", "postgres", _cluster), ("buckets", "minio", _buckets)):
        if component in running:
            notes.take(topic, lambda look=look: look(config))  # type: ignore[misc]
        elif topic not in notes.unseen:
            notes.absent[topic] = f"{component} does not run"


def _cluster(config: InstanceConfig) -> Mapping[str, Any]:
    with login.database(config) as database:
        identifier, started, directory, names = database.rows(CLUSTER)[0]
    return {"cluster": Cluster(str(identifier), str(started), str(directory), tuple(names))}


def _buckets(config: InstanceConfig) -> Mapping[str, Any]:
    with login.store(config) as store:
        return {"buckets": tuple(store.buckets())}


def _containers(config: InstanceConfig, processes: Mapping[str, Sequence[Process]], notes: _Notes) -> None:
    from orienter_tasks.commands.verify import containers

    try:
        running = containers.running(config)
    except OrienterError as error:
        notes.unseen.update(dict.fromkeys(("networks", "data", "processes"), error.line()))
        return
    if running:
        notes.take("networks", lambda: {"networks": containers.networks(config, running)})
        notes.take("data", lambda: {"places": containers.places(config, running)})
    else:
        notes.absent.update(dict.fromkeys(("networks", "data"), "no container runs"))
    notes.take(
        "processes", lambda: {"actors": [*containers.actors(config, running), *native.actors(config, processes)]}
    )


def _ports(config: InstanceConfig, backend: Backend, pids: set[int]) -> Mapping[str, Any]:
    """Say who listens on the instance's ports: its own, or somebody else."""
    own = set(backend.ports_held()) | listening_ports(pids)
    planned = set(config.instance.ports.values())
    held = {port for port in planned - own if not ports.is_free(port)}
    taken = {
        listener.port: listener.description
        for listener in listeners(held)
        if listener.pid is None or listener.pid not in pids
    }
    return {"listening": tuple(sorted(planned & own)), "taken": taken}
