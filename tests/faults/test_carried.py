"""Data whose files the other's servers cannot use, of the other backend or another major: it comes the portable way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded import programs
from orienter_tasks.machine.state import snapshot_dir
from orienter_tasks.settings.load import load_settings
from tests.faults import contents
from tests.faults.lab import FULL, has, kept, put, say
from tests.faults.test_crashes import points_of
from tests.faults.test_exports import OTHER, throwaway
from tests.integration.small import complaint, states

if TYPE_CHECKING:
    import random

    from tests.faults.lab import FaultHost, MakeFaultHost
    from tests.integration.checkouts import Checkout

START = ("dev", "--detach", "--quiet")
CLONE = ("data.clone", "--yes")
MOST = 100


@pytest.mark.docker
@pytest.mark.embedded
def test_from_the_other_backend(make_host: MakeFaultHost, backend: str, dice: random.Random) -> None:
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    main.inv(*START)
    put(main, "one")
    contents.fill(main)
    main.inv("data.snapshot", "first")
    other.environ["ORIENTER_BACKEND"] = OTHER[backend]
    said = other.inv("infra.up", "--data", "main").err
    assert (
        f"the portable way (it is of the {backend} backend, not of {OTHER[backend]}), left out: postgres: roles, "
        in said
    )
    contents.require_schemas(other)
    assert not any(contents.of_the_server(other))
    has(other, "one")
    assert all(states(main).values())

    put(other, "lost")
    put(main, "two")
    refused = complaint(other.inv("data.restore", "first", code=2))
    assert "the portable way (it is of the" in refused
    told = other.inv("data.restore", "first", "--yes", "--json").json["replaced"]
    assert (told["way"], told["snapshot"], told["components"]) == ("portable", "first", ["postgres", "minio"])
    has(other, "one")
    other.inv("infra.down")
    killed(host, other, told["kept"], dice)
    main.inv("dev.stop")
    other.inv(*CLONE, "--no-backup")
    other.inv("infra.up")
    has(other, "one", "two")
    assert host.running_of(main) == []
    other.inv("data.restore", told["kept"], "--yes", "--no-backup")
    has(other, "lost", "one")


def killed(host: FaultHost, other: Checkout, old: str, dice: random.Random) -> None:
    """Kill clones over a snapshot: the stopped instance has its old data or the new, and nothing half-made is left."""
    points = points_of(host.trace(other, *CLONE, "--no-backup"))
    reached = 0
    for point in dice.sample(points, min(len(points), MOST if FULL else 1)):
        other.inv("data.restore", old, "--yes", "--no-backup")
        code = host.kill_at(other, f"1:{point}", *CLONE, "--no-backup")
        say(f"killed at {point!r} ({code})")
        reached += code == -9
        other.inv("infra.up")
        rows, objects = kept(other)
        assert rows == objects
        assert rows in (["lost", "one"], ["one", "two"])
        other.inv("infra.down")
        other.inv(*CLONE, "--no-backup")  # removes the throwaway instance
        assert not throwaway(other)
        assert [path.name for path in snapshot_dir().glob("*/.*")] == []
        assert host.left_of(other) == []
    say(f"{reached} kills")


@pytest.mark.embedded
def test_of_another_major(make_host: MakeFaultHost) -> None:
    known = programs.every_postgres(load_settings(None))
    if len(known) < 2:
        pytest.skip("there is one PostgreSQL only")
    older, newer = sorted(known)[-2:]
    host = make_host(embedded={"postgres_bin": str(known[older])})
    main, (other,) = host.main, host.worktrees(1)
    settings = other.path / "invoke.yaml"
    settings.write_text(settings.read_text().replace(str(known[older]), str(known[newer])))
    main.inv("infra.up")
    put(main, "one")
    said = other.inv("infra.up", "--data", "main").err
    assert f"the portable way (it is of PostgreSQL {older}, not of PostgreSQL {newer}), left out: " in said
    has(other, "one")

    put(other, "two")
    other.inv("data.snapshot", "second")
    assert main.inv("data.restore", "second", "--yes", "--no-backup", "--json").json["replaced"]["way"] == "portable"
    has(main, "one", "two")

    put(main, "three")
    main.inv("infra.down")
    other.inv(*CLONE, "--no-backup")
    has(other, "one", "three", "two")

    manifest = snapshot_dir() / host.project / "second" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f"PostgreSQL {newer}", "PostgreSQL 9"))
    missing = complaint(other.inv("data.restore", "second", "--yes", code=5))
    assert "snapshot second is of PostgreSQL 9, which is not available here" in missing
    assert json.loads(manifest.read_text())["parts"]
    has(other, "one", "three", "two")
