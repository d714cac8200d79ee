"""The main promise: each checkout has its own running stack, and nobody sees another's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import slot
from tests.integration.browsers import Curl, keeps_sessions_apart
from tests.integration.checkouts import demo_host
from tests.integration.left import nothing_left

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Host


def test_three_checkouts_side_by_side(host: Host, tmp_path: Path) -> None:
    main = host.main
    agent = host.worktree(host.directory / "claude-worktrees" / "orienter" / "feature-a-1")
    other = host.worktree(host.directory / "elsewhere" / "we ird $(x) 'é\"")
    checkouts = [main, agent, other]

    for checkout in checkouts:
        checkout.inv("dev", "--detach")

    seen = [checkout.get("/api/instance") for checkout in checkouts]
    assert [one["root"] for one in seen] == [str(checkout.path) for checkout in checkouts]
    assert [one["branch"] for one in seen] == ["main", "branch-1", "branch-2"]
    assert {one["backend"] for one in seen} == {host.backend}
    assert seen[0]["id"] == 0
    assert seen[1]["id"] == 5  # cksum of feature-a-1, modulo 9, plus 1
    assert len({one["id"] for one in seen}) == 3
    assert len({checkout.variables["NGINX_PORT"] for checkout in checkouts}) == 3

    for index, checkout in enumerate(checkouts):
        number = checkout.note(f"note of {index}")
        checkout.request("PUT", f"/api/notes/{number}/attachment", f"file of {index}".encode(), "text/plain")
    for index, checkout in enumerate(checkouts):
        assert checkout.notes() == [f"note of {index}"]
        assert checkout.request("GET", "/api/notes/1/attachment") == f"file of {index}".encode()

    listed = main.inv("instances", "--json").json["instances"]
    assert [(one["root"], one["state"]) for one in listed] == [
        (str(checkout.path), "running") for checkout in sorted(checkouts, key=lambda c: c.get("/api/instance")["id"])
    ]

    keeps_sessions_apart(Curl(tmp_path), main, agent, other)

    agent.inv("dev.stop")
    assert not agent.answers()
    assert main.notes() == ["note of 0"]
    assert other.notes() == ["note of 2"]

    agent.inv("dev", "--detach")
    assert agent.notes() == ["note of 1"]
    assert agent.request("GET", "/api/notes/1/attachment") == b"file of 1"

    main.inv("dev.stop", "--all")
    assert not any(checkout.answers() for checkout in checkouts)
    nothing_left(checkouts)


@pytest.mark.embedded
def test_five_worktrees_started_at_once(tmp_path: Path, shared_cluster: None) -> None:
    host = demo_host(tmp_path / "home", "embedded", slot.project("e2e-five"))
    trees = [host.worktree(host.directory / "trees" / f"agent-{number}") for number in range(1, 6)]
    try:
        runs = [tree.start("dev", "--detach", "--timeout", "120") for tree in trees]
        for run in runs:
            out, err = run.communicate(timeout=240)
            assert run.returncode == 0, out + err
        assert len({tree.get("/api/instance")["id"] for tree in trees}) == 5
        for tree in trees:
            tree.note(f"only in {tree.path.name}")
        assert [tree.notes() for tree in trees] == [[f"only in {tree.path.name}"] for tree in trees]
        trees[0].inv("infra.verify")
        trees[0].inv("dev.stop", "--all")
        nothing_left(trees)
    finally:
        host.clean_up()
