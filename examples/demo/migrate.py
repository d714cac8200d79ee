"""Bring the instance's database to the shape that the dashboard needs; may run any number of times."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from examples.demo import process
from examples.demo.configuration import require
from examples.demo.database import Address, connect, parse
from examples.demo.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK = 0x0DE30  # any number that only this program uses: two runs at once take turns
TABLE = """
    CREATE TABLE IF NOT EXISTS notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        text text NOT NULL,
        attachment_key text,
        attachment_type text,
        attachment_size bigint
    )
"""


def migrate(address: Address) -> None:
    """Make the table if it is not there; UnavailableError if PostgreSQL refuses."""
    import pg8000.native

    connection = connect(address, "demo-migrate")
    try:
        connection.run("SET client_min_messages TO warning")
        connection.run("BEGIN")
        connection.run("SELECT pg_advisory_xact_lock(:lock)", lock=LOCK)
        connection.run(TABLE)
        connection.run("COMMIT")
    except pg8000.native.Error as error:
        raise UnavailableError(f"the migration failed: {error}") from error
    finally:
        connection.close()


def main(environ: Mapping[str, str]) -> int:
    """Migrate the database of DATABASE_URL."""
    try:
        migrate(parse(require(environ, "DATABASE_URL")))
    except UnavailableError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    sys.stdout.write(f"{environ.get('POSTGRES_DB', 'the database')}: the notes table is ready\n")
    return 0


if __name__ == "__main__":
    process.run(main)
