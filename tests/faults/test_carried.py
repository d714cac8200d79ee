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
CLONE = ("data.clone", "--yes", "--no-backup")
WAYS = (CLONE, ("data.restore", "first", "--yes", "--no-backup"))
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
    chosen_by_what_has_written_it(host)
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
    other.inv(*CLONE)
    other.inv("infra.up")
    has(other, "one", "two")
    assert host.running_of(main) == []
    other.inv("data.restore", told["kept"], "--yes", "--no-backup")
    has(other, "lost", "one")


def chosen_by_what_has_written_it(host: FaultHost) -> None:
    """On its own backend, a snapshot goes as it is, whichever image wrote it, unless by another major."""
    manifest = snapshot_dir() / host.project / "first" / "manifest.json"
    text = manifest.read_text()
    made = json.loads(text)
    restore = ("--dry", "data.restore", "first")
    assert bool(made["parts"][0]["image"]) == (host.backend == "docker")
    for part in made["parts"]:
        part["image"] = ""
    manifest.write_text(json.dumps(made))
    assert "portable" not in host.main.inv(*restore).out
    made["parts"][0]["server"] = "PostgreSQL 9"
    manifest.write_text(json.dumps(made))
    missing = complaint(host.main.inv(*restore, code=5))
    assert "snapshot first is of PostgreSQL 9, which is not available here" in missing
    manifest.write_text(text)


def picked(points: list[str], dice: random.Random) -> list[str]:
    return dice.sample(points, min(len(points), MOST if FULL else 1))


def killed(host: FaultHost, other: Checkout, old: str, dice: random.Random) -> None:
    """Kill what replaces a snapshot's data: the stopped instance has its old or the new, and no rest."""
    ways = {words: points_of(host.trace(other, *words)) for words in (WAYS if FULL else dice.sample(WAYS, 1))}
    reached = 0
    for words, point in ((words, each) for words, points in ways.items() for each in picked(points, dice)):
        other.inv("data.restore", old, "--yes", "--no-backup")
        code = host.kill_at(other, f"1:{point}", *words)
        say(f"{words[0]} killed at {point!r} ({code})")
        reached += code == -9
        other.inv("infra.up")
        rows, objects = kept(other)
        assert rows == objects
        assert rows in (["lost", "one"], ["one", "two"] if words[0] == "data.clone" else ["one"])
        other.inv("infra.down")
        other.inv(*words)  # removes the throwaway instance
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
    other.inv(*CLONE)
    has(other, "one", "three", "two")

    manifest = snapshot_dir() / host.project / "second" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f"PostgreSQL {newer}", "PostgreSQL 9"))
    missing = complaint(other.inv("data.restore", "second", "--yes", code=5))
    assert "snapshot second is of PostgreSQL 9, which is not available here" in missing
    assert json.loads(manifest.read_text())["parts"]
    has(other, "one", "three", "two")
