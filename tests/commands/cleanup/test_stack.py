"""Whole stacks on both backends: one whose worktree is deleted while it runs, and one that runs on beside it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine import ports
from orienter_tasks.processes import census
from tests.commands.cleanup.conftest import PROJECT
from tests.integration.conftest import BACKENDS
from tests.integration.left import docker_of
from tests.integration.small import SmallHost, states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Checkout


@pytest.fixture(params=BACKENDS)
def host(request: pytest.FixtureRequest, tmp_path: Path, clusters: Path) -> Iterator[SmallHost]:
    made = SmallHost(tmp_path / "home" / "x", request.param, clusters, project=PROJECT)
    try:
        yield made
    finally:
        made.main.inv("cleanup.all", "--yes", code=None)
        made.clean_up()


def still_up(checkout: Checkout, plan: dict[str, int]) -> list[str]:
    """Return what of a checkout's instance still runs."""
    found = [str(one.process) for one in census.take().owned() if one.root == str(checkout.path)]
    return [*found, *(name for name, port in plan.items() if not ports.is_free(port))]


def port_plan(checkout: Checkout) -> dict[str, int]:
    return {name: int(value) for name, value in checkout.variables.items() if name.endswith("_PORT")}


def test_a_worktree_deleted_under_its_running_stack(host: SmallHost, tmp_path: Path, isolated: Path) -> None:
    gone, live = host.worktree(tmp_path / "trees" / "gone"), host.worktree(tmp_path / "trees" / "live")
    for checkout in (gone, live):
        checkout.inv("dev", "--detach")
    plan, live_plan = port_plan(gone), port_plan(live)
    held = {claim.root: claim.id for claim in Claims(isolated).read()}
    shutil.rmtree(gone.path)
    assert still_up(gone, plan)

    before = states(live)
    document = host.main.inv("cleanup.daily", "--yes", "--json").json
    assert document["left"] == []
    assert {entry["instance"] for entry in document["gone"]} == {held[str(gone.path)]}
    assert still_up(gone, plan) == []
    assert states(live) == before
    assert all(before.values())
    docker = host.backend == "docker"
    if docker:
        assert docker_of(gone, "container", "network") == []
        assert len(docker_of(gone, "volume")) == 2

    document = host.main.inv("cleanup.weekly", "--yes", "--json").json
    assert document["left"] == []
    assert {entry["kind"] for entry in document["gone"]} == {"volume", "claim"}
    assert docker_of(gone, "container", "network", "volume") == [] if docker else True
    assert str(gone.path) not in {claim.root for claim in Claims(isolated).read()}
    assert states(live) == before

    number = str(held[str(live.path)])
    answer = host.main.inv("cleanup.instance", number, "--yes")
    assert "is running: it is stopped first" in answer.err
    assert still_up(live, live_plan) == []
    assert docker_of(live, "container", "network", "volume") == [] if docker else True
    assert list(live.path.rglob(f"instance-{number}")) == []
    assert (live.path / "stand_in.py").exists()
    assert host.main.inv("cleanup.instance", number, "--yes", code=3).out == ""
