"""What servers can have beside rows and objects: the rows of the tables in docs/data.md."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tests.faults.lab import bucket
from tests.integration.small import connected

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout

KEYS = {"päth/a b+c%2F&d": b"odd", ".hidden": b"h", "empty": b"", "deep/er/and/deeper": b"d", "big": bytes(6 * 2**20)}
OTHERS = "others"
STATEMENTS = (
    "CREATE SCHEMA shop",
    "CREATE TYPE shop.state AS ENUM ('new', 'paid')",
    "CREATE TABLE shop.orders (id serial PRIMARY KEY, state shop.state)",
    "INSERT INTO shop.orders (state) VALUES ('new'), ('paid')",
    "COMMENT ON TABLE shop.orders IS 'all of them'",
    "SELECT lo_from_bytea(4711, 'large')",
    "CREATE ROLE reader LOGIN",
    "ALTER ROLE reader SET search_path TO shop",
    "GRANT USAGE ON SCHEMA shop TO reader",
    "GRANT SELECT ON shop.orders TO reader",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 5120', current_database()); END $$",
    "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
)
IN_SCHEMAS: tuple[tuple[str, list[list[object]]], ...] = (  # and what they answer
    ("SELECT state::text FROM shop.orders WHERE id < 3 ORDER BY id", [["new"], ["paid"]]),
    ("SELECT obj_description('shop.orders'::regclass)", [["all of them"]]),
    ("SELECT convert_from(lo_get(4711), 'utf8')", [["large"]]),
    ("SELECT last_value FROM shop.orders_id_seq", [[2]]),
    ("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()", [["UTF8"]]),
)
OF_THE_SERVER = (
    ("SHOW work_mem", "5MB"),
    ("SELECT count(*) FROM pg_roles WHERE rolname = 'reader'", 1),
    ("SELECT count(*) FROM pg_db_role_setting WHERE setconfig = '{search_path=shop}'", 1),
    ("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'reader'", 1),
    ("SELECT count(*) FROM pg_database WHERE datname = 'latin'", 1),
)


def fill(checkout: Checkout) -> None:
    """Make all of it; objects in a bucket of their own, with a content type and metadata."""
    with connected(checkout) as connection:
        for statement in STATEMENTS:
            connection.run(statement)
    with connected(checkout, "latin") as connection:
        connection.run("CREATE TABLE words AS SELECT 'größe'::text AS word")
    client, _ = bucket(checkout)
    client.make_bucket(OTHERS)
    put_objects(checkout, OTHERS)


def put_objects(checkout: Checkout, name: str) -> None:
    """Write the objects into a bucket."""
    client, _ = bucket(checkout)
    for key, content in KEYS.items():
        client.put_object(name, key, io.BytesIO(content), len(content), "text/odd", {"colour": "red"})


def require_objects(checkout: Checkout, name: str) -> None:
    """Require exactly the objects, each with its content."""
    client, _ = bucket(checkout)
    assert sorted(found.object_name for found in client.list_objects(name, recursive=True)) == sorted(KEYS)
    for key, content in KEYS.items():
        with client.get_object(name, key) as answer:
            assert answer.read() == content


def require_schemas(checkout: Checkout) -> None:
    """Require what is in the database, which every copy has."""
    with connected(checkout) as connection:
        for statement, answer in IN_SCHEMAS:
            assert connection.run(statement) == answer


def of_the_server(checkout: Checkout) -> list[bool]:
    """Say of each thing outside of the database whether it is there."""
    with connected(checkout) as connection:
        return [connection.run(statement) == [[answer]] for statement, answer in OF_THE_SERVER]


def require_everything(checkout: Checkout) -> None:
    """Require what a copy of the servers' files has."""
    require_schemas(checkout)
    assert all(of_the_server(checkout))
    with connected(checkout, "latin") as connection:
        assert connection.run("SELECT word, octet_length(convert_to(word, 'LATIN1')) FROM words") == [["größe", 5]]
        assert connection.run("SHOW server_encoding") == [["LATIN1"]]
    require_objects(checkout, OTHERS)
