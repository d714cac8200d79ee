"""Nothing but `--volumes` and clean-up removes data, and that asks first."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import has, put
from tests.integration.checkouts import INV, Answer
from tests.integration.small import complaint

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

START = ("dev", "--detach", "--quiet")


def asked(checkout: Checkout, answer: str, *words: str) -> tuple[int, str]:
    """Run `inv` on a terminal and answer its question; return its exit code and what it said."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [str(INV), *words],
            cwd=checkout.path,
            env=checkout.environ,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            os.write(ours, f"{answer}\n".encode())
            out, _ = process.communicate(timeout=60)
        return process.returncode, out
    finally:
        os.close(ours)
        os.close(theirs)


def test_data_outlives_everything_but_volumes(make_host: MakeFaultHost, backend: str) -> None:
    host = make_host(backend)
    host.main.inv(*START)
    put(host.main, "kept")
    for words in (
        ("dev.restart", "-s", "postgres", "-s", "minio"),
        (*START, "--fresh"),
        ("dev.stop", "--force"),
        ("infra.up",),
        ("infra.down",),
        ("dev.stop", "--all"),
    ):
        host.main.inv(*words)
    other = "docker" if backend == "embedded" else "embedded"
    refused = host.main.inv("dev", "--detach", "--backend", other, code=None)
    assert refused.code in (4, 5), str(refused)
    host.main.inv(*START)
    has(host.main, "kept")
    unasked = host.main.inv("dev.stop", "--volumes", code=2)
    assert re.search(r"\(\d+ MB\)", complaint(unasked)), "it says how much"
    code, said = asked(host.main, "n", "dev.stop", "--volumes")
    assert code == 2, said
    assert re.search(r"\(\d+ MB\).*remove it\? \[y/N\]", said, re.DOTALL)
    has(host.main, "kept")
    code, said = asked(host.main, "y", "dev.stop", "--volumes")
    assert code == 0, said
    host.main.inv(*START)
    has(host.main)


@pytest.mark.embedded
def test_two_checkouts_have_their_own(make_host: MakeFaultHost) -> None:
    host = make_host()
    (other,) = host.worktrees(1)
    for checkout in (host.main, other):
        checkout.inv(*START)
        put(checkout, f"of {checkout.path.name}")
    host.main.inv("dev.stop", "--volumes", "--yes")
    has(other, f"of {other.path.name}")
    host.main.inv(*START)
    has(host.main)


@pytest.mark.embedded
@pytest.mark.parametrize("linked", [".dev-data", ".dev-data/instance-0", "volume", "volumes", "project"])
def test_data_is_not_removed_through_a_link(make_host: MakeFaultHost, linked: str) -> None:
    host = make_host()
    host.main.inv("infra.up", "--quiet")
    host.main.inv("infra.down")
    above = host.main.works_in("postgres").parents
    place = {"volume": above[0], "volumes": above[1], "project": above[2]}.get(linked, host.main.path / linked)
    elsewhere = host.directory / "bigger-disk"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = contents(elsewhere)
    removals = (("dev.stop", "--volumes", "--yes"), ("infra.down", "--volumes", "--yes"))
    for words in removals if place in above else [(*START, "--fresh")]:
        answer = host.main.inv(*words, code=0 if linked == "volume" else 1)
        assert linked == "volume" or "is reached through a symbolic link" in complaint(answer)
        assert contents(elsewhere) == before
    assert host.running_of(host.main) == []
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.rename(place)


REMOVALS = (
    ("dev.stop", "--volumes", "--yes"),
    ("infra.down", "--volumes", "--yes"),
    ("cleanup.instance", "0", "--yes"),
)
MOUNTS = ('mount --bind "$1" "$0"', 'mount -t tmpfs tmpfs "$0" && cp -r "$1"/. "$0"')


@pytest.mark.root
@pytest.mark.embedded
def test_what_is_mounted_below_the_data_stays_and_is_named(make_host: MakeFaultHost) -> None:
    host = make_host()
    host.main.inv("infra.up", "--quiet")
    host.main.inv("infra.down")
    elsewhere = host.directory / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    nginx, minio = host.main.path / ".dev-data" / "instance-0" / "nginx", host.main.works_in("minio")
    for mount, words in itertools.product(MOUNTS, ((*START, "--fresh"), *REMOVALS)):
        place = (nginx if "--fresh" in words else minio) / "mounted"
        place.mkdir(parents=True, exist_ok=True)
        within = f'{mount} && shift && "$@"; code=$?; cat "$0/precious"; exit $code'
        answer = run(host.main, "unshare", "-m", "sh", "-c", within, str(place), str(elsewhere), str(INV), *words)

        assert answer.code == 1, str(answer)
        assert f"{place} is not removed: another file system is mounted there" in answer.err, str(answer)
        assert answer.out.endswith("kept"), str(answer)
        assert (elsewhere / "precious").read_text() == "kept"


@pytest.mark.root
def test_data_of_servers_that_cannot_be_seen_stays(make_host: MakeFaultHost, backend: str) -> None:
    """From another pid namespace, such as a container's, only their ports show that they run."""
    host = make_host(backend)
    host.main.inv(*START)
    put(host.main, "kept")
    for words in REMOVALS:
        answer = run(host.main, "unshare", "-p", "-f", "--mount-proc", str(INV), *words)

        if words[0] == "cleanup.instance":
            assert answer.code == 1, str(answer)
        else:
            assert answer.code == 4, str(answer)
            assert "the data of instance 0 (orienter) stays" in complaint(answer)
            has(host.main, "kept")
        assert "something else holds its port" in answer.err
    host.main.inv(*START)
    has(host.main, "kept")


def run(checkout: Checkout, *words: str) -> Answer:
    done = subprocess.run(
        words, cwd=checkout.path, env=checkout.environ, capture_output=True, text=True, timeout=120, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory with its content."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
