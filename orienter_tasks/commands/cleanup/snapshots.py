"""Automatic snapshots: of each checkout's, the newest three stay. Named ones always do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.execute import one_by_one
from orienter_tasks.commands.cleanup.model import Kind, Resource, Scope, Snapshot, Verdict
from orienter_tasks.data import store
from orienter_tasks.data.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.commands.cleanup.snapshot import Reading

KEPT = 3


def _find(reading: Reading) -> Iterator[Resource]:
    """Give the automatic snapshots that are older than the newest of their checkout."""
    found = [(name, made) for name, made in store.listed(reading.view.project).items() if isinstance(made, Manifest)]
    newer = Counter[str]()
    for name, made in sorted(found, key=lambda each: each[1].created_at, reverse=True):
        if made.automatic:
            newer[made.token] += 1
            if newer[made.token] > KEPT:
                facts = (made.project, made.instance, made.root)
                yield Resource(SNAPSHOT, name, name, *facts, token=made.token, size=made.size)


def _is_surplus(_: Scope, snapshot: Snapshot, resource: Resource) -> Verdict:
    del snapshot, resource
    return Verdict(goes=True, reason=f"there are {KEPT} newer automatic ones of its checkout")


SNAPSHOT = Kind(
    name="snapshot",
    order=75,
    scopes=("weekly",),
    find=_find,
    remove=one_by_one(lambda _, resource: store.discard(resource.project, resource.key)),
    unneeded=_is_surplus,
    holds_claim=lambda _: False,
)
