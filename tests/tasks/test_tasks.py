"""Every task and every argument has help, and reading about them loads nothing heavy."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orienter_tasks import ns, tasks
from orienter_tasks.tasks.task import OrienterTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.collection import Collection

HEAVY = ("docker", "jinja2", "rich", "minio", "pg8000", "psutil")


def walk(collection: Collection, prefix: str = "") -> Iterator[str]:
    """Give the full name of every task."""
    yield from (f"{prefix}{name}" for name in collection.tasks)
    for name, inner in collection.collections.items():
        yield from walk(inner, f"{prefix}{name}.")


NAMES = sorted(walk(ns))


def test_the_walk_sees_what_invoke_lists() -> None:
    assert sorted(ns.task_names) == NAMES
    assert {"doctor", "test.all", "infra.verify", "infra.stats", "dev.start", "instances"} <= set(NAMES)


def test_every_task_that_is_made_is_in_the_collection() -> None:
    modules = [
        importlib.import_module(f"{tasks.__name__}.{each.name}") for each in pkgutil.iter_modules(tasks.__path__)
    ]
    made = {id(each) for module in modules for each in vars(module).values() if isinstance(each, OrienterTask)}
    assert made == {id(ns[name]) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_says_what_it_does(name: str) -> None:
    lines = (ns[name].__doc__ or "").strip().splitlines()
    assert lines
    assert lines[0].endswith(".") or "." in lines[0]
    assert lines[0][0].isupper()
    assert len(lines[0]) > 15


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_has_help(name: str) -> None:
    bare = [argument.name for argument in ns[name].get_arguments() if not (argument.help or "").strip()]
    assert bare == []


@pytest.mark.parametrize("name", NAMES)
def test_help_names_only_arguments_that_are_there(name: str) -> None:
    known = {str(argument.name).replace("_", "-") for argument in ns[name].get_arguments()}
    assert set(ns[name].help) <= known


@pytest.mark.parametrize("name", NAMES)
def test_short_flags_are_chosen_not_given_out(name: str) -> None:
    short = {flag for argument in ns[name].get_arguments() for flag in argument.names if len(flag) == 1}
    assert short <= {"s"}


@pytest.mark.parametrize(
    "name", ["dev.status", "env.show", "infra.verify", "infra.stats", "instances", "doctor", "infra.s3"]
)
def test_what_only_reads_has_json(name: str) -> None:
    assert "json" in {argument.name for argument in ns[name].get_arguments()}


def test_the_tasks_load_nothing_heavy() -> None:
    code = "import json, sys, orienter_tasks; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint(HEAVY)
    ours = {name.split(".")[1] for name in loaded if name.startswith("orienter_tasks.")}
    assert ours == {"errors", "machine", "tasks"}
