"""Processes of ours are found and ended, whatever they do about it; nobody else's is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from msgspec.structs import replace

from orienter_tasks.commands.cleanup import processes
from orienter_tasks.commands.cleanup.execute import ExecutionOptions, carry_out
from orienter_tasks.commands.cleanup.model import Scope
from orienter_tasks.commands.cleanup.plan import CleanupPlan, make
from orienter_tasks.commands.cleanup.snapshot import read
from orienter_tasks.processes import census
from orienter_tasks.processes.census import Census
from orienter_tasks.settings.load import load_settings
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.worlds import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.commands.cleanup.execute import Outcome
    from orienter_tasks.identity.claims import Claim, Claims
    from tests.commands.cleanup.engines import MemoryLab
    from tests.commands.cleanup.worlds import World

SLEEP = "import time; print('up', flush=True); time.sleep(120)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(120)"
FAMILY = f"""import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], env={{}}, start_new_session=True)
print('up', child.pid, flush=True); time.sleep(120)"""
RESPAWNING = f"""import os, signal, subprocess, sys, time
def again(*_):
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
    os._exit(0)
signal.signal(15, again)
print('up', flush=True); time.sleep(120)"""


class Zoo:
    """Starts processes, and ends exactly those it started."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, program: str, environ: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            env={"PATH": os.environ["PATH"], **environ},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self.started.append(child)
        assert child.stdout is not None
        child.said = child.stdout.readline().split()  # type: ignore[attr-defined]
        assert child.said[0] == "up"  # type: ignore[attr-defined]
        return child

    def end(self) -> None:
        for child in self.started:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


@pytest.fixture
def zoo() -> Iterator[Zoo]:
    made = Zoo()
    try:
        yield made
    finally:
        made.end()


def markers(claim: Claim, component: str = "api") -> dict[str, str]:
    return {
        "ORIENTER_COMPONENT": component,
        "AI_INSTANCE_ID": str(claim.id),
        "AI_INSTANCE_ROOT": claim.root,
        "COMPOSE_PROJECT_NAME": f"{claim.project}-instance-{claim.id}",
    }


def clean(
    world: World, claims: Claims, memory: MemoryLab, scope: Scope, grace: float = 0.3
) -> tuple[CleanupPlan, Outcome]:
    world.save(claims)
    view = view_of(world, claims, memory.engine)
    reality = read(view, scope)
    plan = make(scope, reality)
    return plan, carry_out(plan, reality, view, ExecutionOptions(grace, 1.0, lambda _: None))


def going(plan: CleanupPlan) -> set[int]:
    return {int(d.resource.key.split(":")[0]) for d in plan.goes if d.resource.kind.name == "process"}


def ended(children: Sequence[subprocess.Popen[str]]) -> list[bool]:
    return [child.poll() is not None for child in children]


@pytest.mark.parametrize("program", [SLEEP, STUBBORN, RESPAWNING], ids=["ordinary", "ignores TERM", "respawns"])
def test_an_orphan_is_ended(world: World, claims: Claims, memory: MemoryLab, zoo: Zoo, program: str) -> None:
    claim = world.checkout(1, "removed")
    orphan = zoo.start(program, markers(claim))
    plan, outcome = clean(world, claims, memory, Scope("orphans"))
    assert going(plan) == {orphan.pid}
    assert not outcome.failed
    assert ended([orphan]) == [True]
    assert [found for found in census.take().owned() if found.root == claim.root] == []


def test_descendants_without_markers_are_ended_too(world: World, claims: Claims, memory: MemoryLab, zoo: Zoo) -> None:
    claim = world.checkout(1, "removed")
    parent = zoo.start(FAMILY, markers(claim))
    child = int(parent.said[1])  # type: ignore[attr-defined]
    plan, outcome = clean(world, claims, memory, Scope("daily"))
    assert going(plan) == {parent.pid, child}
    assert not outcome.failed
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_look_alikes_live_on(world: World, claims: Claims, memory: MemoryLab, zoo: Zoo) -> None:
    gone, here, moved = world.checkout(1, "removed"), world.checkout(2, "here"), world.checkout(3, "moved")
    strangers = [
        {key: value for key, value in markers(gone).items() if key != "ORIENTER_COMPONENT"},  # a user's own shell
        {**markers(gone), "AI_INSTANCE_ID": "11"},
        {**markers(gone), "AI_INSTANCE_ID": "1x"},
        {**markers(gone), "AI_INSTANCE_ID": "1" * 5000},
        {**markers(gone), "AI_INSTANCE_ROOT": gone.root + "0"},
        {**markers(gone), "AI_INSTANCE_ROOT": ""},
        {**markers(gone), "COMPOSE_PROJECT_NAME": f"{PROJECT}-2-instance-1"},  # another project's, same checkout
        markers(here),
        markers(moved),
    ]
    living = [zoo.start(SLEEP, environ) for environ in strangers]
    orphan = zoo.start(SLEEP, markers(gone))
    plan, outcome = clean(world, claims, memory, Scope("weekly"))
    assert going(plan) == {orphan.pid}
    assert not outcome.failed
    assert ended(living) == [False] * len(living)


def test_everything_takes_no_other_projects_process(world: World, claims: Claims, memory: MemoryLab, zoo: Zoo) -> None:
    here = world.checkout(2, "here")
    mine = zoo.start(SLEEP, markers(here))
    unclaimed = {**markers(here), "AI_INSTANCE_ROOT": str(world.directory / "nowhere")}
    nobodys = zoo.start(SLEEP, unclaimed)
    silent = zoo.start(SLEEP, {key: value for key, value in unclaimed.items() if key != "COMPOSE_PROJECT_NAME"})
    other = zoo.start(SLEEP, {**unclaimed, "COMPOSE_PROJECT_NAME": f"{PROJECT}-2-instance-2"})
    plan, outcome = clean(world, claims, memory, Scope("all"))
    assert going(plan) == {mine.pid, nobodys.pid}
    assert not outcome.failed
    assert ended([mine, nobodys, silent, other]) == [True, True, False, False]


def test_a_pid_that_is_somebody_elses_by_now_is_let_be(
    world: World, claims: Claims, memory: MemoryLab, zoo: Zoo
) -> None:
    claim = world.checkout(1, "removed")
    orphan = zoo.start(SLEEP, markers(claim))
    world.save(claims)
    view = view_of(world, claims, memory.engine)
    reality = read(view, Scope("daily"))
    stranger = zoo.start(SLEEP, {})
    plan = make(Scope("daily"), reality)
    old = plan.goes[0].resource
    stale = replace(old, key=f"{stranger.pid}:{old.key.partition(':')[2]}")
    processes.stop([stale], 0.1, lambda: [stale])
    assert ended([stranger, orphan]) == [False, False]


def test_the_command_spares_those_that_started_it(
    world: World, claims: Claims, memory: MemoryLab, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = world.checkout(1, "here")
    agent = zoo.start(SLEEP, markers(claim, "opencode"))
    original = census.take().ancestry
    # as if this very test had been started by the agent
    monkeypatch.setattr(Census, "ancestry", original | {agent.pid})
    plan, outcome = clean(world, claims, memory, Scope("instance", 1))
    assert going(plan) == set()
    assert not outcome.failed
    assert ended([agent]) == [False]
    stays = {(d.resource.kind.name, d.reason) for d in plan.stays}
    assert ("process", processes.ANCESTOR) in stays
    assert [claim.id for claim in claims.read()] == [1]


def test_services_end_before_servers(world: World, claims: Claims, memory: MemoryLab, zoo: Zoo, tmp_path: Path) -> None:
    claim = world.checkout(1, "removed")
    log = tmp_path / "ends"
    says = "\n".join(
        [
            "import os, signal, sys, time",
            "def bye(*_):",
            "    time.sleep(0.2)",
            f"    open({str(log)!r}, 'a').write(os.environ['ORIENTER_COMPONENT'] + ' ')",
            "    os._exit(0)",
            "[signal.signal(number, bye) for number in (2, 15)]",
            "print('up', flush=True); time.sleep(120)",
        ]
    )
    for component in ("postgres", "api", "web"):
        zoo.start(says, markers(claim, component))
    _, outcome = clean(world, claims, memory, Scope("daily"), grace=5.0)
    assert not outcome.failed
    assert log.read_text().split()[-1] == "postgres"


@pytest.mark.embedded
@pytest.mark.parametrize("master_killed", [False, True])
def test_an_nginx_whose_checkout_is_gone(
    world: World, claims: Claims, memory: MemoryLab, tmp_path: Path, *, master_killed: bool
) -> None:
    """Its title has overwritten its environment: it is known by where it works."""
    from orienter_tasks.backends.embedded.programs import nginx

    program = nginx(load_settings(None))
    claim = world.checkout(1, "here")
    directory = Path(claim.root) / ".dev-data" / "instance-1" / "nginx"
    directory.mkdir()
    socket = tmp_path / "s"
    (directory / "nginx.conf").write_text(
        ("user root; " if os.geteuid() == 0 else "")
        + "pid p; events {} http { access_log off; "
        + "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"server {{ listen unix:{socket}; }} }}"
    )
    command = [str(program), "-e", "stderr", "-p", f"{directory}/", "-c", "nginx.conf", "-g", "daemon off;"]
    master = subprocess.Popen(command, cwd=directory, env=markers(claim, "nginx"), start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while not (workers := psutil.Process(master.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        expected = {master.pid, *(worker.pid for worker in workers)}
        if master_killed:
            master.kill()
            master.wait()
            expected.discard(master.pid)
        shutil.rmtree(claim.root)
        shutil.rmtree(claim.git_dir)
        plan, outcome = clean(world, claims, memory, Scope("daily"), grace=5.0)
        assert going(plan) == expected
        assert not outcome.failed
        assert [found for found in census.take().owned() if found.root == claim.root] == []
    finally:
        for process in workers:
            if process.is_running():
                process.send_signal(signal.SIGKILL)
        master.kill()
        master.wait()
