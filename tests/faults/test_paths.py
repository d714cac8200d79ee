"""`data.paths`: SQLite's rows and other files travel with the objects, whole, wherever a run is killed."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.settings.rules import is_own_file
from tests.faults.lab import FULL, bucket, say
from tests.faults.test_crashes import points_of
from tests.integration.small import complaint

if TYPE_CHECKING:
    import random

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

DATA = {"paths": ["app.db", "up"]}
RESTORE = ("data.restore", "old", "--yes")


def place(checkout: Checkout) -> Path:
    """DATA_DIR."""
    return Path(checkout.variables["DATA_DIR"])


def write(checkout: Checkout, text: str) -> None:
    """Write a row and a file of that name."""
    (place(checkout) / "up").mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(place(checkout) / "app.db")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS kept (text)")
        connection.execute("INSERT INTO kept VALUES (?)", (text,))
    (place(checkout) / "up" / text).write_text(text, encoding="ascii")


def written(checkout: Checkout) -> list[str]:
    """Return the rows, of which each has its file."""
    if not (place(checkout) / "app.db").exists():
        assert not (place(checkout) / "up").exists()
        return []
    with contextlib.closing(sqlite3.connect(place(checkout) / "app.db")) as connection:
        rows = sorted(row[0] for row in connection.execute("SELECT text FROM kept"))
    assert sorted(path.name for path in (place(checkout) / "up").iterdir()) == rows
    return rows


@pytest.mark.embedded
def test_sqlite_alone(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host(infra={"postgres": None, "minio": None}, data={**DATA, "initial": "main"})
    main, (other,) = host.main, host.worktrees(1)
    assert complaint(main.inv("data.snapshot", "early", code=3)).startswith("error: instance 0")
    write(main, "one")
    taken = main.inv("data.snapshot", "first", "--json").json["snapshot"]
    assert [(part["component"], part["files"]) for part in taken["parts"]] == [("data.paths", 2)]
    assert taken["size"] > 4096

    other.inv("infra.up", "--quiet")
    assert written(other) == ["one"]
    assert {name for path in place(other).iterdir() if not is_own_file(name := path.name)} == {"app.db", "up"}
    write(other, "two")
    (place(other) / "app.db-wal").write_bytes(b"of the former database")
    refused = complaint(other.inv("data.restore", "first", code=2))
    assert "this will replace the data of instance" in refused
    assert " files of data.paths (" in refused
    other.inv("data.restore", "first", "--yes")
    assert written(other) == ["one"]
    (kept,) = (each["name"] for each in other.inv("data.list", "--json").json["snapshots"] if each["automatic"])

    main.inv("data.export", str(tmp_path / "data.tar"))
    write(main, "three")
    other.inv("data.clone", "--yes", "--no-backup")
    assert written(other) == ["one", "three"]
    other.inv("data.import", str(tmp_path / "data.tar"), "--yes", "--no-backup")
    assert written(other) == ["one"]
    other.inv("data.reset", "--yes", "--no-backup")
    assert written(other) == []
    other.inv("data.restore", kept, "--yes", "--no-backup")
    assert written(other) == ["one", "two"]


def put(checkout: Checkout, text: str) -> None:
    """Write a row, its file and its object."""
    write(checkout, text)
    client, name = bucket(checkout)
    client.put_object(name, text, io.BytesIO(text.encode()), len(text))


def has(checkout: Checkout) -> list[str]:
    """Return the rows, of which each has its file and its object."""
    client, name = bucket(checkout)
    rows = written(checkout)
    assert sorted(str(found.object_name) for found in client.list_objects(name)) == rows
    return rows


def test_rows_in_sqlite_and_objects(make_host: MakeFaultHost, backend: str, tmp_path: Path) -> None:
    host = make_host(backend, infra={"postgres": None}, data=DATA)
    main, (other,) = host.main, host.worktrees(1)
    main.inv("infra.up")
    put(main, "old")
    taken = main.inv("data.snapshot", "old", "--json").json["snapshot"]
    assert [part["component"] for part in taken["parts"]] == ["data.paths", "minio"]
    put(main, "new")
    other.inv("infra.up", "--data", "main")
    assert has(other) == ["new", "old"]
    main.inv("data.export", str(tmp_path / "data.tar"))
    other.inv(*RESTORE)
    assert has(other) == ["old"]
    other.inv("data.import", str(tmp_path / "data.tar"), "--yes", "--no-backup")
    assert has(other) == ["new", "old"]


@pytest.mark.embedded
def test_killed_while_files_are_replaced(make_host: MakeFaultHost, dice: random.Random) -> None:
    host = make_host(infra={"postgres": None}, data=DATA)
    main = host.main
    main.inv("infra.up")
    put(main, "old")
    main.inv("data.snapshot", "old")
    put(main, "new")
    main.inv("infra.down")
    main.inv("data.snapshot", "new")
    points, reached = points_of(host.trace(main, *RESTORE)), 0
    files = [point for point in points if ".data.paths" in point or "swap.json" in point]
    assert files
    for point in points if FULL else [*dice.sample(files, 3), *dice.sample(points, 2)]:
        main.inv("data.restore", "new", "--yes", "--no-backup")
        code = host.kill_at(main, f"1:{point}", *RESTORE)
        say(f"killed at {point!r} ({code})")
        reached += code == -9
        main.inv("infra.up")
        assert has(main) in (["old"], ["new", "old"])
        main.inv("infra.down")
        assert host.left_of(main) == []
        assert list(place(main).glob(".data.paths*")) == []
    assert reached
