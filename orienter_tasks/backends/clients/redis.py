"""A client of Redis and Valkey, of as much of their protocol as is needed here: one request, one answer."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Union

from orienter_tasks.errors import CheckError
from orienter_tasks.machine import ports
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig

SECONDS = 5.0
PATIENCE = 60.0  # what a copy may have to wait for
BLOCK = 2**20
AT_ONCE = 500
EOF = b"EOF:"
Answer = Union[bytes, int, None, "list[Answer]"]


class RefusedError(Exception):
    """The server answers with an error."""


class RedisSession:
    """A connection to a server, with the password given."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.stream = connection.makefile("rb")

    def ask(self, *words: str | bytes | int) -> Answer:
        """Send a command and return the answer; RefusedError if it is an error, OSError if there is none."""
        self.send(*words)
        return self._read()

    def send(self, *words: str | bytes | int) -> None:
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        head = b"*%d\r\n" % len(encoded)
        self._connection.sendall(head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded))

    def text(self, *words: str | bytes | int) -> str:
        """Return an answer that is a text."""
        answer = self.ask(*words)
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else ""

    def listed(self, *words: str | bytes | int) -> list[Answer]:
        """Return an answer that is a list."""
        answer = self.ask(*words)
        return answer if isinstance(answer, list) else []

    def info(self, section: str) -> dict[str, str]:
        """Return the facts of a section of INFO."""
        lines = [line.partition(":") for line in self.text("INFO", section).splitlines() if not line.startswith("#")]
        return {name: value for name, _, value in lines}

    def version(self) -> str:
        """Return which server it is, such as `valkey 8.1`."""
        facts = self.info("server")
        return f"{facts.get('server_name', 'redis')} {facts.get('valkey_version') or facts.get('redis_version', '')}"

    def scan(self, command: str, *key: bytes) -> Iterator[bytes]:
        """Yield what SCAN and its siblings find; something may come twice."""
        cursor = b"0"
        while True:
            answer = self.listed(command, *key, cursor, "COUNT", AT_ONCE)
            if len(answer) != 2 or not isinstance(answer[0], bytes) or not isinstance(answer[1], list):  # noqa: PLR2004
                return
            cursor = answer[0]
            yield from (item for item in answer[1] if isinstance(item, bytes))
            if cursor == b"0":
                return

    def replicate(self) -> Iterator[bytes]:
        """Yield all data of one moment, as a replica gets it; the connection is of no use afterwards."""
        with suppress(RefusedError):  # of servers that do not know it
            self.ask("REPLCONF", "rdb-only", "1")
        self.ask("REPLCONF", "capa", "eof")
        self.send("SYNC")
        while (line := self.stream.readline()) == b"\n":  # it says that it is at work
            pass
        if line.startswith(b"-"):
            raise RefusedError(line[1:].decode("utf-8", "replace").strip())
        if not line.startswith(b"$"):
            raise ConnectionError(f"the answer is not a replica's: {line[:60]!r}")
        word = line[1:].strip()
        yield from self._until(word[len(EOF) :]) if word.startswith(EOF) else self._sized(int(word))

    def _sized(self, size: int) -> Iterator[bytes]:
        while size:
            block = self.stream.read(min(size, BLOCK))
            if not block:
                raise ConnectionError("the server ends before its data does")
            size -= len(block)
            yield block

    def _until(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before the mark, which is the last."""
        held = b""
        while not held.endswith(mark):
            block = self.stream.read1(BLOCK)
            if not block:
                raise ConnectionError("the server ends before its data does")
            held += block
            yield held[: -len(mark)]
            held = held[-len(mark) :]

    def _read(self) -> Answer:
        line = self.stream.readline()
        kind, rest = line[:1], line[1:].rstrip(b"\r\n")
        if not line.endswith(b"\n"):
            raise ConnectionError("the server closes the connection")
        if kind == b"-":
            raise RefusedError(rest.decode("utf-8", "replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind != b"$":
            raise ConnectionError(f"the answer is not Redis's: {line[:60]!r}")
        size = int(rest)
        return self.stream.read(size + 2)[:size] if size >= 0 else None


@contextmanager
def connected(port: int, password: str, seconds: float = SECONDS) -> Iterator[RedisSession]:
    """Connect and give the password.

    Raises:
        OSError, RefusedError: it does not answer, or refuses.
    """
    with ports.connect(LOOPBACK, port, seconds) as connection:
        connection.settimeout(seconds)
        session = RedisSession(connection)
        with session.stream:
            session.ask("AUTH", password)
            yield session


def require_ready(config: InstanceConfig, seconds: float) -> None:
    """Ask it once as a client of the instance.

    Raises:
        NotReadyError: it does not answer yet.
        CheckError: it refuses the password.
    """
    port = config.instance.ports["redis"]
    try:
        with connected(port, config.variables["REDIS_PASSWORD"], seconds) as session:
            session.ask("PING")
    except RefusedError as error:
        if str(error).startswith(("WRONGPASS", "ERR AUTH")):
            raise CheckError(
                f"redis of {config.instance} on port {port} refuses REDIS_PASSWORD",
                hint="where it was changed since the start: inv dev.restart -s redis",
            ) from error
        raise NotReadyError(f"redis on port {port}: {error}") from error
    except OSError as error:
        raise NotReadyError(f"redis on port {port}: {error.strerror or error}") from error


@contextmanager
def redis(config: InstanceConfig, seconds: float = SECONDS) -> Iterator[RedisSession]:
    """Log in to an instance's server; CheckError for whatever it refuses."""
    port = config.instance.ports["redis"]
    try:
        with connected(port, config.variables["REDIS_PASSWORD"], seconds) as session:
            yield session
    except (OSError, RefusedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckError(
            f"redis of {config.instance} on port {port}: {reason}", hint="see: inv infra.logs -s redis"
        ) from error
