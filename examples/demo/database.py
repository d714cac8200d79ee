"""PostgreSQL through a few kept connections."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from examples.demo.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from types import TracebackType

CONNECTIONS = 8
TIMEOUT = 5.0
FRESH_SECONDS = 1.0
UNDEFINED_TABLE = "42P01"
POSTGRES_PORT = 5432
FORM = "postgresql://USER:PASSWORD@HOST:PORT/NAME"


@dataclass(frozen=True)
class Address:
    """Where a database is and how to be let in."""

    host: str
    port: int
    user: str
    password: str
    name: str

    def __repr__(self) -> str:
        return f"Address({self.user}@{self.host}:{self.port}/{self.name})"


def parse(url: str) -> Address:
    """Read a postgresql:// URL; ConfigurationError, without the URL's password, if it is none."""
    try:
        parts = urlsplit(url)
        host, user, port = parts.hostname, parts.username, parts.port or POSTGRES_PORT
    except ValueError as error:
        raise ConfigurationError(f"DATABASE_URL is not of the form {FORM}") from error
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in {"postgres", "postgresql"} or not host or not user or not name:
        raise ConfigurationError(f"DATABASE_URL is not of the form {FORM}")
    return Address(host, port, unquote(user), unquote(parts.password or ""), name)


def connect(address: Address, application: str) -> Any:
    """Open a connection; UnavailableError if none can be had."""
    import pg8000.native

    try:
        return pg8000.native.Connection(
            address.user,
            host=address.host,
            port=address.port,
            password=address.password,
            database=address.name,
            timeout=TIMEOUT,
            application_name=application,
        )
    except (pg8000.native.Error, OSError) as error:
        raise UnavailableError(f"PostgreSQL on {address.host}:{address.port}: {_message(error)}") from error


class Database:
    """Run single statements, each in a transaction of its own; safe to share between threads."""

    def __init__(self, address: Address, application: str) -> None:
        self._address = address
        self._application = application
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: deque[tuple[Any, float]] = deque()

    def run(self, statement: str, **values: object) -> list[list[Any]]:
        """Return the rows of a statement; UnavailableError when PostgreSQL does not answer."""
        with self._free, _Borrowed(self) as connection:
            rows: list[list[Any]] | None = connection.run(statement, **values)
        return rows or []

    def close(self) -> None:
        """Close the kept connections."""
        while kept := self._pop():
            _close(kept[0])

    def take(self) -> Any:
        """Return a kept connection that still answers, or a new one."""
        while kept := self._pop():
            connection, used = kept
            if time.monotonic() - used < FRESH_SECONDS or _answers(connection):
                return connection
        return connect(self._address, self._application)

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next statement."""
        self._idle.append((connection, time.monotonic()))

    def _pop(self) -> tuple[Any, float] | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


class _Borrowed:
    """Hold a connection for one statement: keep it if it is still good, close it if it broke."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None

    def __enter__(self) -> Any:
        self._connection = self._database.take()
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import pg8000.native

        if error is None:
            self._database.give_back(self._connection)
            return
        _close(self._connection)
        if isinstance(error, (pg8000.native.Error, OSError)):
            raise UnavailableError(f"PostgreSQL: {_message(error)}") from error


def _answers(connection: Any) -> bool:
    import pg8000.native

    try:
        connection.run("SELECT 1")
    except (pg8000.native.Error, OSError):
        _close(connection)
        return False
    return True


def _close(connection: Any) -> None:
    import pg8000.native

    try:
        connection.close()
    except (pg8000.native.Error, OSError):
        return


def _message(error: BaseException) -> str:
    details = error.args[0] if error.args else None
    if not isinstance(details, dict):
        return str(error) or type(error).__name__
    if details.get("C") == UNDEFINED_TABLE:
        return "the notes table is missing; run python -m examples.demo.migrate"
    return str(details.get("M", error))
