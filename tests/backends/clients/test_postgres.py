"""The login that a start waits for: what a real server says to it, and what it believes of another process."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.clients import postgres
from orienter_tasks.backends.clients.postgres import ensure_database, require_accepting
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.volumes import working_dir
from orienter_tasks.stack.component import NotReadyError
from tests.backends.contract import sql, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded


def require(config: InstanceConfig, method: str) -> None:
    """Let the server want another login of everybody."""
    (working_dir(config.instance, "postgres") / "pg_hba.conf").write_text(f"host all all 127.0.0.1/32 {method}\n")
    sql(config, "SELECT pg_reload_conf()")
    for _ in range(500):
        if sql(config, "SELECT auth_method FROM pg_hba_file_rules") == [[method]]:
            return
    raise AssertionError(method)


@pytest.mark.parametrize("method", ["md5", "password", "trust"])
def test_any_kind_of_login(lab: EmbeddedLab, config: InstanceConfig, method: str) -> None:
    up(lab.backend(config), config, ["postgres"])
    require(config, method)
    ensure_database(config)


def test_a_refused_login_is_told(lab: EmbeddedLab, config: InstanceConfig) -> None:
    up(lab.backend(config), config, ["postgres"])
    wrong = {"POSTGRES_PASSWORD": "wrong"}, {"POSTGRES_USER": "nobody"}
    for dotenv in wrong:
        with pytest.raises(CheckError, match="refuses user"):
            ensure_database(lab.config(dotenv=dotenv))
    with pytest.raises(Exception, match=r"28000|reject"):
        require(config, "reject")
    with pytest.raises(CheckError, match="refuses user"):
        ensure_database(config)


def test_a_database_that_is_missing_is_made(lab: EmbeddedLab, config: InstanceConfig) -> None:
    up(lab.backend(config), config, ["postgres"])
    other = lab.config(dotenv={"POSTGRES_DB": 'another "one"'})
    ensure_database(other)
    assert sql(other, "SELECT current_database()") == [['another "one"_0']]


NUMBER = struct.Struct("!i")
SASL, SASL_CONTINUE, SASL_FINAL = 10, 11, 12  # kinds of an authentication request: PostgreSQL's «Message Formats»
NONCE = b"N" * 24  # after the client's own


def message(kind: bytes, body: bytes) -> bytes:
    return kind + NUMBER.pack(NUMBER.size + len(body)) + body


def request(kind: int, content: bytes = b"") -> bytes:
    return message(b"R", NUMBER.pack(kind) + content)


@contextlib.contextmanager
def stranger(port: int, *answers: bytes, echo_nonce: bool = True) -> Iterator[None]:
    """Another process on the port: it says these things, one after each message, a challenge with our nonce."""

    def speak() -> None:
        theirs = server.accept()[0]
        theirs.settimeout(10)
        with theirs, contextlib.suppress(OSError):
            for answer in answers:
                heard = theirs.recv(4096)
                nonce = heard.rpartition(b"r=")[2] if echo_nonce else b"O" * len(NONCE)
                theirs.sendall(answer.replace(NONCE, nonce[: len(NONCE)]))
            if answers:
                theirs.recv(4096)

    with socket.create_server(("127.0.0.1", port)) as server:
        thread = threading.Thread(target=speak)
        thread.start()
        yield
        thread.join()


OFFER = request(SASL, b"SCRAM-SHA-256\0\0")
CHALLENGE = request(SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096")
WELCOME = request(0) + message(b"Z", b"I")


@pytest.mark.parametrize(
    ("answers", "echo"),
    [
        ((OFFER, CHALLENGE, request(SASL_FINAL, b"v=" + b"A" * 44) + WELCOME), True),  # guesses the signature
        ((OFFER, CHALLENGE, WELCOME), True),  # proves nothing
        ((OFFER, CHALLENGE), False),  # repeats an answer to somebody else
        ((OFFER, request(SASL_CONTINUE, b"nonsense")), True),
        ((OFFER, request(SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c2FsdHNhbHRzYWx0c2FsdA==,i=many")), True),
        ((OFFER, request(SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c,i=4096")), True),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), True),
        ((message(b"R", b""),), True),
        ((message(b"N", b""),), True),
        ((), True),  # hangs up
    ],
)
def test_who_does_not_know_the_password_is_not_believed(
    config: InstanceConfig, answers: tuple[bytes, ...], echo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PROBE_SECONDS", 0.5)  # for those who say too little
    port = config.instance.ports["postgres"]
    with stranger(port, *answers, echo_nonce=echo), pytest.raises(NotReadyError, match=f"port {port}") as caught:
        ensure_database(config)
    assert config.variables["POSTGRES_PASSWORD"] not in str(caught.value)


def test_nobody_is_not_ready(config: InstanceConfig) -> None:
    with pytest.raises(NotReadyError, match=str(config.instance.ports["postgres"])):
        ensure_database(config)


REFUSED = message(b"E", b"SFATAL\0VFATAL\0C28000\0Mno entry in pg_hba.conf\0\0")


@pytest.mark.parametrize("answer", [OFFER, REFUSED])
def test_a_server_that_asks_for_or_refuses_a_login_accepts_connections(config: InstanceConfig, answer: bytes) -> None:
    with stranger(config.instance.ports["postgres"], answer):
        require_accepting(config)


@pytest.mark.parametrize(
    "answers", [(REFUSED.replace(b"28000", b"57P03"),), (b"HTTP/1.1 400 Bad Request\r\n\r\n",), ()]
)
def test_a_server_that_starts_does_not_accept_connections(config: InstanceConfig, answers: tuple[bytes, ...]) -> None:
    with stranger(config.instance.ports["postgres"], *answers), pytest.raises(NotReadyError):
        require_accepting(config)


def test_a_real_server_accepts_connections(lab: EmbeddedLab, config: InstanceConfig) -> None:
    with pytest.raises(NotReadyError, match=str(config.instance.ports["postgres"])):
        require_accepting(config)
    up(lab.backend(config), config, ["postgres"])
    require_accepting(config)
    require_accepting(lab.config(dotenv={"POSTGRES_USER": "nobody", "POSTGRES_PASSWORD": "wrong"}))
