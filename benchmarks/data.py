"""A clone of a running main beside what it consists of: a base backup, a copy of the objects, a server that renames.

The worktree has no data yet, as before its first start. What the clone consists of is done by the servers' own programs
and `cp`; on Docker each in a container of its own, whose start is part of it.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Line, at_most, peak, run, timed
from orienter_tasks.backends.embedded import cluster
from orienter_tasks.infra.postgres_copying import AS_POSTGRES, BACKUP
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.load import load_settings
from tests.faults.lab import bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.hosts import BenchHost
    from tests.integration.checkouts import Checkout

ROUNDS = 3
ROWS, OBJECTS = 130_000, 1_000  # 26 MB
OBJECT = bytes(2_000)
GROWTH = 10
LIMIT, GOALS = 1.3, {"embedded": 1.5, "docker": 4.0}
MEMORY_LIMIT = 100
BIG_ROWS, BIG_OBJECTS, BIG_OBJECT = 5_000_000, 10_000, 10**9  # 1 GB of rows
UPLOADS = 8
FILL = """\
CREATE TABLE IF NOT EXISTS filled (id integer PRIMARY KEY, text text);
INSERT INTO filled SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, {rows}) n ON CONFLICT DO NOTHING;
CHECKPOINT;
"""
RENAME = """\
ALTER DATABASE "{POSTGRES_DB}" RENAME TO "other"
ALTER ROLE "{POSTGRES_USER}" PASSWORD 'other'
"""
FRESH = 'rm -rf "$TARGET"; mkdir -p "$TARGET"; chown postgres "$TARGET"; chmod 700 "$TARGET"'
IN_CONTAINER = (
    f'{AS_POSTGRES}as_postgres pg_basebackup -h {LOOPBACK} -D "$TARGET" {" ".join(BACKUP)}',
    "cp -a /source /target/objects",
    f'{AS_POSTGRES}as_postgres postgres --single -D "$TARGET" template1 >/dev/null',
)


def measure(host: BenchHost) -> Iterator[Line | str]:
    """Clone 26 MB of rows and 1,000 objects, then ten times as much."""
    other = host.worktree(host.directory / "wt" / "other")
    _fill(host.main, ROWS, OBJECTS)
    other.inv("infra.up")  # compiled modules, images
    parts, clones, looks = [], [], []
    for _ in range(ROUNDS):
        parts.append(_parts(host))
        clones.append(_clone(host, other))
        looks.append(_run(host, other, "data.clone", "--dry")[0])
    seconds, memory = (statistics.median(column) for column in zip(*clones, strict=True))
    ratio = statistics.median(took / sum(each) for (took, _), each in zip(clones, parts, strict=True))
    figures = " + ".join(f"{statistics.median(each):.2f}" for each in zip(*parts, strict=True))
    yield at_most("clone ÷ (backup + copy + rename)", LIMIT, ratio, f"{seconds:.2f} s : {figures} s")
    least = statistics.median(each[0] / (sum(p) + look) for each, p, look in zip(clones, parts, looks, strict=True))
    figures = f"{statistics.median(looks):.2f} s for inv data.clone --dry"
    yield Line("clone ÷ (inv that only looks + the same)", "", f"{least:.2f} ×", None, figures)
    yield Line("clone: goal on two quiet cores", f"{GOALS[host.backend]:g} s", f"{seconds:.2f} s", None)
    yield _modest("clone", memory)
    for words in (("data.clone", "--yes"), ("data.snapshot", "one"), ("data.restore", "one", "--yes")):
        took, memory = _run(host, other, *words)
        yield Line(f"inv {' '.join(words)}", "", f"{took:.2f} s", None, f"{memory:.0f} MB of memory")
    _fill(host.main, ROWS * GROWTH, OBJECTS * GROWTH)
    more, memory = _clone(host, other)
    yield at_most(f"clone of {GROWTH} × the data ÷ clone", GROWTH, more / seconds, f"{more:.2f} s : {seconds:.2f} s")
    yield _modest(f"clone of {GROWTH} × the data", memory)


def big(host: BenchHost) -> Iterator[Line | str]:
    """Let 1 GB of rows, 10,000 objects and one of 1 GB travel each way."""
    other, third = (host.worktree(host.directory / "wt" / name) for name in ("other", "third"))
    _fill(host.main, BIG_ROWS, BIG_OBJECTS)
    client, name = bucket(host.main)
    with Path("/dev/urandom").open("rb") as content:
        client.put_object(name, "big", content, BIG_OBJECT)
    file = str(host.directory / "data.tar")
    for checkout, *words in (
        (other, "data.clone"),
        (host.main, "data.snapshot", "big"),
        (other, "data.restore", "big", "--yes", "--no-backup"),
        (host.main, "data.export", file),
        (third, "data.import", file),
    ):
        took, memory = _run(host, checkout, *words)
        yield f"  {words[0]}: {took:.1f} s"
        yield _modest(words[0], memory)


def _modest(name: str, memory: float) -> Line:
    return Line(f"{name}: memory of inv", f"< {MEMORY_LIMIT} MB", f"{memory:.0f} MB", memory < MEMORY_LIMIT, "at most")


def _run(host: BenchHost, checkout: Checkout, *words: str) -> tuple[float, float]:
    return peak([host.inv, *words], checkout.path, checkout.environ)


def _clone(host: BenchHost, checkout: Checkout) -> tuple[float, float]:
    """Clone main into a checkout that has no data; return the seconds and the memory."""
    checkout.inv("dev.stop", "--volumes", "--yes")
    return _run(host, checkout, "data.clone")


def _fill(checkout: Checkout, rows: int, objects: int) -> None:
    """Start a checkout's servers, and let them have so many rows and objects."""
    checkout.inv("infra.up")
    checkout.inv("infra.psql", "--", "-qc", FILL.format(rows=rows))
    client, name = bucket(checkout)

    def put(number: int) -> None:
        client.put_object(name, f"{number % 100:02}/{number}", io.BytesIO(OBJECT), len(OBJECT))

    with ThreadPoolExecutor(max_workers=UPLOADS) as pool:
        for _ in pool.map(put, range(objects)):
            pass


def _parts(host: BenchHost) -> Sequence[float]:
    """Do what a clone of main consists of; return the seconds of each part."""
    return (_in_containers if host.backend == "docker" else _native)(host)


def _native(host: BenchHost) -> Sequence[float]:
    main, known, place = host.main, host.main.variables, host.directory / "parts"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    postgres = cluster.Installation.of(load_settings(host.settings), main.works_in("postgres"))
    address = ("-h", LOOPBACK, "-p", known["POSTGRES_PORT"], "-U", known["POSTGRES_USER"])
    login = {**os.environ, "PGPASSWORD": known["POSTGRES_PASSWORD"]}
    target = str(place / "postgres")
    single = postgres.command("postgres", "--single", "-D", target, "-c", "fsync=off", "template1")
    return (
        timed(lambda: run(postgres.command("pg_basebackup", "-D", target, *address, *BACKUP), place, login)),
        timed(lambda: run(["cp", "-a", str(main.works_in("minio") / "data"), str(place)], place, login)),
        timed(lambda: _fed(single, RENAME.format_map(known))),
    )


def _in_containers(host: BenchHost) -> Sequence[float]:
    known, images, name = host.main.variables, load_settings(host.settings).docker, f"{host.project}-parts"
    login = ("-e", f"PGUSER={known['POSTGRES_USER']}", "-e", f"PGPASSWORD={known['POSTGRES_PASSWORD']}")
    objects = ("-v", f"{host.project}-minio-data-0:/source:ro")

    def command(image: str, text: str, *words: str) -> list[str]:
        given = ("--rm", "-i", "--entrypoint", "sh", "-e", "TARGET=/target/data", "-v", f"{name}:/target", *words)
        return ["docker", "run", *given, image, "-c", text]

    backup, copy, rename = IN_CONTAINER
    try:
        _fed(command(images.postgres, FRESH), "")
        network = f"container:{host.project}-postgres-0"
        return (
            timed(lambda: _fed(command(images.postgres, backup, "--network", network, *login), "")),
            timed(lambda: _fed(command(images.minio, copy, "--network", "none", *objects), "")),
            timed(lambda: _fed(command(images.postgres, rename, "--network", "none"), RENAME.format_map(known))),
        )
    finally:
        subprocess.run(["docker", "volume", "rm", "-f", name], capture_output=True, check=True)


def _fed(command: Sequence[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
