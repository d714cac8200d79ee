"""A checkout to be examined, without an engine unless a test asks for one, and hosts that run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.commands.doctor.context import read
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.output.checks import collect
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.spawn import spawn
from orienter_tasks.processes.stop import stop_component
from tests.configs import merged
from tests.configurations import OWN_PORTS, OWN_PROJECT, make_own, make_shop, prepared
from tests.integration.checkouts import TEST_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from orienter_tasks.output.checks import Check
    from orienter_tasks.processes.spawn import Handle
    from tests.conftest import MakeRepo
    from tests.integration.checkouts import Host

NO_ENGINE = "unix:///nowhere/docker.sock"
SETTINGS: dict[str, Any] = {
    "project": OWN_PROJECT,
    "backend": "embedded",
    "ports": OWN_PORTS,
    "docker": TEST_IMAGES,
    "services": dict.fromkeys(("frontend", "dashboard", "opencode", "whatsapp", "slack")),
}


class Patient:
    """A checkout and what a host's invoke.yaml says in it."""

    def __init__(self, root: Path, ends: ExitStack) -> None:
        self.root = root
        self.settings = dict(SETTINGS)
        self._ends = ends

    def beside(self, root: Path) -> Patient:
        """Another checkout; what is started in it ends with this one's."""
        return Patient(root, self._ends)

    def configure(self, **orienter: Any) -> None:
        """Merge keys below `orienter:`, one section deep."""
        self.settings = merged(self.settings, orienter)

    def context(self) -> RunContext:
        return RunContext(self.root, self.settings, options=RunOptions())

    def situation(self) -> RunContext:
        """What is known of it; nothing may be wrong with that."""
        about, findings = read(self.context())
        assert not [finding for finding in findings if finding.verdict == "problem"], findings
        return about

    def ask(self, check: Callable[[RunContext], Iterable[Check]]) -> list[Check]:
        return collect("asked", lambda: check(self.situation()))

    def start(self, component: str, *command: str) -> Handle:
        """Start a program as a component of its instance."""
        config = self.context().current.config  # which claims its id
        env = {**os.environ, **config.variables.values}
        program = Program(component, command, self.root, env, config.instance.log_dir / f"{component}.log")
        handle = spawn(config.instance, program)
        assert handle.child is not None
        self._ends.callback(handle.child.wait, 10)
        self._ends.callback(handle.child.kill)
        self._ends.callback(stop_component, config.instance, component, 1.0)
        return handle


@pytest.fixture
def patient(make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Patient]:
    if request.node.get_closest_marker("docker") is None:
        monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    with ExitStack() as ends:
        yield Patient(make_repo("checkout"), ends)


@pytest.fixture
def set_up(tmp_path: Path, isolated: Path, clusters: Path) -> Iterator[Path]:
    """Share PostgreSQL's template among hosts; yield where they may lie."""
    with prepared(isolated, clusters):
        yield tmp_path / "home"


@pytest.fixture
def own_host(set_up: Path) -> Iterator[Host]:
    """This repository's own configuration, on the embedded backend."""
    with make_own(set_up, "embedded") as made:
        yield made


@pytest.fixture
def shop_host(set_up: Path) -> Iterator[Host]:
    """The other configuration, on the embedded backend."""
    with make_shop(set_up, "embedded") as made:
        yield made


def levels(findings: Iterable[Check]) -> list[str]:
    return [finding.verdict for finding in findings]


def only(findings: Iterable[Check], level: str) -> Check:
    """Return the one finding of that level."""
    (found,) = [finding for finding in findings if finding.verdict == level]
    return found
