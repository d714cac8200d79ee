"""One login to PostgreSQL and one statement: all that a start asks of a server.

pg8000 is what everything else here asks with. Its import takes as long as a server needs to be ready, and it holds
Python up while all the others start; so the one question that every start waits for is asked here. A login that this
module does not know is left to pg8000.

The messages are PostgreSQL's protocol 3.0 (its manual, «Frontend/Backend Protocol»: «Message Formats», «SASL
Authentication»); the login is SCRAM-SHA-256 (RFC 5802, RFC 7677), which also proves that the server knows the password.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

NUMBER = struct.Struct("!i")
HEADER = struct.Struct("!ci")  # a message's kind, and its length, of which the number itself is part
PROTOCOL = 3 << 16
MECHANISM = b"SCRAM-SHA-256"
NO_CHANNEL_BINDING = b"n,,"
LOGGED_IN, SASL, SASL_CONTINUE, SASL_FINAL = 0, 10, 11, 12  # kinds of an authentication request
MOST_BYTES = 1 << 20  # of one message: more is no answer to what is asked here


class RefusedError(Exception):
    """The server's own error; `fields` are those of its ErrorResponse: `C` is the SQLSTATE, `M` the message."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields.get("M", ""))
        self.fields = fields


class UnknownLoginError(Exception):
    """The server wants a login that is not known here."""


class Account(NamedTuple):
    """Who logs in, and where."""

    user: str
    password: str
    database: str


def ask(sock: socket.socket, account: Account, statement: str) -> None:
    """Log in, run a statement, log out; its rows are not looked at.

    Raises:
        RefusedError: the server refuses the login or the statement.
        UnknownLoginError: a library must do this.
        OSError: nobody answers, or not in time.
        ValueError: who answers is no PostgreSQL, or does not know the password.
    """
    if not account.password.isascii() or not account.password.isprintable():
        raise UnknownLoginError  # SASLprep (RFC 4013) would have to prepare it
    session = _Session(sock)
    words = ("user", account.user, "database", account.database, "application_name", "orienter", "")
    session.send(b"", NUMBER.pack(PROTOCOL) + b"".join(word.encode() + b"\0" for word in words))
    _log_in(session, account.password)
    session.until_ready()
    session.send(b"Q", statement.encode() + b"\0")
    session.until_ready()
    session.send(b"X", b"")


class _Session:
    """Messages to and from a server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, kind: bytes, body: bytes) -> None:
        self._sock.sendall(kind + NUMBER.pack(NUMBER.size + len(body)) + body)

    def receive(self) -> tuple[bytes, bytes]:
        """Return the next message that is no error: its kind and body."""
        kind, length = HEADER.unpack(self._exactly(HEADER.size))
        if not NUMBER.size <= length <= MOST_BYTES:
            raise ValueError("who answers is no PostgreSQL")
        body = self._exactly(length - NUMBER.size)
        if kind == b"E":
            parts = [part.decode(errors="replace") for part in body.split(b"\0") if part]
            raise RefusedError({part[0]: part[1:] for part in parts})
        return kind, body

    def until_ready(self) -> None:
        """Skip messages until the server is ready for a statement."""
        while self.receive()[0] != b"Z":
            pass

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            more = self._sock.recv(count - len(got))
            if not more:
                raise ConnectionResetError("the connection was closed")
            got += more
        return got


def _log_in(session: _Session, password: str) -> None:
    kind, offered = _request(session)
    if kind == LOGGED_IN:
        return
    if kind != SASL or MECHANISM not in offered.split(b"\0"):
        raise UnknownLoginError
    nonce = b64encode(os.urandom(18))
    first = b"n=,r=" + nonce  # the server takes the user's name from the start of the session
    opening = NO_CHANNEL_BINDING + first
    session.send(b"p", MECHANISM + b"\0" + NUMBER.pack(len(opening)) + opening)
    challenge = _expect(session, SASL_CONTINUE)
    answer, signature = _prove(password, first, challenge, nonce)
    session.send(b"p", answer)
    if not hmac.compare_digest(_expect(session, SASL_FINAL), b"v=" + signature):
        raise ValueError("the server does not know the password")
    if _request(session)[0] != LOGGED_IN:
        raise ValueError("the server does not finish the login")


def _prove(password: str, first: bytes, challenge: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return the client's answer to the server's challenge, and what the server must sign it with."""
    told = dict(word.split(b"=", 1) for word in challenge.split(b","))
    if not told.keys() >= {b"r", b"s", b"i"} or not told[b"r"].startswith(nonce):
        raise ValueError("the server answers somebody else")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(told[b"s"]), int(told[b"i"]))
    without_proof = b"c=" + b64encode(NO_CHANNEL_BINDING) + b",r=" + told[b"r"]
    exchange = b",".join((first, challenge, without_proof))
    client_key = _sign(salted, b"Client Key")
    signature = _sign(hashlib.sha256(client_key).digest(), exchange)
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    return without_proof + b",p=" + b64encode(proof), b64encode(_sign(_sign(salted, b"Server Key"), exchange))


def _sign(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _request(session: _Session) -> tuple[int, bytes]:
    """Return the kind and the content of the server's next authentication request."""
    kind, body = session.receive()
    if kind != b"R" or len(body) < NUMBER.size:
        raise ValueError("who answers is no PostgreSQL")
    return NUMBER.unpack_from(body)[0], body[NUMBER.size :]


def _expect(session: _Session, wanted: int) -> bytes:
    kind, content = _request(session)
    if kind != wanted:
        raise ValueError("the server does not follow the login's order")
    return content
