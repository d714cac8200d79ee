"""An instance on both backends: killed at any step, and its data, each part of which goes by its backend."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import FULL, has, put
from tests.faults.test_crashes import START, STOP, Crashes, points_of
from tests.integration.left import docker_of, processes_of
from tests.integration.small import within

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost

pytestmark = [pytest.mark.docker, pytest.mark.embedded]
NATIVE = {name: {"backend": "embedded"} for name in ("minio", "nginx")}
YES = ("--yes", "--no-backup")


def test_killed_before_a_state_change(make_host: MakeFaultHost, dice: random.Random) -> None:
    host = make_host("docker", infra=NATIVE)
    crashes = Crashes(host, dice)
    cold = points_of(host.trace(host.main, *START))
    crashes.write()
    stop = points_of(host.trace(host.main, *STOP))
    for point in stop if FULL else dice.sample(stop, 1):
        host.main.inv(*START)
        crashes.at(point, STOP)
    for point in cold if FULL else dice.sample(cold, 2):
        crashes.forget()
        crashes.at(point, START)
    assert crashes.reached[True] >= crashes.reached[False]


def test_data_goes_by_the_backend_of_each(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host("docker")
    main, (mixed, other) = host.main, host.worktrees(2)
    host.configure(mixed, infra=NATIVE)
    native = within(other, {"ORIENTER_BACKEND": "embedded"})
    main.inv("infra.up")
    put(main, "one")

    said = mixed.inv("infra.up", "--data", "main").err
    assert "minio the portable way (it is of the docker backend, not of embedded), left out: minio: " in said
    has(mixed, "one")
    mixed.inv("data.snapshot", "first")
    (row,) = mixed.inv("data.list", "--json").json["snapshots"]
    assert (row["backend"], row["backends"]) == ("mixed", {"postgres": "docker", "minio": "embedded"})
    put(mixed, "lost")
    told = mixed.inv("data.restore", "first", *YES, "--json").json["replaced"]
    assert (told["way"], told["components"]) == ("physical", ["postgres", "minio"])
    has(mixed, "one")

    said = native.inv("infra.up", "--data", "first").err
    assert "postgres the portable way (it is of the docker backend, not of embedded), left out: postgres: " in said
    has(native, "one")
    put(native, "two")
    source = native.inv("env.show", "--json").json["id"]
    assert mixed.inv("data.clone", "--source", str(source), *YES, "--json").json["replaced"]["way"] == "portable"
    has(mixed, "one", "two")

    file = tmp_path / "data.tar"
    mixed.inv("data.export", str(file))
    put(mixed, "lost")
    mixed.inv("data.import", str(file), *YES)
    has(mixed, "one", "two")
    assert docker_of(mixed, "volume")
    shutil.rmtree(mixed.path)
    said = main.inv("cleanup.weekly", "--yes").out
    assert "postgres-data-" in said
    assert "minio-data-" in said
    assert (docker_of(mixed, "container", "volume"), processes_of(mixed)) == ([], [])
