"""Ready means a real PostgreSQL login over TCP and `SELECT 1` in the instance's own database, made when missing."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from orienter_tasks.environment import LOOPBACK
from orienter_tasks.errors import CheckError
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from orienter_tasks.backends.backend import Site

CONNECT_SECONDS = 2.0
NO_SUCH_DATABASE = "3D000"  # SQLSTATE codes, PostgreSQL appendix A
DATABASE_EXISTS = ("42P04", "23505")
WRONG_PASSWORD = ("28P01", "28000")


def ensure_database(site: Site) -> None:
    """Log in to the instance's database, making it first when the server does not have it.

    Raises:
        NotReadyError: the server does not answer yet.
        CheckError: it refuses the password.
    """
    name = site.variables["POSTGRES_DB"]
    try:
        _query(site, name, "SELECT 1")
    except LookupError:
        with contextlib.suppress(FileExistsError):
            _query(site, "postgres", f'CREATE DATABASE "{name.replace(chr(34), chr(34) * 2)}"')
        _query(site, name, "SELECT 1")


def _query(site: Site, database: str, statement: str) -> None:
    from pg8000 import exceptions, native

    port = site.instance.ports["postgres"]
    user = site.variables["POSTGRES_USER"]
    try:
        # a socket of our own: after a failed login pg8000 would leave its one open
        with socket.create_connection((LOOPBACK, port), timeout=CONNECT_SECONDS) as sock:
            connection = native.Connection(
                user,
                sock=sock,
                database=database,
                password=site.variables["POSTGRES_PASSWORD"],
                application_name="orienter",
            )
            try:
                connection.run(statement)
            finally:
                connection.close()
    except exceptions.DatabaseError as error:
        raise _translated(site, error) from error
    except (exceptions.Error, OSError) as error:
        raise NotReadyError(f"PostgreSQL on port {port}: {error}") from error


def _translated(site: Site, error: Exception) -> Exception:
    facts: Any = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    code, message = str(facts.get("C", "")), str(facts.get("M", error))
    if code == NO_SUCH_DATABASE:
        return LookupError(message)
    if code in DATABASE_EXISTS:
        return FileExistsError(message)
    if code in WRONG_PASSWORD:
        return CheckError(
            f"PostgreSQL of {site.instance} refuses user {site.variables['POSTGRES_USER']!r}: {message}",
            hint="its data was made with another password: put that back into .env, "
            "or begin anew with: inv infra.down --volumes",
        )
    return NotReadyError(f"PostgreSQL: {message}")
