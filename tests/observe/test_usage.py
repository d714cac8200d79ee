"""`infra.stats`: what samples say, and that a busy and a large process are seen to be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.commands.stats import Meter
from orienter_tasks.observe.usage import Sample, process_samples, read_stats, usage
from tests.configurations import make_own
from tests.integration.terminal import Terminal
from tests.processes.conftest import FOREVER, code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Host
    from tests.processes.conftest import Lab

LARGE = 60_000_000
BUSY = f"""
import os, time
held = bytearray(os.urandom(1)) * {LARGE}
if os.fork() == 0:
    time.sleep(600)
while True:
    pass
"""
# what an engine answers, cut down to what is read
STATS: dict[str, Any] = {
    "read": "2026-01-02T03:04:05.500000001Z",
    "pids_stats": {"current": 7},
    "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
    "memory_stats": {"usage": 50_000_000, "stats": {"inactive_file": 8_000_000}},
}


def test_a_busy_process_is_seen_with_its_children(lab: Lab) -> None:
    lab.spawn("busy", code(BUSY))
    lab.spawn("idle", FOREVER)
    deadline = time.monotonic() + 20
    while len(psutil.Process().children(recursive=True)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    meter = Meter(lab.instance, dict)
    try:
        assert [one.cpu for one in meter.read()] == [None, None]
        time.sleep(1.0)
        usages = {one.component: one for one in meter.read()}
    finally:
        meter.close()
    busy, idle = usages["busy"], usages["idle"]
    assert busy.processes == 2
    assert idle.processes == 1
    assert busy.cpu is not None
    assert idle.cpu is not None
    assert busy.memory is not None
    assert idle.memory is not None
    assert busy.cpu > 3.0  # the machine may be busy with other things, too
    assert idle.cpu < 3.0
    # both processes have the same pages: counted once, not twice
    assert LARGE * 0.9 < busy.memory < LARGE * 1.7
    assert idle.memory < LARGE / 2


def test_what_is_gone_is_left_out(lab: Lab) -> None:
    lab.spawn("brief", code("pass"))
    deadline = time.monotonic() + 20
    while process_samples(lab.instance):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sidecar_counts_to_its_server(lab: Lab) -> None:
    lab.spawn("minio", FOREVER)
    lab.spawn("minio-front", FOREVER)
    (sample,) = process_samples(lab.instance)
    assert sample.component == "minio"
    assert sample.processes == 2


def test_two_samples_make_a_percentage() -> None:
    former = Sample("web", "process", 1, 2, {"7 x": 1.0, "8 x": 5.0}, at=10.0)
    later = Sample("web", "process", 3, 2, {"7 x": 1.5, "9 x": 0.25}, at=11.0)
    assert usage(later, former).cpu == pytest.approx(75.0)
    assert usage(later, None).cpu is None
    assert usage(later, later).cpu is None


def test_the_engines_statistics_are_read_as_docker_stats_does() -> None:
    sample = read_stats("postgres", STATS)
    assert sample is not None
    assert (sample.memory, sample.processes, sample.cpu) == (42_000_000, 7, {"container": 2.5})
    again = read_stats("postgres", {**STATS, "read": "2026-01-02T03:04:07.500000001Z"})
    assert again is not None
    assert again.at - sample.at == pytest.approx(2.0)


@pytest.mark.parametrize("gone", [{"memory_stats": {}}, {"read": "0001-01-01T00:00:00Z"}])
def test_a_container_that_ended_has_no_sample(gone: dict[str, Any]) -> None:
    assert read_stats("postgres", {**STATS, **gone}) is None


@pytest.mark.parametrize("said", [{}, {"memory_stats": {}}])
def test_an_engine_without_control_groups_does_not_know(said: dict[str, Any]) -> None:
    """Podman then tells what all containers use together, Docker tells nothing."""
    sample = read_stats("postgres", {**STATS, **said}, measures=False)
    later = read_stats("postgres", {**STATS, "read": "2026-01-02T03:04:07.500000001Z"}, measures=False)
    assert sample is not None
    assert later is not None
    found = usage(later, sample)
    assert (found.memory, found.processes, found.cpu) == (None, None, None)
    assert read_stats("postgres", {**STATS, "read": "0001-01-01T00:00:00Z"}, measures=False) is None


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("embedded", marks=pytest.mark.embedded),
    ]
)
def host(request: pytest.FixtureRequest, tmp_path: Path, shared_cluster: None) -> Iterator[Host]:
    with make_own(tmp_path / "home", request.param) as made:
        yield made


def test_of_a_running_instance(host: Host) -> None:
    answer = host.main.inv("infra.stats", code=3)
    assert "is not running\nhint: start it with: inv dev" in answer.err

    host.main.inv("infra.up")
    document = host.main.inv("infra.stats", "--json").json
    parts = {part["name"]: part for part in document["components"]}
    assert set(parts) == {"postgres", "minio", "nginx"}
    kind = "container" if host.backend == "docker" else "process"
    for part in parts.values():
        assert part["kind"] == kind
        assert part["memory_bytes"] > 500_000
        assert part["processes"] > 0
        assert 0 <= part["cpu_percent"] < 400
    assert document["memory_bytes"] == sum(part["memory_bytes"] for part in parts.values())
    table = host.main.inv("infra.stats").out
    assert "COMPONENT" in table
    assert "postgres" in table

    with Terminal(host.main, "infra.stats", columns=100) as terminal:
        terminal.until("Ctrl-C ends", times=3)
        terminal.press_ctrl_c()
        assert terminal.end() == 0
