"""A new kind of resource is one object: it is planned, shown, removed and in the JSON without another change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.commands.cleanup.execute import ExecutionOptions, carry_out, one_by_one
from orienter_tasks.commands.cleanup.model import Kind, Resource, Scope, Verdict
from orienter_tasks.commands.cleanup.plan import make
from orienter_tasks.commands.cleanup.render import as_document, as_notes, as_text
from orienter_tasks.commands.cleanup.snapshot import measure, read
from orienter_tasks.output.console import Report
from tests.commands.cleanup.worlds import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from orienter_tasks.commands.cleanup.snapshot import Reading
    from orienter_tasks.identity.claims import Claims
    from tests.commands.cleanup.engines import MemoryLab
    from tests.commands.cleanup.worlds import World


def find_caches(reading: Reading) -> Iterator[Resource]:
    for holder in reading.holders:
        claim = holder.claim
        for path in (reading.view.here.parent / "caches").glob(f"*-{claim.id}"):
            yield Resource(CACHE, path.name, str(path), claim.project, claim.id, claim.root)


CACHE = Kind(
    name="cache",
    order=45,
    scopes=("weekly", "instance", "all"),
    mentioned=("daily",),
    find=find_caches,
    remove=one_by_one(lambda _, resource: Path(resource.key).unlink()),
    unneeded=lambda _, __, resource: Verdict(resource.name.startswith("old"), "it is a cache"),
    sizes=lambda _, going: {resource.key: Path(resource.key).stat().st_size for resource in going},
    is_data=True,
    verbs=("drops", "dropped"),
)


def test_a_kind_of_a_tests_own(
    world: World, claims: Claims, memory: MemoryLab, capsys: pytest.CaptureFixture[str]
) -> None:
    world.checkout(1, "removed")
    world.checkout(2, "here")
    world.checkout(3, "locked")
    world.save(claims)
    caches = world.main.parent / "caches"
    caches.mkdir()
    for name in ("old-1", "new-1", "old-2", "new-2", "old-3"):
        (caches / name).write_text("x" * 1000)
    view = view_of(world, claims, memory.engine)
    view = replace(view, kinds=(*view.kinds, CACHE))

    daily = make(Scope("daily"), read(view, Scope("daily")))
    assert [decision.reason for decision in daily.stays if decision.resource.kind is CACHE][:2] == [
        "it is data: inv cleanup.weekly drops it"
    ] * 2
    snapshot = read(view, Scope("weekly"))
    plan = measure(make(Scope("weekly"), snapshot), view)
    assert [decision.resource.name for decision in plan.goes if decision.resource.kind is CACHE] == [
        *("new-1", "old-1", "old-2"),
    ]
    text = as_text(plan, snapshot.holders)
    assert "    cache      new-1  1 kB\n    cache      old-1  1 kB\n" in text
    assert "instance 2 (tree-2): 1 cache: it is a cache" in text

    outcome = carry_out(plan, snapshot, view, ExecutionOptions(0.1, 1.0, lambda _: None))
    assert not outcome.failed
    assert sorted(path.name for path in caches.iterdir()) == ["new-2", "old-3"]
    as_notes(Report(), outcome)
    assert "dropped cache old-2" in capsys.readouterr().err
    gone = [entry for entry in as_document(plan, outcome)["gone"] if entry["kind"] == "cache"]
    assert [(entry["name"], entry["instance"], entry["bytes"]) for entry in gone] == [
        *(("new-1", 1, 1000), ("old-1", 1, 1000), ("old-2", 2, 1000)),
    ]
    assert [claim.id for claim in claims.read()] == [2, 3]


def test_its_claim_waits_for_it(world: World, claims: Claims, memory: MemoryLab) -> None:
    world.checkout(1, "removed")
    world.save(claims)
    (world.main.parent / "caches").mkdir()
    (world.main.parent / "caches" / "old-1").write_text("x")
    view = view_of(world, claims, memory.engine)
    kind = replace(CACHE, find=lambda reading: (replace(one, blocker="stuck") for one in find_caches(reading)))
    snapshot = read(replace(view, kinds=(*view.kinds, kind)), Scope("weekly"))
    stays = {decision.resource.kind.name: decision.reason for decision in make(Scope("weekly"), snapshot).stays}
    assert stays == {"cache": "stuck", "claim": "something of it stays"}
