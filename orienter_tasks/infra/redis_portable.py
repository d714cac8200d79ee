"""The keys of an instance as commands that write them, which every version from Redis 7 on understands.

Redis's own formats do not travel: an older server refuses those of a newer one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from orienter_tasks.backends.clients.redis import PATIENCE, RefusedError, redis
from orienter_tasks.errors import CheckError
from orienter_tasks.settings.catalog import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orienter_tasks.backends.clients.redis import Answer, RedisSession
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.archive import Member, Writer
    from orienter_tasks.data.manifest import Part

NAME = REDIS.name
KEYS = f"{NAME}/keys"
AT_ONCE = 500
LENGTH = 4
LONGEST = 2**30
Kind = Literal["string", "list", "set", "zset", "hash", "entry", "group", "last"]
Items = tuple[Kind, tuple[bytes, ...]]
WRITES: dict[Kind, tuple[str, ...]] = {
    "string": ("SET",),
    "list": ("RPUSH",),
    "set": ("SADD",),
    "zset": ("ZADD",),
    "hash": ("HSET",),
    "entry": ("XADD",),
    "group": ("XGROUP", "CREATE"),
    "last": ("XSETID",),
}
"""The command of each kind of entry; the key and the entry's items follow."""


class KeyEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key, or some of what is in it.

    Attributes:
        first: whether it begins the key, which another one may have been read before.
        items: as the command takes them.
        expires: when the key ends, in milliseconds since the epoch; -1 for never.
    """

    database: int
    key: bytes
    kind: Kind
    first: bool
    items: tuple[bytes, ...]
    expires: int = -1


class RedisPortable:
    """The keys of all databases of the instance's server: one member, of entries with their lengths before them."""

    left_out = "functions, when single fields of hashes expire, and pending entries of streams"

    def server(self, config: InstanceConfig) -> str:
        with redis(config) as session:
            return session.version()

    def facts(self, config: InstanceConfig) -> dict[str, str]:
        del config
        return {}

    def save(self, config: InstanceConfig, archive: Writer) -> None:
        with redis(config, PATIENCE) as session:
            archive.add(KEYS, _framed(entries(session)))

    def load(self, config: InstanceConfig, part: Part, members: Iterable[Member]) -> None:
        del part
        with redis(config, PATIENCE) as session:
            for member in members:
                for entry in _unframed(member):
                    write(session, entry)


def entries(session: RedisSession) -> Iterator[KeyEntry]:
    """Yield what is in all databases; a key that changes or goes meanwhile is as one of the moments has it."""
    for database in (int(name.removeprefix("db")) for name in session.info("keyspace")):
        session.ask("SELECT", database)
        for key in session.scan("SCAN"):
            with suppress(_GoneError):
                yield from _of_key(session, database, key)


def write(session: RedisSession, entry: KeyEntry) -> None:
    """Write an entry, which is not to be trusted: its command is one of `WRITES`."""
    session.ask("SELECT", entry.database)
    if entry.first:
        session.ask("DEL", entry.key)
    command, *further = WRITES[entry.kind]
    session.ask(command, *further, entry.key, *entry.items)
    if entry.expires >= 0:
        session.ask("PEXPIREAT", entry.key, entry.expires)


class _GoneError(Exception):
    """A key is gone, or is of another type, since its type was asked for."""


def _of_key(session: RedisSession, database: int, key: bytes) -> Iterator[KeyEntry]:
    kind = session.text("TYPE", key)
    if kind == "none":
        return
    expires, first = session.ask("PEXPIRETIME", key), True
    for each, items in _parts(session, kind, key):
        yield KeyEntry(database, key, each, first, items, expires if isinstance(expires, int) else -1)
        first = False


def _parts(session: RedisSession, kind: str, key: bytes) -> Iterator[Items]:
    if kind not in READS:
        raise CheckError(f"key {key!r} is a {kind}, of a module, which an export cannot have")
    try:
        yield from READS[kind](session, key)
    except RefusedError as error:
        if str(error).startswith(("WRONGTYPE", "ERR no such key")):
            raise _GoneError from error
        raise


def _string(session: RedisSession, key: bytes) -> Iterator[Items]:
    value = session.ask("GET", key)
    if isinstance(value, bytes):
        yield "string", (value,)


def _list(session: RedisSession, key: bytes) -> Iterator[Items]:
    yield from (("list", part) for part in _ranges(session, "LRANGE", key))


def _set(session: RedisSession, key: bytes) -> Iterator[Items]:
    yield from (("set", part) for part in _batches(session.scan("SSCAN", key)))


def _zset(session: RedisSession, key: bytes) -> Iterator[Items]:
    for part in _ranges(session, "ZRANGE", key, "WITHSCORES"):
        yield "zset", tuple(word for pair in _pairs(part) for word in reversed(pair))


def _hash(session: RedisSession, key: bytes) -> Iterator[Items]:
    yield from (("hash", part) for part in _batches(session.scan("HSCAN", key)))


def _stream(session: RedisSession, key: bytes) -> Iterator[Items]:
    after = b"-"
    while found := session.listed("XRANGE", key, after, "+", "COUNT", AT_ONCE):
        for entry in found:
            number, fields = _flat(entry)[0], _flat(_second(entry))
            yield "entry", (number, *fields)
            after = b"(" + number
    facts = session.listed("XINFO", "STREAM", key)
    known = {name: facts[at + 1] for at, name in enumerate(facts[:-1]) if isinstance(name, bytes) and at % 2 == 0}
    for group in session.listed("XINFO", "GROUPS", key):
        words = _flat(group, texts=False)
        named = dict(zip(words[::2], words[1::2], strict=False))
        yield "group", (named[b"name"], named[b"last-delivered-id"], b"MKSTREAM")
    last = known.get(b"last-generated-id")
    if isinstance(last, bytes) and (after != b"-" or known.get(b"groups")):
        yield "last", (last,)


READS: dict[str, Callable[[RedisSession, bytes], Iterator[Items]]] = {
    "string": _string,
    "list": _list,
    "set": _set,
    "zset": _zset,
    "hash": _hash,
    "stream": _stream,
}


def _second(entry: Answer) -> Answer:
    return entry[1] if isinstance(entry, list) and len(entry) > 1 else None


def _flat(answer: Answer, *, texts: bool = True) -> list[bytes]:
    """Return the texts of a list; numbers too, as texts, unless only texts are wanted."""
    items = answer if isinstance(answer, list) else []
    if texts:
        return [item for item in items if isinstance(item, bytes)]
    return [item if isinstance(item, bytes) else str(item).encode() for item in items]


def _ranges(session: RedisSession, command: str, key: bytes, *words: str) -> Iterator[tuple[bytes, ...]]:
    start = 0
    while found := _flat(session.listed(command, key, start, start + AT_ONCE - 1, *words)):
        yield tuple(found)
        start += AT_ONCE


def _batches(words: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    batch: list[bytes] = []
    for word in words:
        batch.append(word)
        if len(batch) == 2 * AT_ONCE:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _pairs(words: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    return zip(words[::2], words[1::2], strict=False)


def _framed(found: Iterable[KeyEntry]) -> Iterator[bytes]:
    for entry in found:
        encoded = msgspec.msgpack.encode(entry)
        yield len(encoded).to_bytes(LENGTH, "big") + encoded


def _unframed(member: Member) -> Iterator[KeyEntry]:
    """Yield the entries of a member; CheckError where it is none of ours."""
    blocks, left = member.blocks(), b""

    def take(size: int) -> bytes:
        nonlocal left
        while len(left) < size:
            block = next(blocks, b"")
            if not block:
                break
            left += block
        taken, left = left[:size], left[size:]
        return taken

    while head := take(LENGTH):
        size = int.from_bytes(head, "big")
        content = take(size) if len(head) == LENGTH and size <= LONGEST else b""
        try:
            yield msgspec.msgpack.decode(content, type=KeyEntry)
        except msgspec.DecodeError as error:
            raise CheckError(f"the export is damaged: {member.name}: {error}") from error
