"""What instances take on disk: measured, and never waited for longer than wanted."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.observe.disk import Disk, DiskUsage
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.engines import IMAGE, RealLab, labels
from tests.identity.test_claims import claim

if TYPE_CHECKING:
    from orienter_tasks.identity.claims import Claim

WRITTEN = 300_000


@pytest.fixture
def checkout(tmp_path: Path) -> Claim:
    """A claim whose checkout has 300 kB of data and a short log."""
    held = claim(3, str(tmp_path / "we ird $(x) 'é\""), placed="embedded")
    for name, size in (("logs/instance-3/web.log", 10), (".dev-data/instance-3/postgres/base/1", WRITTEN)):
        path = Path(held.root) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(size))
    return held


def measured(*claims: Claim, seconds: float = 20.0) -> list[Disk]:
    with DiskUsage(claims) as usage:
        usage.wait(seconds)
        return [usage.of(each) for each in claims]


def fake_du(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another `du` in front of the real one."""
    directory.mkdir()
    (directory / "du").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "du").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def fill(volume: str) -> None:
    """Write 300 kB into a volume."""
    writing = ["dd", "if=/dev/urandom", "of=/kept/file", "bs=1000", f"count={WRITTEN // 1000}"]
    command = ["docker", "run", "--rm", "--network", "none", "-v", f"{volume}:/kept", "--entrypoint", writing[0], IMAGE]
    subprocess.run([*command, *writing[1:]], check=True, capture_output=True)


def test_data_and_logs(checkout: Claim) -> None:
    (disk,) = measured(checkout)
    assert disk.data is not None
    assert disk.logs is not None
    assert WRITTEN <= disk.data < WRITTEN + 100_000
    assert 0 < disk.logs < 50_000


def test_one_that_has_nothing_yet(tmp_path: Path) -> None:
    assert measured(claim(1, str(tmp_path)), claim(2, "/nonexistent/x")) == [Disk(0, 0), Disk(0, 0)]


def test_two_projects_of_one_checkout(checkout: Claim) -> None:
    first, second = measured(checkout, claim(3, checkout.root, project="shop"))
    assert first == second != Disk(0, 0)


def test_a_slow_disk_holds_nothing_up(checkout: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_du(tmp_path / "bin", f"echo $$ > {tmp_path}/pid; exec sleep 60", monkeypatch)
    begun = time.monotonic()
    with DiskUsage([checkout]) as usage:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < begun + 20
            time.sleep(0.01)
        assert not usage.wait(0.1)
        assert usage.of(checkout) == Disk(None, None)
    assert time.monotonic() - begun < 20
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid)


def test_what_is_counted_by_then_is_told(checkout: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'printf "7\\t%s\\n" "$2"; exec sleep 60'
    fake_du(tmp_path / "bin", script, monkeypatch)
    with DiskUsage([checkout]) as usage:
        deadline = time.monotonic() + 20
        while usage.of(checkout).data is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert usage.of(checkout) == Disk(7 * 1024, None)


def test_without_du_nothing_is_known(checkout: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert measured(checkout) == [Disk(None, None)]


@pytest.mark.docker
@pytest.mark.parametrize("readable", [True, False], ids=["where they lie", "by the engine"])
def test_volumes_count_by_label_and_root(checkout: Claim, monkeypatch: pytest.MonkeyPatch, *, readable: bool) -> None:
    if readable and os.geteuid() != 0:
        pytest.skip("needs root")
    if not readable:
        monkeypatch.setattr(os, "access", lambda *_: False)
    mine = claim(3, checkout.root, project=PROJECT, placed="docker")
    lab = RealLab()
    try:
        for name, root in (("mine", mine.root), ("another", "/home/me/elsewhere")):
            volume = f"{PROJECT}-{name}-3"
            lab.volume(volume, labels(PROJECT, 3, root, "postgres"))
            fill(volume)
        (disk,) = measured(mine)
        assert disk.data is not None
        assert 2 * WRITTEN <= disk.data < 2 * WRITTEN + 150_000
    finally:
        lab.clean()


@pytest.mark.docker
def test_an_engine_that_is_down_leaves_data_unknown(checkout: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    (disk,) = measured(claim(3, checkout.root, placed="docker"))
    assert disk.data is None
    assert disk.logs is not None
