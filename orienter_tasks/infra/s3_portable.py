"""The objects of the bucket, with content types and metadata, as the S3 API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.backends.clients import sessions
from orienter_tasks.errors import CheckError
from orienter_tasks.settings.catalog import MINIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orienter_tasks.backends.clients.sessions import ObjectFacts, StoreSession
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.archive import Member, Writer
    from orienter_tasks.data.manifest import Part

NAME = MINIO.name
FACTS = ".json"
LONGEST = 2**16


class StoragePortable:
    """The bucket of the instance. A member with an object's key and metadata is followed by its content."""

    left_out = "other buckets, policies, earlier versions of objects"

    def server(self, config: InstanceConfig) -> str:
        del config
        return "S3"

    def facts(self, config: InstanceConfig) -> dict[str, str]:
        del config
        return {}

    def save(self, config: InstanceConfig, archive: Writer) -> None:
        with sessions.store(config, patient=True) as session:
            for number, key in enumerate(session.each_object()):
                with session.reading(key) as found:
                    if found is not None:  # else it was deleted meanwhile
                        facts, blocks = found
                        archive.add(f"{NAME}/{number}{FACTS}", [msgspec.json.encode(facts)])
                        archive.add(f"{NAME}/{number}", blocks)

    def load(self, config: InstanceConfig, part: Part, members: Iterable[Member]) -> None:
        del part
        facts: ObjectFacts | None = None
        with sessions.store(config, patient=True) as session:
            for member in members:
                if member.name.endswith(FACTS):
                    facts = _facts(member)
                elif facts is None:
                    raise CheckError(f"the export is damaged: it does not say what {member.name} is")
                else:
                    _write(session, facts, member)
                    facts = None


def _write(session: StoreSession, facts: ObjectFacts, member: Member) -> None:
    try:
        session.write(facts, member.size, member.blocks())
    except ValueError as error:  # the client refuses the key or the metadata
        raise CheckError(f"the store cannot have object {facts.key!r}: {error}") from error


def _facts(member: Member) -> ObjectFacts:
    if member.size > LONGEST:
        raise CheckError(f"the export is damaged: {member.name} is too long")
    try:
        return msgspec.json.decode(b"".join(member.blocks()), type=sessions.ObjectFacts)
    except msgspec.DecodeError as error:
        raise CheckError(f"the export is damaged: {member.name}: {error}") from error
