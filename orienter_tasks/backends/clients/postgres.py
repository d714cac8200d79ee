"""Ready means a real PostgreSQL login over TCP and `SELECT 1` in the instance's own database, made when missing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.clients import scram
from orienter_tasks.errors import CheckError
from orienter_tasks.machine import ports
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import InstanceConfig

CONNECT_SECONDS = 2.0
NO_SUCH_DATABASE = "3D000"  # SQLSTATE codes, PostgreSQL appendix A
DATABASE_EXISTS = ("42P04", "23505")
WRONG_PASSWORD = ("28P01", "28000")


def ensure_database(config: InstanceConfig) -> None:
    """Log in to the instance's database, making it first when the server does not have it.

    Raises:
        NotReadyError: the server does not answer yet.
        CheckError: it refuses the password.
    """
    name = config.variables["POSTGRES_DB"]
    try:
        _query(config, name, "SELECT 1")
    except LookupError:
        with contextlib.suppress(FileExistsError):
            _query(config, "postgres", f'CREATE DATABASE "{name.replace(chr(34), chr(34) * 2)}"')
        _query(config, name, "SELECT 1")


def _query(config: InstanceConfig, database: str, statement: str) -> None:
    account = scram.Account(config.variables["POSTGRES_USER"], config.variables["POSTGRES_PASSWORD"], database)
    port = config.instance.ports["postgres"]
    try:
        with _connected(port) as sock:
            scram.ask(sock, account, statement)
    except scram.UnknownLoginError:
        _query_by_library(config, account, statement)
    except scram.RefusedError as error:
        raise _translated(config, error.fields) from error
    except (OSError, ValueError) as error:
        raise NotReadyError(f"PostgreSQL on port {port}: {error}") from error


def _query_by_library(config: InstanceConfig, account: scram.Account, statement: str) -> None:
    from pg8000 import exceptions, native

    port = config.instance.ports["postgres"]
    try:
        with _connected(port) as sock:  # a socket of our own: after a failed login pg8000 would leave its one open
            connection = native.Connection(
                account.user,
                sock=sock,
                database=account.database,
                password=account.password,
                application_name="orienter",
            )
            try:
                connection.run(statement)
            finally:
                connection.close()
    except exceptions.DatabaseError as error:
        told: Any = error.args[0] if error.args else ""
        raise _translated(config, told if isinstance(told, dict) else {"M": str(error)}) from error
    except (exceptions.Error, OSError) as error:
        raise NotReadyError(f"PostgreSQL on port {port}: {error}") from error


def _connected(port: int) -> socket.socket:
    return ports.connect(LOOPBACK, port, CONNECT_SECONDS)


def _translated(config: InstanceConfig, told: Mapping[str, str]) -> Exception:
    """Translate the fields of a server's error: `C` is the SQLSTATE, `M` the message."""
    code, message = told.get("C", ""), told.get("M", "")
    if code == NO_SUCH_DATABASE:
        return LookupError(message)
    if code in DATABASE_EXISTS:
        return FileExistsError(message)
    if code in WRONG_PASSWORD:
        return CheckError(
            f"PostgreSQL of {config.instance} refuses user {config.variables['POSTGRES_USER']!r}: {message}",
            hint="its data was made with another password: put that back into .env, "
            "or begin anew with: inv infra.down --volumes",
        )
    return NotReadyError(f"PostgreSQL: {message}")
