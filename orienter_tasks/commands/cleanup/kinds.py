"""All kinds of resources that a clean-up knows; a new one is one object more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.engine import CONTAINER, NETWORK
from orienter_tasks.commands.cleanup.execute import one_by_one
from orienter_tasks.commands.cleanup.files import DIRECTORY, LOG, RECORD
from orienter_tasks.commands.cleanup.model import THOROUGH, Kind, Resource
from orienter_tasks.commands.cleanup.processes import PROCESS
from orienter_tasks.commands.cleanup.snapshots import SNAPSHOT
from orienter_tasks.commands.cleanup.volumes import VOLUME
from orienter_tasks.identity import volumes
from orienter_tasks.identity.claims import of_claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.commands.cleanup.execute import Removal
    from orienter_tasks.commands.cleanup.snapshot import Reading


def _find_claims(reading: Reading) -> Iterator[Resource]:
    for claim in (holder.claim for holder in reading.holders if not holder.parked):
        yield Resource(CLAIM, f"id {claim.id}", claim.token, claim.project, claim.id, claim.root)


def _release(removal: Removal, resource: Resource) -> None:
    with removal.view.claims.changing() as book:
        released = [claim for claim in book if (claim.token, claim.root) == (resource.key, resource.root)]
        book[:] = [claim for claim in book if claim not in released]
    for claim in released:
        volumes.forget_engine(of_claim(claim))


CLAIM = Kind(
    name="claim",
    order=80,
    scopes=THOROUGH,
    mentioned=("orphans", "daily"),
    find=_find_claims,
    remove=one_by_one(_release),
    last=True,
    verbs=("releases", "released"),
)
KINDS = (PROCESS, CONTAINER, NETWORK, VOLUME, RECORD, LOG, DIRECTORY, SNAPSHOT, CLAIM)
