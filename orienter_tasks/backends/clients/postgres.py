"""Ready means a login to the instance's database in PostgreSQL, which is created if it is missing."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import CheckError
from orienter_tasks.machine import ports
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.variables import Variables

PROBE_SECONDS = 2.0
PROTOCOL = 3 << 16  # version 3.0; postgresql.org/docs, «Message Formats»: StartupMessage
NO_SUCH_DATABASE = "3D000"  # SQLSTATE codes, PostgreSQL appendix A
DATABASE_EXISTS = ("42P04", "23505")
WRONG_PASSWORD = ("28P01", "28000")
STARTING = "57P03"


@contextlib.contextmanager
def logged_in(config: InstanceConfig, database: str, seconds: float) -> Iterator[Any]:
    """Log in to a database with the instance's credentials; each answer may take `seconds`."""
    from pg8000 import native

    # pg8000 does not close a socket that it opened itself after a failed login or when the server goes away
    with ports.connect(LOOPBACK, config.instance.ports["postgres"], seconds) as sock:
        connection = native.Connection(
            config.variables["POSTGRES_USER"],
            sock=sock,
            database=database,
            password=config.variables["POSTGRES_PASSWORD"],
            application_name="orienter",
            ssl_context=False,  # on loopback; reading the machine's certificates would take 50 ms per login
        )
        try:
            yield connection
        finally:
            connection.close()


def require_accepting(config: InstanceConfig) -> None:
    """Require that a server accepts connections, as pg_isready does; it need not accept the login.

    Raises:
        NotReadyError: it does not yet.
    """
    names = {"user": config.variables["POSTGRES_USER"], "database": config.variables["POSTGRES_DB"]}
    words = b"".join(part.encode() + b"\0" for pair in names.items() for part in pair) + b"\0"
    start = struct.pack("!ii", 8 + len(words), PROTOCOL) + words
    port = config.instance.ports["postgres"]
    try:
        with ports.connect(LOOPBACK, port, PROBE_SECONDS) as sock:
            sock.sendall(start)
            answer = sock.recv(4096)
    except OSError as error:
        raise NotReadyError(f"PostgreSQL on port {port}: {error}") from error
    if answer[:1] not in (b"R", b"E") or f"C{STARTING}\0".encode() in answer:
        raise NotReadyError(f"PostgreSQL on port {port} does not accept connections yet")


def ensure_database(config: InstanceConfig) -> None:
    """Log in to the instance's database; create it if the server does not have it.

    Raises:
        NotReadyError: the server does not answer yet.
        CheckError: it refuses the password.
    """
    name = config.variables["POSTGRES_DB"]
    try:
        _query(config, name, "SELECT 1")
    except LookupError:
        with contextlib.suppress(FileExistsError):
            _query(config, "postgres", f"CREATE DATABASE {identifier(name)}")
        _query(config, name, "SELECT 1")


def password_statement(variables: Variables) -> str:
    """Return the statement, on one line, that gives an instance's user its password."""
    return f"ALTER ROLE {identifier(variables['POSTGRES_USER'])} PASSWORD {literal(variables['POSTGRES_PASSWORD'])}"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a string constant on one line, since a line break ends a statement in single-user mode."""
    escaped = "".join(f"\\x{ord(char):02x}" if char in "\\'" or ord(char) < ord(" ") else char for char in text)
    return f"E'{escaped}'"


def _query(config: InstanceConfig, database: str, statement: str) -> None:
    from pg8000 import exceptions

    try:
        with logged_in(config, database, PROBE_SECONDS) as connection:
            connection.run(statement)
    except exceptions.DatabaseError as error:
        raise _translated(config, error) from error
    except Exception as error:  # pg8000 fails in many ways if this is not PostgreSQL
        raise NotReadyError(f"PostgreSQL on port {config.instance.ports['postgres']}: {error}") from error


def _translated(config: InstanceConfig, error: Exception) -> Exception:
    """Translate a server's error, whose field `C` is the SQLSTATE and `M` the message."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {"M": str(error)}
    code, message = fields.get("C", ""), fields.get("M", "")
    if code == NO_SUCH_DATABASE:
        return LookupError(message)
    if code in DATABASE_EXISTS:
        return FileExistsError(message)
    if code in WRONG_PASSWORD:
        return CheckError(
            f"PostgreSQL of {config.instance} refuses user {config.variables['POSTGRES_USER']!r}: {message}",
            hint="its data was made with another password: put that back into .env, "
            "or start over with: inv infra.down --volumes",
        )
    return NotReadyError(f"PostgreSQL: {message}")
