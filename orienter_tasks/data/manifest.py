"""What a copy of an instance's data says of itself: a snapshot's `manifest.json`, and the first member of an export."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from orienter_tasks.errors import CheckError, ConfigError
from orienter_tasks.instance.backends import read as read_backends

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.instance.backends import Backends

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Way = Literal["physical", "portable"]


class Content(NamedTuple):
    """What a part of a copy consists of: bytes, files, and the SHA-256 of its list of checksums."""

    size: int
    files: int
    digest: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The data of one component.

    Attributes:
        component: its name, also that of its directory or file in the copy.
        server: what can read it, such as `PostgreSQL 16`.
        image: the id of its server's image; "" if it had none.
        facts: what the component must know to put it back, such as the database's name.
        size: bytes.
        files: how many files or objects.
        digest: SHA-256 of its list of checksums, which lies beside it (`COMPONENT.sha256`).
    """

    component: str
    server: str
    image: str = ""
    facts: dict[str, str] = {}
    size: int
    files: int
    digest: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.component):
            raise ValueError(f"not a component: {self.component!r}")

    @classmethod
    def of(cls, component: str, server: str, content: Content, facts: Mapping[str, str] | None = None) -> Part:
        size, files, digest = content
        return cls(component=component, server=server, facts={**(facts or {})}, size=size, files=files, digest=digest)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Where a copy came from, and what it contains.

    Attributes:
        instance: the id that its source had.
        backend: the text of `backends`.
        root: its source's checkout; likewise `branch` and `commit`, "" where git has none, and `token`.
        created_at: seconds since the epoch.
        automatic: made by a command that replaced this data.
        left_out: what is not in the copy, in words.
    """

    project: str
    instance: int
    root: str
    branch: str
    commit: str
    backend: str
    token: str
    way: Way
    created_at: float
    automatic: bool = False
    left_out: tuple[str, ...] = ()
    parts: tuple[Part, ...]
    schema_version: int = MANIFEST_VERSION

    @property
    def backends(self) -> Backends:
        """Which backend each component had."""
        return read_backends(self.backend)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def by_component(self) -> Mapping[str, Part]:
        return {part.component: part for part in self.parts}


class _Version(msgspec.Struct):
    schema_version: int


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest))


def decode(content: bytes, what: str) -> Manifest:
    """Read the manifest of `what`, such as `snapshot before-migration`.

    Raises:
        ConfigError: a newer version of this program wrote it.
        CheckError: it is damaged.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version > MANIFEST_VERSION:
            raise ConfigError(
                f"{what} has schema version {version}, this program knows {MANIFEST_VERSION}",
                hint="update orienter-tasks",
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckError(f"{what} is damaged: {error}") from error
