"""Exports: rows and objects in one file, to the other backend, and what an import refuses."""

from __future__ import annotations

import json
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.data import archive, manifest
from tests.faults import contents
from tests.faults.lab import bucket, has, put
from tests.integration.small import complaint, connected, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

OTHER = {"docker": "embedded", "embedded": "docker"}
TRIGGER = (
    "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER noting ON ddl_command_start EXECUTE FUNCTION noted()",
)


def fill(checkout: Checkout) -> None:
    put(checkout, "one")
    contents.fill(checkout)
    contents.put_objects(checkout, bucket(checkout)[1])


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


def refuses(other: Checkout, file: Path) -> None:
    """Try what an import refuses; nothing changes."""
    damaged = file.with_name("damaged.tar")
    content = bytearray(file.read_bytes())
    content[-(2**20)] ^= 1
    damaged.write_bytes(content)
    assert "is damaged" in complaint(other.inv("data.import", str(damaged), "--yes", code=1))
    assert "nowhere does not exist" in complaint(other.inv("data.import", "nowhere", "--yes", code=3))
    assert "this will replace the data of" in complaint(other.inv("data.import", str(file), code=2))
    has(other, "lost")


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
    assert {each["key"] for each in facts} == {"one", *contents.KEYS}
    odd = [(each["content_type"], each["metadata"]) for each in facts if each["key"] in contents.KEYS]
    assert odd == [("text/odd", {"colour": "red"})] * len(contents.KEYS)
    assert "is there already" in complaint(main.inv("data.export", str(file), code=4))

    other.environ["ORIENTER_BACKEND"] = OTHER[backend]
    other.inv("infra.up")
    put(other, "lost")
    refuses(other, file)

    assert end(other, signal.SIGINT, "data.import", str(file), "--yes") == 128 + signal.SIGINT
    assert not throwaway(other)
    assert end(other, signal.SIGKILL, "data.import", str(file), "--yes") == -signal.SIGKILL
    assert throwaway(other)
    has(other, "lost")
    told = other.inv("data.import", str(file), "--yes")
    assert "roles" in told.err
    with connected(other) as connection:
        assert connection.run("TABLE kept") == [["one"]]
        assert connection.run("SELECT rolname FROM pg_roles WHERE rolname IN ('reader', 'orienter_import')") == []
        owners = connection.run("SELECT DISTINCT tableowner = current_user FROM pg_tables WHERE schemaname = 'shop'")
        assert owners == [[True]]
    contents.require_schemas(other)
    assert not any(contents.of_the_server(other))
    client, name = bucket(other)
    client.remove_object(name, "one")
    contents.require_objects(other, name)
    assert [each.name for each in client.list_buckets()] == [name]
    (kept,) = other.inv("data.list", "--json").json["snapshots"]
    other.inv("data.restore", kept["name"], "--yes", "--no-backup")
    has(other, "lost")
    assert not throwaway(other)

    if backend == "docker":
        file.unlink()
        refuses_pg_trgm(main, other, file)
        has(other, "lost")


def refuses_pg_trgm(main: Checkout, other: Checkout, file: Path) -> None:
    """Give the other checkout what its PostgreSQL does not have."""
    with connected(main) as connection:
        connection.run("CREATE EXTENSION pg_trgm")
    main.inv("data.export", str(file))
    assert "extensions of the data: pg_trgm" in complaint(other.inv("data.import", str(file), "--yes", code=1))


def with_extensions(file: Path, names: str) -> Path:
    """Copy an export and let it say that its database has these extensions."""
    content = bytearray(file.read_bytes())
    begin, end = tarfile.BLOCKSIZE, tarfile.BLOCKSIZE + archive.MANIFEST_BYTES
    made = manifest.decode(bytes(content[begin:end]), "")
    parts = tuple(
        replace(part, facts={**part.facts, "extensions": names}) if part.component == "postgres" else part
        for part in made.parts
    )
    content[begin:end] = manifest.encode(replace(made, parts=parts)).ljust(archive.MANIFEST_BYTES)
    changed = file.with_name("extensions.tar")
    changed.write_bytes(content)
    return changed


@pytest.mark.embedded
def test_what_the_other_postgres_cannot_have_is_refused_before_anything_stops(
    make_host: MakeFaultHost, tmp_path: Path
) -> None:
    main, file = make_host().main, tmp_path / "data.tar"
    main.inv("infra.up")
    put(main, "one")
    with connected(main) as connection:
        for statement in TRIGGER:
            connection.run(statement)
        main.inv("data.export", str(file))
        lacking = main.inv("data.import", str(with_extensions(file, "pg_trgm vector")), "--yes", code=1)
        assert "cannot create extensions of the data: pg_trgm, vector" in complaint(lacking)
        refused = main.inv("data.import", str(file), "--yes", code=1)
        assert "the database cannot be restored" in complaint(refused)
        assert "event trigger" in refused.err
        assert connection.run("SELECT text FROM kept") == [["one"]]
    assert not throwaway(main)
    assert main.inv("data.list", "--json").json["snapshots"] == []
    has(main, "one")
