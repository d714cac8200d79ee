"""Plans carried out, on an engine in memory and on the real one, with strangers beside."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands.cleanup.execute import ExecutionOptions, carry_out
from orienter_tasks.commands.cleanup.model import Scope
from orienter_tasks.commands.cleanup.plan import CleanupPlan, make
from orienter_tasks.commands.cleanup.snapshot import read
from orienter_tasks.errors import BackendError, ConflictError
from orienter_tasks.machine.state import locked
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.engines import MemoryEngine, labels
from tests.commands.cleanup.worlds import snapshot, view_of

if TYPE_CHECKING:
    from orienter_tasks.commands.cleanup.execute import Outcome
    from orienter_tasks.commands.cleanup.model import Snapshot
    from orienter_tasks.identity.claims import Claim, Claims
    from tests.commands.cleanup.engines import EngineLab, MemoryLab
    from tests.commands.cleanup.worlds import World

OPTIONS = ExecutionOptions(grace=0.2, lock_seconds=0.2, on_wait=lambda _: None)


class Cleaner:
    """Looks, plans and acts, one after the other."""

    def __init__(self, world: World, claims: Claims, lab: EngineLab) -> None:
        world.save(claims)
        self.view = view_of(world, claims, lab.engine)

    def look(self, scope: Scope) -> tuple[CleanupPlan, Snapshot]:
        reality = read(self.view, scope)
        return make(scope, reality), reality

    def act(self, plan: CleanupPlan, reality: Snapshot) -> Outcome:
        return carry_out(plan, reality, self.view, OPTIONS)

    def clean(self, scope: Scope) -> Outcome:
        return self.act(*self.look(scope))


def stack(lab: EngineLab, claim: Claim, *, running: bool = True) -> None:
    """Make what an instance has on an engine."""
    own, number = labels(claim.project, claim.id, claim.root, "postgres"), claim.id
    lab.volume(f"{claim.project}-postgres-data-{number}", own)
    lab.network(f"{claim.project}-network-{number}", labels(claim.project, number, claim.root))
    lab.container(
        f"{claim.project}-postgres-{number}",
        own,
        volume=f"{claim.project}-postgres-data-{number}",
        network=f"{claim.project}-network-{number}",
        running=running,
    )


def ours(lab: EngineLab, number: int | str) -> list[str]:
    """Return which parts of an instance's stack are there."""
    names = {
        "container": f"{PROJECT}-postgres-{number}",
        "network": f"{PROJECT}-network-{number}",
        "volume": f"{PROJECT}-postgres-data-{number}",
    }
    return [kind for kind, name in names.items() if name in lab.there(kind)]


ALL = ["container", "network", "volume"]


def everything(lab: EngineLab) -> dict[str, set[str]]:
    """Return what is there by kind, but for what tests in other processes have."""
    return {kind: {name for name in lab.there(kind) if f"{PROJECT}-" in name} for kind in ALL}


def test_daily_then_weekly_beside_look_alikes(world: World, claims: Claims, lab: EngineLab) -> None:
    gone = world.checkout(1, "removed", backend="docker")
    here = world.checkout(2, "here", backend="docker")
    locked_tree = world.checkout(3, "locked", backend="docker")
    for claim in (gone, here, locked_tree):
        stack(lab, claim)
    for name, own in {
        f"{PROJECT}-postgres-11": {},
        f"my-{PROJECT}-postgres-1": labels(f"{PROJECT}-2", 1, gone.root),
        f"{PROJECT}-postgres-1-old": labels(PROJECT, 1, f"{gone.root}/sub"),
    }.items():
        lab.container(name, own)
        lab.volume(f"{name}-data", own)
        lab.network(f"{name}-net", own)
    cleaner = Cleaner(world, claims, lab)
    before = everything(lab)

    plan, reality = cleaner.look(Scope("daily"))
    assert everything(lab) == before
    outcome = cleaner.act(plan, reality)
    assert not outcome.failed
    assert not outcome.skipped
    assert ours(lab, 1) == ["volume"]

    outcome = cleaner.clean(Scope("weekly"))
    assert not outcome.failed
    assert not outcome.skipped
    after = everything(lab)
    assert {kind: before[kind] - after[kind] for kind in ALL} == {
        "container": {f"{PROJECT}-postgres-1"},
        "network": {f"{PROJECT}-network-1"},
        "volume": {f"{PROJECT}-postgres-data-1"},
    }
    assert [claim.id for claim in claims.read()] == [2, 3]


def test_a_running_instance_that_is_named(world: World, claims: Claims, lab: EngineLab) -> None:
    for number in (1, 11):
        stack(lab, world.checkout(number, "here", backend="docker"))
    cleaner = Cleaner(world, claims, lab)
    plan, reality = cleaner.look(Scope("instance", 1))
    assert any("is running" in note for note in plan.notes)
    outcome = cleaner.act(plan, reality)
    assert not outcome.failed
    assert ours(lab, 1) == []
    assert ours(lab, 11) == ALL
    assert [claim.id for claim in claims.read()] == [11]
    root = world.places[1]
    assert sorted(path.name for path in root.iterdir()) == [".dev-data", ".dev-pids", ".git", "README", "logs"]
    assert list(root.rglob("instance-1*")) == []


def test_a_volume_in_use_stays_and_keeps_the_claim(world: World, claims: Claims, lab: EngineLab) -> None:
    claim = world.checkout(1, "removed", backend="docker")
    stack(lab, claim)
    volume = f"{PROJECT}-postgres-data-1"
    lab.container(f"{PROJECT}-debugging", {}, volume=volume)
    outcome = Cleaner(world, claims, lab).clean(Scope("weekly"))
    [(resource, error)] = outcome.failed
    assert (resource.kind.name, resource.name) == ("volume", volume)
    assert f"in use by {PROJECT}-debugging" in str(error)
    assert [resource.kind.name for resource, _ in outcome.skipped] == ["claim"]
    assert ours(lab, 1) == ["volume"]
    assert f"{PROJECT}-debugging" in lab.there("container")
    assert [claim.id for claim in claims.read()] == [1]


def test_a_network_in_use_by_a_stranger_stays(world: World, claims: Claims, lab: EngineLab) -> None:
    stack(lab, world.checkout(1, "removed", backend="docker"))
    lab.container(f"{PROJECT}-debugging", {}, network=f"{PROJECT}-network-1")
    outcome = Cleaner(world, claims, lab).clean(Scope("daily"))
    [(resource, error)] = outcome.failed
    assert resource.kind.name == "network"
    assert f"in use by {PROJECT}-debugging" in str(error)
    assert ours(lab, 1) == ["network", "volume"]


def test_weekly_removes_an_unused_network_of_a_live_checkout(world: World, claims: Claims, lab: EngineLab) -> None:
    for number in (1, 2):
        claim = world.checkout(number, "here", backend="docker")
        lab.network(f"{PROJECT}-network-{number}", labels(PROJECT, number, claim.root))
    lab.container(f"{PROJECT}-debugging", {}, network=f"{PROJECT}-network-2")
    cleaner = Cleaner(world, claims, lab)
    cleaner.clean(Scope("daily"))
    assert (ours(lab, 1), ours(lab, 2)) == (["network"], ["network"])
    outcome = cleaner.clean(Scope("weekly"))
    assert (ours(lab, 1), ours(lab, 2)) == ([], ["network"])
    assert [resource.name for resource, _ in outcome.failed] == [f"{PROJECT}-network-2"]


def test_what_another_has_made_under_the_same_name_since_is_left_alone(
    world: World, claims: Claims, lab: EngineLab
) -> None:
    claim = world.checkout(1, "removed", backend="docker")
    volume = f"{PROJECT}-postgres-data-1"
    lab.volume(volume, labels(PROJECT, 1, claim.root, "postgres"))
    cleaner = Cleaner(world, claims, lab)
    plan, reality = cleaner.look(Scope("weekly"))
    lab.engine.api.remove_volume(volume)
    lab.volume(volume, {})
    outcome = cleaner.act(plan, reality)
    assert ("volume", "another has taken its name") in [(resource.kind.name, why) for resource, why in outcome.skipped]
    assert volume in lab.there("volume")


def test_what_is_gone_already_is_no_trouble(world: World, claims: Claims, lab: EngineLab) -> None:
    stack(lab, world.checkout(1, "removed", backend="docker"))
    cleaner = Cleaner(world, claims, lab)
    plan, reality = cleaner.look(Scope("weekly"))
    assert not cleaner.act(plan, reality).failed
    again = cleaner.act(plan, reality)
    assert not again.failed
    assert cleaner.look(Scope("weekly"))[0].goes == []


@pytest.mark.parametrize("calls", range(5))
def test_an_engine_that_goes_away_in_the_middle(world: World, claims: Claims, memory: MemoryLab, calls: int) -> None:
    """Stop, remove the container, the network, the volume: after any of them the next run does the rest."""
    stack(memory, world.checkout(1, "removed", backend="docker"))
    cleaner = Cleaner(world, claims, memory)
    memory.memory.dies_after = calls
    outcome = cleaner.clean(Scope("weekly"))
    assert all(isinstance(error, BackendError) for _, error in outcome.failed)
    assert bool(outcome.failed) is (calls < 4)
    assert bool(claims.read()) is (calls < 4)
    memory.memory.dies_after, memory.memory.dead = None, False
    assert not cleaner.clean(Scope("weekly")).failed
    assert ours(memory, 1) == []
    assert claims.read() == []


def test_an_engine_that_is_down(world: World, claims: Claims, memory: MemoryLab) -> None:
    gone = world.checkout(1, "husk", backend="docker")
    stack(memory, gone)
    world.checkout(2, "removed", backend="embedded")
    assert isinstance(memory.engine, MemoryEngine)
    memory.engine.silent = "Connection refused"
    cleaner = Cleaner(world, claims, memory)
    plan, reality = cleaner.look(Scope("weekly"))
    assert plan.blind
    assert "Connection refused" in plan.unseen[0]
    assert not cleaner.act(plan, reality).failed
    assert ours(memory, 1) == ALL
    assert [claim.id for claim in claims.read()] == [1]
    assert (Path(gone.root) / ".dev-data" / "instance-1" / "claim").exists()


def test_containers_keep_their_nameless_volumes_where_no_data_is_to_go(
    world: World, claims: Claims, memory: MemoryLab
) -> None:
    for number in (1, 2):
        stack(memory, world.checkout(number, "removed", backend="docker"))
    cleaner = Cleaner(world, claims, memory)
    cleaner.clean(Scope("daily"))
    assert {call.split("v=")[1] for call in memory.memory.calls if "container" in call} == {"False force=True"}
    memory.memory.calls.clear()
    stack_again = world.claims[0]
    memory.container("again", labels(PROJECT, 1, stack_again.root, "minio"))
    cleaner.clean(Scope("weekly"))
    assert [call.split("v=")[1] for call in memory.memory.calls if "container" in call] == ["True force=True"]


def test_a_checkout_that_comes_back_between_look_and_act(world: World, claims: Claims, memory: MemoryLab) -> None:
    claim = world.checkout(1, "deleted", backend="docker")
    stack(memory, claim)
    cleaner = Cleaner(world, claims, memory)
    plan, reality = cleaner.look(Scope("weekly"))
    Path(claim.root).mkdir()
    (Path(claim.root) / ".git").write_text(f"gitdir: {claim.git_dir}\n")
    outcome = cleaner.act(plan, reality)
    assert memory.memory.calls == []
    assert {reason for _, reason in outcome.skipped} == {"its checkout exists"}
    assert len(outcome.skipped) == len(plan.goes)
    assert claims.read() == [claim]


def test_a_claim_that_is_another_by_now(world: World, claims: Claims, memory: MemoryLab) -> None:
    claim = world.checkout(1, "here", backend="docker")
    stack(memory, claim)
    cleaner = Cleaner(world, claims, memory)
    plan, reality = cleaner.look(Scope("instance", 1))
    claims.update(claim.token, root=str(world.main))
    outcome = cleaner.act(plan, reality)
    assert memory.memory.calls == []
    assert {reason for _, reason in outcome.skipped} == {"its claim has changed"}


def test_an_instance_that_somebody_is_at_work_on(world: World, claims: Claims, memory: MemoryLab) -> None:
    for number in (1, 2):
        stack(memory, world.checkout(number, "removed", backend="docker"))
    cleaner = Cleaner(world, claims, memory)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(f"{PROJECT}-1", timeout=1.0):
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        outcome = cleaner.clean(Scope("weekly"))
        assert {(resource.instance, type(error)) for resource, error in outcome.failed} == {(1, ConflictError)}
        assert (ours(memory, 1), ours(memory, 2)) == (ALL, [])
        with pytest.raises(ConflictError, match=f"{PROJECT}-1"):
            cleaner.clean(Scope("instance", 1))
    finally:
        done.set()
        thread.join()
    assert ours(memory, 1) == ALL


def test_embedded_data_that_a_gone_checkout_left(world: World, claims: Claims, memory: MemoryLab) -> None:
    """The directory came back because a server still wrote into it; git knows that its checkout is gone."""
    claim = world.checkout(1, "husk", backend="embedded")
    cleaner = Cleaner(world, claims, memory)
    data = Path(claim.root) / ".dev-data" / "instance-1"
    assert not cleaner.clean(Scope("daily")).gone
    assert data.exists()
    outcome = cleaner.clean(Scope("weekly"))
    assert not outcome.failed
    assert not data.exists()
    assert claims.read() == []


def test_a_moved_checkout_that_is_named_goes_with_its_files(world: World, claims: Claims, memory: MemoryLab) -> None:
    claim = world.checkout(1, "moved", backend="docker")
    stack(memory, claim)
    cleaner = Cleaner(world, claims, memory)
    assert cleaner.clean(Scope("weekly")).gone == []
    plan, reality = cleaner.look(Scope("instance", 1))
    assert any("was moved to" in note for note in plan.notes)
    assert not cleaner.act(plan, reality).failed
    place = world.places[1]
    assert list(place.rglob("instance-1")) == []
    assert (place / "README").exists()
    assert ours(memory, 1) == []


def test_something_that_cannot_be_removed_is_reported(
    world: World, claims: Claims, memory: MemoryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.checkout(1, "here", backend="embedded")

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "rmdir", refuse)
    outcome = Cleaner(world, claims, memory).clean(Scope("instance", 1))
    assert {resource.kind.name for resource, _ in outcome.failed} == {"directory"}
    assert [resource.kind.name for resource, _ in outcome.skipped if resource.kind.name == "claim"] == ["claim"]
    assert len(claims.read()) == 1


@pytest.mark.parametrize("scope", [Scope("logs"), Scope("weekly"), Scope("instance", 1)])
def test_files_are_not_reached_through_a_link_above_the_checkout(
    world: World, claims: Claims, memory: MemoryLab, scope: Scope
) -> None:
    root = Path(world.checkout(1, "here").root)
    root.parent.rename(root.parent.with_name("elsewhere"))
    root.parent.symlink_to(root.parent.with_name("elsewhere"))
    before = snapshot(root.parent.with_name("elsewhere"))
    assert Cleaner(world, claims, memory).clean(scope).gone == []
    assert len(claims.read()) == 1
    assert snapshot(root.parent.with_name("elsewhere")) == before
