"""The one login that every start makes by itself: what a real server says to it, and what it believes of a stranger."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.clients import scram
from orienter_tasks.backends.clients.postgres import ensure_database
from orienter_tasks.errors import CheckError
from orienter_tasks.stack.component import NotReadyError
from tests.backends.contract import sql, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded
Account = scram.Account


def ask(config: InstanceConfig, account: Account, statement: str = "SELECT 1") -> None:
    """Ask a config's server."""
    with socket.create_connection(("127.0.0.1", config.instance.ports["postgres"]), timeout=10) as sock:
        scram.ask(sock, account, statement)


def account(config: InstanceConfig) -> Account:
    return Account(*(config.variables[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB")))


def require(config: InstanceConfig, method: str) -> None:
    """Let the server want another login of everybody."""
    (config.instance.data_dir / "postgres" / "pg_hba.conf").write_text(f"host all all 127.0.0.1/32 {method}\n")
    sql(config, "SELECT pg_reload_conf()")
    for _ in range(500):
        if sql(config, "SELECT auth_method FROM pg_hba_file_rules") == [[method]]:
            return
    raise AssertionError(method)


def test_what_a_server_says(lab: EmbeddedLab, config: InstanceConfig) -> None:
    up(lab.backend(config), config, ["postgres"])
    mine = account(config)
    ask(config, mine)
    ask(config, mine, "CREATE TABLE made AS SELECT generate_series(1, 100000) AS n")
    ask(config, mine, "SELECT n, repeat('x', 1000) FROM made LIMIT 5000")
    assert sql(config, "SELECT count(*) FROM made") == [[100000]]
    for wrong, code in (
        (mine._replace(password="wrong"), "28P01"),
        (mine._replace(password=""), "28P01"),
        (mine._replace(user="nobody"), "28P01"),
        (mine._replace(database="none"), "3D000"),
    ):
        with pytest.raises(scram.RefusedError) as caught:
            ask(config, wrong)
        assert caught.value.fields["C"] == code
    with pytest.raises(scram.RefusedError, match='column "nothing" does not exist'):
        ask(config, mine, "SELECT nothing")


@pytest.mark.parametrize("method", ["md5", "password", "trust", "reject"])
def test_another_kind_of_login_is_the_librarys(lab: EmbeddedLab, config: InstanceConfig, method: str) -> None:
    up(lab.backend(config), config, ["postgres"])
    if method == "reject":
        with pytest.raises(Exception, match=r"28000|reject"):
            require(config, method)
        with pytest.raises(CheckError, match="refuses user"):
            ensure_database(config)
        return
    require(config, method)
    if method == "password":
        with pytest.raises(scram.UnknownLoginError):
            ask(config, account(config))
    ensure_database(config)


def test_a_database_that_is_missing_is_made(lab: EmbeddedLab, config: InstanceConfig) -> None:
    up(lab.backend(config), config, ["postgres"])
    other = lab.config(dotenv={"POSTGRES_DB": 'another "one"'})
    ensure_database(other)
    assert sql(other, "SELECT current_database()") == [['another "one"_0']]


NONCE = b"N" * 24  # where a stranger repeats the client's


def message(kind: bytes, body: bytes) -> bytes:
    return kind + scram.NUMBER.pack(scram.NUMBER.size + len(body)) + body


def request(kind: int, content: bytes = b"") -> bytes:
    return message(b"R", scram.NUMBER.pack(kind) + content)


@contextlib.contextmanager
def stranger(*answers: bytes, echo_nonce: bool = True) -> Iterator[socket.socket]:
    """A connection to somebody who says these things, one after each message; a challenge with the client's nonce."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)

    def speak() -> None:
        with theirs, contextlib.suppress(OSError):
            for answer in answers:
                heard = theirs.recv(4096)
                nonce = heard.rpartition(b"r=")[2] if echo_nonce else b"O" * len(NONCE)
                theirs.sendall(answer.replace(NONCE, nonce[: len(NONCE)]))
            theirs.recv(4096)

    thread = threading.Thread(target=speak)
    thread.start()
    with ours:
        yield ours
    thread.join()


OFFER = request(scram.SASL, b"SCRAM-SHA-256\0\0")
CHALLENGE = request(scram.SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c2FsdA==,i=4096")
WELCOME = request(scram.LOGGED_IN) + message(b"Z", b"I")


@pytest.mark.parametrize(
    ("answers", "echo"),
    [
        ((OFFER, CHALLENGE, request(scram.SASL_FINAL, b"v=" + b"A" * 44) + WELCOME), True),  # guesses the signature
        ((OFFER, CHALLENGE, WELCOME), True),  # proves nothing
        ((OFFER, CHALLENGE), False),  # repeats an answer to somebody else
        ((OFFER, request(scram.SASL_CONTINUE, b"nonsense")), True),
        ((OFFER, request(scram.SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c2FsdA==,i=many")), True),
        ((OFFER, request(scram.SASL_CONTINUE, b"r=" + NONCE + b"abc,s=c,i=4096")), True),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), True),
        ((message(b"R", b""),), True),
        ((message(b"N", b""),), True),
    ],
)
def test_who_does_not_know_the_password_is_not_believed(answers: tuple[bytes, ...], echo: bool) -> None:
    with stranger(*answers, echo_nonce=echo) as sock, pytest.raises(ValueError, match=r".") as caught:
        scram.ask(sock, Account("me", "s3cret", "mine"), "SELECT 1")
    assert "s3cret" not in str(caught.value)


def test_who_hangs_up_is_not_ready() -> None:
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(ConnectionResetError):
        scram.ask(ours, Account("me", "s3cret", "mine"), "SELECT 1")


def hang_up(server: socket.socket) -> None:
    server.accept()[0].close()


def test_a_stranger_on_the_port_is_not_ready(lab: EmbeddedLab, config: InstanceConfig) -> None:
    with socket.create_server(("127.0.0.1", config.instance.ports["postgres"])) as server:
        thread = threading.Thread(target=hang_up, args=(server,))
        thread.start()
        with pytest.raises(NotReadyError, match=str(config.instance.ports["postgres"])):
            ensure_database(config)
        thread.join()


@pytest.mark.parametrize("password", ["pässwörd", "tab\tbed", f"nul{os.linesep}"])
def test_a_password_that_must_be_prepared_is_the_librarys(password: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(scram.UnknownLoginError):
        scram.ask(ours, Account("me", password, "mine"), "SELECT 1")
