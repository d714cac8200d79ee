"""Orient's settings as they are, with the stand-in for its repository: main and two worktrees at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import slot
from tests.integration.checkouts import TEST_IMAGES
from tests.integration.conftest import BACKENDS
from tests.integration.left import nothing_left
from tests.integration.small import wait_for
from tests.orient.host import OrientHost

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout

SECRET = 'it\'s "mine"'
CRASH = "packages/dashboard/src/main.ts"


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_checkouts_at_once(tmp_path: Path, shared_cluster: None, node_modules: Path, backend: str) -> None:
    changes = {"project": slot.project(f"orient-{backend}"), "ports": slot.bases(), "docker": TEST_IMAGES}
    with OrientHost(tmp_path / "host", backend, changes, node_modules) as host:
        main = host.main
        one, two = (host.worktree(host.directory / "claude-worktrees/orienter" / name) for name in ("one", "two"))
        checkouts = (main, one, two)
        runs = [checkout.start("dev", "--detach", "--timeout", "150") for checkout in checkouts]
        for run in runs:
            out, err = run.communicate(timeout=200)
            assert run.returncode == 0, out + err
        found = [checkout.inv("dev.status", "--json").json for checkout in checkouts]

        ids = [checkout.variables["AI_INSTANCE_ID"] for checkout in checkouts]
        assert ids[0] == "0"
        assert len(set(ids)) == 3
        for checkout, number in zip(checkouts, ids, strict=True):
            _answers_with_its_own(checkout, number)
        # one phone number and one workspace: main, or whoever came first, has them
        assert main.get("/qr") == {"id": "0", "count": 1, "secret": SECRET}
        assert ["whatsapp" in one["skipped"] for one in found] == [False, True, True]
        (bot,) = (index for index, one in enumerate(found) if "slack" not in one["skipped"])
        log = checkouts[bot].inv("dev.logs", "-s", "slack", "--no-follow").out
        assert f"xoxb-1 is connected to instance {ids[bot]}: {SECRET}" in log
        listed = main.inv("instances", "--json").json["instances"]
        assert {(one["root"], one["state"]) for one in listed} == {(str(c.path), "running") for c in checkouts}
        main.inv("infra.verify")

        _crash_and_mend(one)

        one.inv("dev.stop")
        assert not one.answers()
        _answers_with_its_own(main, ids[0])
        _answers_with_its_own(two, ids[2])
        one.inv("dev", "--detach")  # neither seeded nor built again
        _answers_with_its_own(one, ids[1])

        main.inv("dev.stop", "--all")
        nothing_left(checkouts)


def _answers_with_its_own(checkout: Checkout, number: str) -> None:
    assert checkout.get("/api/messages") == {
        "id": number,
        "messages": [f"row of instance {number}"],
        "object": f"object of instance {number}",
        "secret": None,
    }
    assert f"<title>instance {number}</title>" in checkout.request("GET", "/").decode()
    for app in ("hello", "notes"):
        assert f"<title>{app}</title>" in checkout.request("GET", f"/apps/{app}/").decode()
        assert (checkout.path / f"apps/{app}/dist/builds").read_text() == "built\n"
    sessions = checkout.path / f".dev-data/instance-{number}/xdg/data/opencode"
    assert set((sessions / "opencode.db").read_text().splitlines()) == {f"instance {number}"}
    assert (sessions / "auth.json").is_file()


def _crash_and_mend(checkout: Checkout) -> None:
    """Break the dashboard below its watcher, which lives on, and mend it."""
    program = checkout.path / CRASH
    text = program.read_text()
    program.write_text('throw new Error("boop")\n')
    wait_for(lambda: "Error: boop" in checkout.inv("dev.status").out, "the crash")
    assert _states(checkout, "dev.status")["dashboard"] == "not answering"
    (row,) = (row for row in checkout.inv("instances", "--json").json["instances"] if row["root"] == str(checkout.path))
    assert {part["name"]: part["state"] for part in row["components"]}["dashboard"] == "not answering"
    program.write_text(text)
    wait_for(lambda: _states(checkout, "dev.status")["dashboard"] == "running", "its answer")


def _states(checkout: Checkout, task: str) -> dict[str, Any]:
    return {part["name"]: part["state"] for part in checkout.inv(task, "--json").json["components"]}
