"""Exports: rows and objects in one file, to the other backend, and what an import refuses."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import bucket, has, put
from tests.integration.small import complaint, connected, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

OTHER = {"docker": "embedded", "embedded": "docker"}
ODD = "päth/a b+c%2F&d"
SCHEMA = (
    "CREATE SCHEMA shop",
    "CREATE TYPE shop.state AS ENUM ('new', 'paid')",
    "CREATE TABLE shop.orders (id serial PRIMARY KEY, state shop.state)",
    "INSERT INTO shop.orders (state) VALUES ('new'), ('paid')",
    "COMMENT ON TABLE shop.orders IS 'all of them'",
    "SELECT lo_from_bytea(4711, 'large')",
    "CREATE ROLE reader",
    "GRANT SELECT ON shop.orders TO reader",
)


def fill(checkout: Checkout) -> None:
    put(checkout, "one")
    with connected(checkout) as connection:
        for statement in SCHEMA:
            connection.run(statement)
    client, name = bucket(checkout)
    client.put_object(name, ODD, io.BytesIO(b"odd"), 3, "text/odd", {"colour": "red"})
    client.put_object(name, "empty", io.BytesIO(), 0)
    client.put_object(name, "big", io.BytesIO(bytes(6 * 2**20)), 6 * 2**20)


def throwaway(checkout: Checkout) -> list[Path]:
    return list((checkout.path / ".dev-data").glob("test-*"))


def end(checkout: Checkout, sent: signal.Signals, *words: str) -> int:
    """Run `inv`, and send it a signal once it fills the throwaway instance; return its exit code."""
    with checkout.start(*words) as process:
        wait_for(lambda: list((checkout.path / ".dev-data").glob("test-*/import/.dev-data")), "the throwaway instance")
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode


@pytest.mark.docker
def test_to_the_other_backend(make_host: MakeFaultHost, backend: str, tmp_path: Path) -> None:
    host = make_host(backend)
    main, (other,) = host.main, host.worktrees(1)
    file = tmp_path / "data.tar"
    assert complaint(main.inv("data.export", str(file), code=3)).startswith("error: instance 0")
    main.inv("infra.up")
    fill(main)
    made = main.inv("data.export", str(file), "--json").json["export"]
    assert [part["component"] for part in made["parts"]] == ["postgres", "minio"]
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        assert archive.getnames()[:2] == ["manifest.json", "postgres/dump"]
        facts = [
            json.loads(archive.extractfile(each).read())  # type: ignore[union-attr]
            for each in archive.getnames()
            if each.startswith("minio/") and each.endswith(".json")
        ]
    (odd,) = (each for each in facts if each["key"] == ODD)
    assert (odd["content_type"], odd["metadata"]) == ("text/odd", {"colour": "red"})
    assert "is there already" in complaint(main.inv("data.export", str(file), code=4))

    other.environ["ORIENTER_BACKEND"] = OTHER[backend]
    other.inv("infra.up")
    put(other, "lost")
    damaged = tmp_path / "damaged.tar"
    content = bytearray(file.read_bytes())
    content[-(2**20)] ^= 1
    damaged.write_bytes(content)
    assert "is damaged" in complaint(other.inv("data.import", str(damaged), "--yes", code=1))
    assert "nowhere does not exist" in complaint(other.inv("data.import", "nowhere", "--yes", code=3))
    assert "this will replace the data of" in complaint(other.inv("data.import", str(file), code=2))
    has(other, "lost")

    assert end(other, signal.SIGINT, "data.import", str(file), "--yes") == 128 + signal.SIGINT
    assert not throwaway(other)
    assert end(other, signal.SIGKILL, "data.import", str(file), "--yes") == -signal.SIGKILL
    assert throwaway(other)
    has(other, "lost")
    told = other.inv("data.import", str(file), "--yes")
    assert "roles" in told.err
    with connected(other) as connection:
        assert connection.run("TABLE kept") == [["one"]]
        assert connection.run("SELECT state::text FROM shop.orders ORDER BY id") == [["new"], ["paid"]]
        assert connection.run("INSERT INTO shop.orders (state) VALUES ('new') RETURNING id") == [[3]]
        assert connection.run("SELECT obj_description('shop.orders'::regclass)") == [["all of them"]]
        assert connection.run("SELECT convert_from(lo_get(4711), 'utf8')") == [["large"]]
        assert connection.run("SELECT rolname FROM pg_roles WHERE rolname IN ('reader', 'orienter_import')") == []
        owners = connection.run("SELECT DISTINCT tableowner = current_user FROM pg_tables WHERE schemaname = 'shop'")
        assert owners == [[True]]
    client, name = bucket(other)
    found = {each.object_name: each.size for each in client.list_objects(name, recursive=True)}
    assert found == {"one": 3, ODD: 3, "empty": 0, "big": 6 * 2**20}
    (kept,) = other.inv("data.list", "--json").json["snapshots"]
    other.inv("data.restore", kept["name"], "--yes", "--no-backup")
    has(other, "lost")
    assert not throwaway(other)
