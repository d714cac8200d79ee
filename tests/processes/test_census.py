"""Whose processes are, in tables that no machine needs to have: by marker, record, session, place and descent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orienter_tasks.processes.census import Census
from orienter_tasks.processes.record import Record, save
from orienter_tasks.processes.table import Process, ProcessOwner

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance
    from tests.conftest import MakeInstance


@pytest.fixture
def instance(make_instance: MakeInstance) -> Instance:
    return make_instance(3)


class Machine:
    """A made-up table of processes."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {1: Process(1, "boot:0", 0, 1, "init")}
        self._directories: dict[int, str] = {}

    def add(self, pid: int, *, parent: int = 1, directory: object = "/", **fields: Any) -> None:
        known = {"mark": f"boot:{pid}", "session": pid, "name": "node", **fields}
        self._processes[pid] = Process(pid=pid, parent=parent, **known)
        self._directories[pid] = str(directory)

    @property
    def census(self) -> Census:
        return Census(self._processes, lambda pid: self._directories.get(pid, ""))

    def of(self, instance: Instance) -> dict[str, list[int]]:
        found = self.census.by_component(instance)
        return {component: sorted(process.pid for process in each) for component, each in found.items()}


def marked(of: Instance, component: str, **fields: str) -> ProcessOwner:
    told = {"root": str(of.root), "instance": str(of.id), **fields}
    return ProcessOwner(component, **told)


def record(instance: Instance, component: str, pid: int, **fields: Any) -> None:
    known: dict[str, Any] = {"command": ("x",), "cwd": "/", "log": "x", "stop_signal": 15, "group": True}
    known |= {"project": instance.project, "instance": instance.id, "root": str(instance.root), "started_at": 1.0}
    known["mark"] = f"boot:{pid}"
    instance.pid_dir.mkdir(parents=True, exist_ok=True)
    save(instance, Record(component=component, pid=pid, **{**known, **fields}))


def test_descendants_are_children_and_theirs(instance: Instance) -> None:
    machine = Machine()
    machine.add(20, owner=marked(instance, "web"))
    for pid, parent in ((30, 20), (31, 30), (40, 1), (50, 50), (60, 99)):
        machine.add(pid, parent=parent)
    assert machine.of(instance) == {"web": [20, 30, 31]}


def test_every_process_is_of_one_component(instance: Instance) -> None:
    machine = Machine()
    machine.add(20, owner=marked(instance, "opencode"))
    machine.add(21, parent=20)
    machine.add(30, parent=21, owner=marked(instance, "web"))
    machine.add(31, parent=30)
    machine.add(40, parent=21, owner=marked(instance, "web", instance="4"))
    machine.add(41, parent=40)
    machine.add(42, parent=40, owner=marked(instance, "web", root="/elsewhere"))
    assert machine.of(instance) == {"opencode": [20, 21], "web": [30, 31]}
    assert [process.pid for process in machine.census.of(instance)] == [20, 21, 30, 31]


def test_a_token_decides_and_without_one_the_path(instance: Instance) -> None:
    machine, own = Machine(), replace(instance, token="own")
    for pid, fields in {
        20: {"token": "own"},
        21: {"token": "own", "root": "/where/it/was/before"},
        22: {},  # an older version started it
        30: {"token": "another"},
        31: {"root": "/elsewhere"},
        32: {"token": "own", "instance": "4"},
        33: {"token": "own", "project": "another"},
    }.items():
        machine.add(pid, owner=marked(instance, "web", **fields))
    assert machine.of(own) == {"web": [20, 21, 22]}
    assert machine.of(replace(instance, token="")) == {"web": [20, 22, 30]}


def test_a_record_s_token_decides_too(instance: Instance) -> None:
    machine, own = Machine(), replace(instance, token="own")
    for pid, (component, fields) in enumerate(
        {"web": {"token": "own"}, "old": {}, "other": {"token": "another"}}.items(), 20
    ):
        machine.add(pid)
        record(instance, component, pid, **fields)
    assert machine.of(own) == {"web": [20], "old": [21]}


def test_a_record_tells_of_its_process_and_that_one_s_session(instance: Instance) -> None:
    machine = Machine()
    machine.add(20)
    machine.add(21, session=20)
    machine.add(22, session=20, owner=ProcessOwner("web", "/elsewhere", "3"))
    machine.add(30)
    machine.add(31, session=30)
    record(instance, "web", 20)
    record(instance, "stale", 30, mark="boot:29")
    assert machine.of(instance) == {"web": [20, 21], "stale": []}
    assert machine.census.names(instance) == {"web", "stale"}


@pytest.mark.parametrize(("place", "component"), [("nginx", "nginx"), ("minio", "minio-front")])
def test_a_server_whose_title_overwrote_its_environment_is_known_by_its_place(
    instance: Instance, place: str, component: str
) -> None:
    machine = Machine()
    home = instance.data_dir / place
    machine.add(20, name="nginx", directory=home, retitled=True)
    machine.add(21, name="nginx", directory=home, retitled=True, parent=20)
    machine.add(30, name="nginx", directory=home / "below", retitled=True)
    machine.add(31, name="vim", directory=home, retitled=True)
    assert machine.of(instance) == {component: [20, 21]}


def test_a_server_that_somebody_runs_on_our_data_by_hand_is_not_ours(instance: Instance) -> None:
    machine = Machine()
    home = instance.data_dir / "postgres"
    machine.add(20, name="postgres", directory=home)
    machine.add(21, name="postgres", directory=home, retitled=True, parent=20)
    machine.add(30, name="postgres", directory=home, retitled=True)  # its server was killed
    assert machine.of(instance) == {"postgres": [30]}
    assert sorted(process.pid for process in machine.census.working_in(home, ["postgres"])) == [20, 21, 30]


def test_who_started_this_command_is_spared_and_named(instance: Instance) -> None:
    machine = Machine()
    machine.add(20, owner=marked(instance, "opencode"))
    machine.add(21, parent=20)
    machine.add(os.getpid(), parent=21)
    machine.add(30, parent=20, owner=marked(instance, "web"))
    assert machine.of(instance) == {"web": [30]}
    found = {owned.process.pid: owned.ancestor for owned in machine.census.owned()}
    assert found == {20: True, 30: False}


def test_everything_of_ours_says_whose_it_is(instance: Instance, make_instance: MakeInstance) -> None:
    other = make_instance(5)
    machine = Machine()
    machine.add(20, owner=marked(instance, "web", project="shop"))
    machine.add(21, parent=20)
    machine.add(30, owner=marked(other, "api"))
    machine.add(40)
    record(other, "worker", 40)
    for pid, wrong in ((50, {"root": "relative"}), (51, {"instance": "1x"}), (52, {"instance": "1" * 50})):
        machine.add(pid, owner=marked(instance, "web", **wrong))
    assert {(it.process.pid, it.component, it.instance, it.project) for it in machine.census.owned()} == {
        (20, "web", 3, "shop"),
        (21, "web", 3, "shop"),
        (30, "api", 5, ""),
    }
    known = {it.process.pid: it for it in machine.census.owned([other])}
    assert known.keys() == {20, 21, 30, 40}
    assert (known[40].component, known[40].root, known[40].project) == ("worker", str(other.root), other.project)
