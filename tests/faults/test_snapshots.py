"""Snapshots, restored and cloned: rows and objects as one, on both backends, running, stopped and killed."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.state import snapshot_dir
from tests.faults import contents
from tests.faults.lab import FULL, bucket, has, kept, put, say
from tests.faults.test_crashes import points_of
from tests.integration.small import complaint, connected, states, wait_for

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.faults.lab import FaultHost, MakeFaultHost
    from tests.integration.checkouts import Checkout

RESTORE = ("data.restore", "kept", "--yes")
START = ("dev", "--detach", "--quiet")


def test_snapshots_travel(make_host: MakeFaultHost, backend: str) -> None:
    """Taken while it runs, given to a worktree that runs, broken there, and brought back; cloned in the end."""
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    assert complaint(main.inv("data.snapshot", "early", code=3)).startswith("error: instance 0")
    main.inv("infra.up")
    put(main, "one")
    contents.fill(main)
    taken = main.inv("data.snapshot", "first", "--json").json["snapshot"]
    assert [part["component"] for part in taken["parts"]] == ["postgres", "minio"]
    put(main, "two")
    other.inv(*START)
    put(other, "lost")
    refused = other.inv("data.restore", "first", code=2)
    assert "this will replace the data of" in complaint(refused)
    has(other, "lost")
    told = other.inv("data.restore", "first", "--yes", "--json").json["replaced"]
    has(other, "one")
    contents.require_everything(other)
    assert all(states(other).values())
    facts = int(other.variables["AI_INSTANCE_ID"]), "first", ["postgres", "minio"]
    assert (told["instance"], told["snapshot"], told["components"]) == facts
    listed = other.inv("data.list", "--json").json["snapshots"]
    assert [each["automatic"] for each in listed] == [True, False]
    assert told["kept"] == listed[0]["name"]
    other.inv("data.restore", told["kept"], "--yes", "--no-backup")
    has(other, "lost")
    other.inv("data.clone", "--yes", "--no-backup")
    has(other, "one", "two")
    contents.require_everything(other)


def test_snapshots_and_clones_of_what_stands_still(make_host: MakeFaultHost, backend: str) -> None:
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    main.inv(*START)
    put(main, "one")
    main.inv("data.snapshot", "first")
    put(main, "two")
    main.inv("dev.stop")
    other.inv("infra.up")
    put(other, "lost")
    other.inv("infra.down")
    other.inv("data.clone", "--yes", "--no-backup")
    main.inv("data.snapshot", "second")
    other.inv(*START)
    has(other, "one", "two")
    main.inv("data.restore", "first", "--yes", "--no-backup")
    main.inv(*START)
    has(main, "one")
    main.inv("data.restore", "second", "--yes", "--no-backup")
    has(main, "one", "two")


def seeds(checkout: Checkout) -> int:
    return len((checkout.path / "seeded").read_text().splitlines())


def test_a_first_start_with_data(make_host: MakeFaultHost, backend: str) -> None:
    seed = {"name": "seed", "command": ["sh", "-c", "echo >> seeded"], "once": "data", "needs": ["postgres"]}
    host = make_host(backend, data={"initial": "main"}, hooks={"start": [seed]})
    main, (first, second) = host.main, host.worktrees(2)
    main.inv(*START)
    put(main, "one")
    first.inv(*START)
    has(first, "one")
    assert "has data already" in complaint(first.inv("dev", "--data", "main", code=4))
    assert first.inv("infra.verify").out
    second.inv(*START, "--data", "empty")
    has(second)

    second.inv(*START)
    assert [seeds(each) for each in (main, first, second)] == [1, 1, 1]
    put(second, "lost")
    told = second.inv("data.reset", "--yes", "--json").json["replaced"]
    assert (told["data"], told["snapshot"], told["components"]) == ("no data", None, [])
    has(second)
    second.inv("data.clone", "--yes", "--source", first.variables["AI_INSTANCE_ID"])
    has(second, "one")
    assert seeds(second) == 3

    put(second, "left")
    number = second.variables["AI_INSTANCE_ID"]
    second.inv("dev.stop")
    host.git("worktree", "remove", "--force", str(second.path))
    first.inv("data.clone", "--source", number, "--yes", "--no-backup")
    has(first, "left", "one")
    host.main.inv("cleanup.instance", number, "--yes")


class Writer:
    """Writes objects, each before the row that names it, through one connection."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.rows: list[str] = []

    def __enter__(self) -> Writer:
        self._thread.start()
        wait_for(lambda: len(self.rows) > 10, "rows")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        client, name = bucket(self._checkout)
        with connected(self._checkout) as connection:
            while not self._ended.is_set():
                text = f"{len(self.rows):06}"
                client.put_object(name, text, io.BytesIO(text.encode()), len(text))
                connection.run(f"INSERT INTO kept VALUES ('{text}')")
                self.rows.append(text)


def test_whoever_writes_meanwhile_is_not_disturbed(make_host: MakeFaultHost, backend: str) -> None:
    """And each row's object is in the copy."""
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    main.inv("infra.up")
    put(main, "first")
    with Writer(main) as writer:
        before = len(writer.rows)
        other.inv("data.clone")
        after = len(writer.rows)
        wait_for(lambda: len(writer.rows) > after + 10, "more rows, through the same connection")
    other.inv("infra.up")
    rows, objects = kept(other)
    assert before <= len(rows) <= after + 1
    assert set(rows) <= set(objects)


@pytest.mark.embedded
def test_what_is_refused_changes_nothing(make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host()
    main = host.main
    main.inv("infra.up")
    put(main, "one")
    main.inv("data.snapshot", "kept")
    place = snapshot_dir() / host.project / "kept"
    manifest = place / "manifest.json"
    whole = json.loads(manifest.read_text())
    with connected(main) as connection:
        for changes, code, words in (
            (
                {"schema_version": 2},
                2,
                "snapshot kept has schema version 2, this program knows 1",
            ),
            ({"project": "other"}, 4, "snapshot kept is of project other"),
            ({"backend": "docker"}, 5, "snapshot kept is of the docker backend, which is not available here"),
            ({"parts": None}, 1, "snapshot kept is damaged"),
        ):
            manifest.write_text(json.dumps({**whole, **changes}))
            assert words in complaint(main.inv(*RESTORE, code=code, DOCKER_HOST="unix:///nowhere"))
        manifest.write_text(json.dumps(whole))
        control = place / "postgres" / "global" / "pg_control"
        control.write_bytes(bytes([control.read_bytes()[0] ^ 1]) + control.read_bytes()[1:])
        damaged = complaint(main.inv("data.restore", "kept", "--yes", code=1))
        assert "snapshot kept is damaged: postgres/global/pg_control has changed" in damaged
        for command, code in (
            (("data.snapshot", "a/b"), 2),
            (("data.snapshot", "kept"), 4),
            (("data.restore", "a/b"), 3),
            (("data.rm", "none"), 3),
            (("data.rm", "kept"), 2),
            (("data.clone", "--source", "7"), 3),
            (("data.clone", "--source", "x"), 2),
            (("data.clone", "--source", "0"), 4),
        ):
            complaint(main.inv(*command, code=code))
        assert connection.run("SELECT text FROM kept") == [["one"]]
        spaces = tmp_path / "spaces"
        spaces.mkdir()
        connection.run(f"CREATE TABLESPACE elsewhere LOCATION '{spaces}'")
        assert "the data of postgres of instance 0 (orienter) cannot be copied" in complaint(
            main.inv("data.snapshot", "spaces", code=1)
        )
        connection.run("DROP TABLESPACE elsewhere")
    has(main, "one")
    assert [each["name"] for each in main.inv("data.list", "--json").json["snapshots"]] == ["kept"]
    main.inv("data.rm", "kept", "--yes")
    assert not place.parent.exists()


KILLS = {"embedded": 2, "docker": 1}
MOST = 150  # an import has four hundred state changes, most of them files of the throwaway instance


def test_killed_while_data_is_replaced(make_host: MakeFaultHost, backend: str, dice: random.Random) -> None:
    """Afterwards the instance has its old data or the new, rows and objects alike, and nothing half-made is listed."""
    host = make_host(backend)
    checkout = host.main
    checkout.inv("infra.up")
    put(checkout, "old")
    checkout.inv("data.snapshot", "old")
    put(checkout, "new")
    checkout.inv("infra.down")
    checkout.inv("data.snapshot", "new")
    ways = {
        words: points_of(host.trace(checkout, *words))
        for words in (("data.restore", "old", "--yes"), ("data.snapshot", "third"))
    }
    checkout.inv("data.rm", "third", "--yes")
    reached = 0
    for words, points in ways.items():
        for point in points if FULL else dice.sample(points, KILLS[backend]):
            checkout.inv("data.restore", "new", "--yes", "--no-backup")
            reached += killed(host, checkout, point, *words)
            checkout.inv("infra.up")
            rows, objects = kept(checkout)
            assert rows == objects
            assert rows in (["old"], ["new", "old"]) if words[0] == "data.restore" else rows == ["new", "old"]
            checkout.inv("infra.down")
            cleared(host, checkout)
    say(f"{backend}: {reached} kills")
    assert reached


def killed(host: FaultHost, checkout: Checkout, point: str, *words: str) -> bool:
    """Run `inv` and kill it before a state change; say whether it came to that."""
    code = host.kill_at(checkout, f"1:{point}", *words)
    say(f"{words[0]} killed at {point!r} ({code})")
    return code == -9


def cleared(host: FaultHost, checkout: Checkout) -> None:
    """Require that a stopped instance has left nothing half-made, and that its automatic snapshots can be restored."""
    for found in checkout.inv("data.list", "--json").json["snapshots"]:
        if found["automatic"] or found["name"] == "third":
            checkout.inv("data.restore", found["name"], "--yes", "--no-backup")
            checkout.inv("data.rm", found["name"], "--yes")
    assert [path.name for path in snapshot_dir().glob("*/.*")] == []
    assert host.left_of(checkout) == []


def test_killed_while_data_comes_from_elsewhere(
    make_host: MakeFaultHost, backend: str, dice: random.Random, tmp_path: Path
) -> None:
    """A clone or an import leaves the source as it is, and the target with its old data or the new."""
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    file = str(tmp_path / "data.tar")
    main.inv("infra.up")
    put(main, "source")
    main.inv("data.export", file)
    other.inv("infra.up")
    put(other, "old")
    other.inv("infra.down")
    other.inv("data.snapshot", "old")
    reached = 0
    with connected(main) as connection:
        for words in (("data.clone", "--yes"), ("data.import", file, "--yes")):
            points = points_of(host.trace(other, *words))
            for point in dice.sample(points, min(len(points), MOST if FULL else 1)):
                other.inv("data.restore", "old", "--yes", "--no-backup")
                reached += killed(host, other, point, *words)
                other.inv("infra.up")
                rows, objects = kept(other)
                assert rows == objects
                assert rows in (["old"], ["source"])
                other.inv("infra.down")
                if words[0] == "data.import":  # removes the throwaway instance
                    other.inv(*words)
                assert not list((other.path / ".dev-data").glob("test-*"))
                cleared(host, other)
        assert connection.run("SELECT text FROM kept") == [["source"]]
    has(main, "source")
    say(f"{backend}: {reached} kills")
    assert reached
