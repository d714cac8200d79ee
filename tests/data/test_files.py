"""The files of `data.paths`: which they are, and copies of them while a program writes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.data import archive, archived, files
from orienter_tasks.data.archived import FileFacts
from orienter_tasks.data.files import PATHS, Measured
from orienter_tasks.data.manifest import Manifest
from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.data.archive import Archive, Writer

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous=OFF")
connection.execute(f"PRAGMA journal_mode={sys.argv[2]}")
connection.execute("CREATE TABLE IF NOT EXISTS pairs (one, other)")
number = 0
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO pairs VALUES (?, randomblob(900))", (number,))
    connection.execute("INSERT INTO pairs VALUES (?, randomblob(900))", (-number,))
    connection.execute("COMMIT")
    number += 1
    if number == 200:
        print("writes", flush=True)
"""


@contextlib.contextmanager
def written(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """A database that another process writes to all the time, two rows in each transaction."""
    command = [sys.executable, "-c", WRITER, str(path), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="ascii") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writes\n"
            yield process
        finally:
            process.kill()


def rows(path: Path) -> int:
    """Check a database, in which each number has its negative, and return how many rows it has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((count, total),) = connection.execute("SELECT count(*), sum(one) FROM pairs").fetchall()
    assert total == 0
    assert count % 2 == 0
    return int(count)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_that_is_written_to(tmp_path: Path, mode: str) -> None:
    base, counts = tmp_path / "base", []
    base.mkdir()
    with written(base / "app.db", mode) as writer:
        (base / "app.db").chmod(0o640)
        for number in range(5):
            copy = tmp_path / f"copy-{number}"
            files.copy(base, ["app.db*"], copy, live=True)
            assert [path.name for path in copy.iterdir()] == ["app.db"]
            assert (copy / "app.db").stat().st_mode & 0o777 == 0o640
            counts.append(rows(copy / "app.db"))
        assert writer.poll() is None
    assert counts[0] >= 400
    assert counts == sorted(counts)
    files.copy(base, ["app.db"], tmp_path / "killed", live=True)  # its log was not written back
    assert rows(tmp_path / "killed" / "app.db") >= counts[-1]


def test_which_files_they_are(tmp_path: Path) -> None:
    for name in (
        "app.db",
        "app.db-wal",
        "up/a/b",
        "up/.c",
        "db/1.db",
        "db/1.txt",
        "claim",
        "nginx/conf",
        ".hidden",
        "x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("12", encoding="ascii")
    (tmp_path / "up" / "empty").mkdir(mode=0o750)
    paths = ["app.db", "up", "up/a/b", "db/*.db", "none", "x/y"]
    assert files.matches(tmp_path, paths) == ["app.db", "db/1.db", "up"]
    assert files.measure(tmp_path, paths) == Measured(5, 10)
    assert files.matches(tmp_path, ["*"]) == ["app.db", "app.db-wal", "db", "up", "x"]
    assert files.matches(tmp_path / "none", paths) == []

    copy = tmp_path / "copy"
    files.copy(tmp_path, paths, copy, live=True)
    found = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*"))
    assert found == ["app.db", "db", "db/1.db", "up", "up/.c", "up/a", "up/a/b", "up/empty"]
    assert (copy / "up" / "empty").stat().st_mode & 0o777 == 0o750


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "up").mkdir(parents=True)
    (base / "link").symlink_to("up")
    os.mkfifo(base / "up" / "pipe")
    for path, words in (
        ("link", "link is neither a file nor a directory"),
        ("up", "pipe is neither a file nor a directory"),
        ("link/*", "link is a link: no link is followed"),
    ):
        with pytest.raises(CheckError, match=words):
            files.copy(base, [path], tmp_path / path.replace("/", "-"), live=True)


def test_a_database_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCKED_SECONDS", 0.1)
    base = tmp_path / "base"
    base.mkdir()
    with contextlib.closing(sqlite3.connect(base / "app.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE pairs (one)")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CheckError, match="has been locked") as failed:
            files.copy(base, ["app.db"], tmp_path / "copy", live=True)
        assert "--quiesce" in failed.value.hint


@contextlib.contextmanager
def exported(path: Path, write: Callable[[Writer], None]) -> Iterator[Archive]:
    """What is written into an export, and read from it."""
    known: Any = {"branch": "", "commit": "", "token": "", "way": "portable", "parts": ()}
    with archive.writing(path) as writer:
        write(writer)
        writer.finish(Manifest(project="shop", instance=0, root="/", backend="docker", created_at=0.0, **known))
    with archive.reading(path) as found:
        yield found


def test_in_an_export(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "up").mkdir(parents=True)
    (place / "up" / "ü").write_bytes(b"1")
    (place / "up" / "ü").chmod(0o4750)
    (place / "empty").touch(0o600)
    with exported(tmp_path / "x.tar", lambda writer: archived.save(place, writer)) as found:
        archived.load(tmp_path / "read", found.members(PATHS))
    assert (tmp_path / "read" / "up" / "ü").read_bytes() == b"1"
    assert (tmp_path / "read" / "up" / "ü").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "read" / "empty").read_bytes() == b""


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a//b", "a/./b", "", "a\0"])
def test_an_export_that_leads_elsewhere(tmp_path: Path, path: str) -> None:
    def write(writer: Writer) -> None:
        writer.add(f"{PATHS}/0.json", [msgspec.json.encode(FileFacts(path, 0o644))])
        writer.add(f"{PATHS}/0", [b"x"])

    with exported(tmp_path / "x.tar", write) as found, pytest.raises(CheckError, match="not a path below DATA_DIR"):
        archived.load(tmp_path / "read", found.members(PATHS))
    assert list((tmp_path / "read").iterdir()) == []
