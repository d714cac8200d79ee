"""Snapshots: of each checkout's automatic ones, the newest three stay. All others go only where the user says so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.execute import one_by_one
from orienter_tasks.commands.cleanup.model import NAMED, Kind, Resource, Scope, Snapshot, Verdict
from orienter_tasks.data import store
from orienter_tasks.data.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.commands.cleanup.snapshot import Reading

KEPT = 3


def _find(reading: Reading) -> Iterator[Resource]:
    """Give all snapshots to a clean-up of a name, else the automatic ones older than the newest of their checkout."""
    found = [(name, made) for name, made in store.listed(reading.view.project).items() if isinstance(made, Manifest)]
    newer = Counter[str]()
    for name, made in sorted(found, key=lambda each: each[1].created_at, reverse=True):
        newer[made.token] += made.automatic
        if reading.scope.named or (made.automatic and newer[made.token] > KEPT):
            yield Resource(
                SNAPSHOT, name, name, reading.view.project, made.instance, made.root, token=made.token, size=made.size
            )


def _judged(scope: Scope, snapshot: Snapshot, resource: Resource) -> Verdict:
    del snapshot, resource
    if scope.named:
        return Verdict(goes=False, reason="add --snapshots to remove snapshots too; a single one: inv data.rm NAME")
    return Verdict(goes=True, reason=f"there are {KEPT} newer automatic ones of its checkout")


SNAPSHOT = Kind(
    name="snapshot",
    order=75,
    scopes=("weekly", *NAMED),
    find=_find,
    remove=one_by_one(lambda _, resource: store.discard(resource.project, resource.key)),
    unneeded=_judged,
    outlives=True,
    holds_claim=lambda _: False,
)
