"""The plan: what goes and what stays, for each clean-up, from one reading of reality."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from msgspec.structs import replace

from orienter_tasks.commands import cleanup
from orienter_tasks.commands.cleanup.kinds import KINDS
from orienter_tasks.commands.cleanup.model import Holder, Kind, Resource, Root, Scope, Snapshot, of_instance
from orienter_tasks.commands.cleanup.plan import CleanupPlan, make
from orienter_tasks.commands.cleanup.render import as_text
from orienter_tasks.errors import ConfigError
from orienter_tasks.identity.checkouts import Checkout, CheckoutState
from orienter_tasks.identity.claims import Claim

NAMED = {kind.name: kind for kind in KINDS}
NOW = 1_000_000_000.0
WHY = {state: state.value for state in CheckoutState} | {CheckoutState.HERE: "its checkout exists"}


def claim(number: int, **changes: object) -> Claim:
    made = Claim(
        token=f"token-{number}",
        project="orienter",
        id=number,
        root=f"/trees/{number}",
        worktree=f"tree-{number}",
        main_root="/main",
        git_dir=f"/main/.git/worktrees/{number}",
        device=1,
        ports={},
        placed="docker",
    )
    return replace(made, **changes)


def resource(kind: str, number: int, root: str = "", **facts: Any) -> Resource:
    name, root = f"{kind}-{number}", root or f"/trees/{number}"
    return Resource(NAMED[kind], name, f"{kind}:{number}", "orienter", number, root, **facts)


def everything(number: int) -> list[Resource]:
    return [
        resource("process", number, running=True),
        resource("container", number, running=True),
        resource("network", number),
        resource("volume", number),
        resource("directory", number, component="data"),
        resource("directory", number, component="logs"),
    ]


def reality(*holders: tuple[Claim, CheckoutState], resources: list[Resource], **facts: object) -> Snapshot:
    return Snapshot(
        project="orienter",
        holders=[Holder(one, Checkout(state, WHY[state])) for one, state in holders],
        resources=[*resources, *(resource("claim", one.id, one.root) for one, _ in holders)],
        taken_at=NOW,
        **facts,  # type: ignore[arg-type]
    )


def going(plan: CleanupPlan) -> list[str]:
    return [f"{d.resource.kind} {d.resource.instance}" for d in plan.goes]


ALL, DAILY, WEEKLY = {"orphans", "daily", "weekly"}, {"daily", "weekly"}, {"weekly"}
GOES: dict[str, tuple[set[str], set[str]]] = {
    # of a checkout that is gone, and of an existing checkout
    "process": (ALL, set()),
    "container": (ALL, set()),
    "network": (ALL, WEEKLY),
    "volume": (WEEKLY, set()),
    "record": (DAILY, DAILY),
    "log": ({"logs", "weekly"}, {"logs", "weekly"}),
    "directory": (WEEKLY, set()),
    "claim": (WEEKLY, set()),
}
"""The clean-ups that take a kind, where nothing else is there; those of a name take all."""
OUTLIVES = {"snapshot": ({"weekly"}, {"weekly", "instance", "all"})}
"""Likewise of what outlives its checkout: without and with `--snapshots`."""


@pytest.mark.parametrize("state", CheckoutState)
@pytest.mark.parametrize("name", ["orphans", "logs", "daily", "weekly", "instance", "all"])
@pytest.mark.parametrize("kind", GOES)
def test_what_goes_by_kind_and_checkout(kind: str, name: str, state: CheckoutState) -> None:
    gone, here = GOES[kind]
    takes = {CheckoutState.GONE: gone, CheckoutState.HERE: here}.get(state, set())
    old = resource(kind, 1, component="data", written_at=NOW - 8 * 86400)
    found = replace(reality((claim(1), state), resources=[]), resources=[old])
    plan = make(Scope(name, 1 if name == "instance" else None), found)  # type: ignore[arg-type]
    assert [decision.goes for decision in plan.decisions] == [name in (*takes, "instance", "all")]
    assert plan.decisions[0].reason


@pytest.mark.parametrize("state", [None, *CheckoutState])
@pytest.mark.parametrize("name", ["weekly", "instance", "all"])
def test_what_outlives_its_checkout_goes_where_it_is_named(name: str, state: CheckoutState | None) -> None:
    """None: no claim names the checkout any more."""
    holders = [] if state is None else [(claim(1), state)]
    for kind, takes in OUTLIVES.items():
        for named in (False, True) if name != "weekly" else (False,):
            scope = Scope(name, 1 if name == "instance" else None, snapshots=named)  # type: ignore[arg-type]
            found = reality(*holders, resources=[resource(kind, 1)], unclaimed={"/trees/1": Root(exists=False)})
            plan = make(scope, found)
            assert (f"{kind} 1" in going(plan)) is (name in takes[named])
            assert all(decision.reason for decision in plan.decisions)
            claims = [each for each in plan.decisions if each.resource.kind.name == "claim"]
            assert all(each.goes for each in claims if scope.named)


def test_every_kind_is_in_that_table() -> None:
    names = [f"{cleanup.__name__}.{each.name}" for each in pkgutil.iter_modules(cleanup.__path__)]
    written = [each for name in names for each in vars(importlib.import_module(name)).values()]
    assert {each.name for each in written if isinstance(each, Kind)} == {*GOES, *OUTLIVES}
    ordered = sorted(KINDS, key=lambda kind: kind.order)
    assert list(GOES) == [kind.name for kind in ordered if not kind.outlives]
    assert list(OUTLIVES) == [kind.name for kind in ordered if kind.outlives]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("orphans", ["process", "container", "network"]),
        ("daily", ["process", "container", "network"]),
        ("weekly", ["process", "container", "network", "volume", "directory", "directory", "claim"]),
        ("logs", []),
    ],
)
def test_of_a_gone_checkout(name: str, kinds: list[str]) -> None:
    seen = reality(
        (claim(1), CheckoutState.GONE), (claim(2), CheckoutState.HERE), resources=[*everything(1), *everything(2)]
    )
    plan = make(Scope(name), seen)  # type: ignore[arg-type]
    assert going(plan) == [f"{kind} 1" for kind in kinds]
    stays = {(d.resource.kind.name, d.resource.instance) for d in plan.stays}
    assert stays >= {(one.kind.name, 2) for one in everything(2) if one.kind.name != "directory" or name != "logs"}
    assert all(decision.reason for decision in plan.decisions)


@pytest.mark.parametrize(
    "state",
    [CheckoutState.HERE, CheckoutState.MOVED, CheckoutState.UNMOUNTED, CheckoutState.LOCKED, CheckoutState.UNCERTAIN],
)
@pytest.mark.parametrize("name", ["orphans", "daily", "weekly", "logs"])
def test_everything_of_any_other_checkout_stays(name: str, state: CheckoutState) -> None:
    resources = [*everything(1), resource("volume", 1, root="/old")]
    plan = make(Scope(name), reality((claim(1, former_roots=("/old",)), state), resources=resources))  # type: ignore[arg-type]
    assert going(plan) == []
    assert all(d.reason.startswith(WHY[state]) for d in plan.stays)
    assert len({d.reason for d in plan.stays}) == 1


def test_what_is_named_goes_whatever_became_of_its_checkout() -> None:
    for state in CheckoutState:
        seen = reality((claim(1), state), (claim(2), CheckoutState.GONE), resources=[*everything(1), *everything(2)])
        plan = make(Scope("instance", 1), seen)
        assert {d.resource.instance for d in plan.decisions} == {1}
        assert plan.stays == []
        assert [d.resource.kind.name for d in plan.goes][-1] == "claim"
        assert any("running" in note for note in plan.notes)


def test_a_main_checkout_that_is_named_is_said_to_be_one() -> None:
    seen = reality((claim(0, main_root="/trees/0"), CheckoutState.HERE), resources=everything(0))
    assert any("main checkout: /trees/0" in note for note in make(Scope("instance", 0), seen).notes)


def test_what_cannot_be_seen_keeps_claim_and_directories() -> None:
    hidden = ("docker",)
    seen = reality(
        (claim(1), CheckoutState.GONE), resources=everything(1)[4:], hidden=("docker",), unseen=["no engine"]
    )
    plan = make(Scope("weekly"), seen)
    assert going(plan) == []
    assert plan.blind
    embedded = reality((claim(1, placed="embedded"), CheckoutState.GONE), resources=everything(1)[4:], hidden=hidden)
    assert going(make(Scope("weekly"), embedded)) == ["directory 1", "directory 1", "claim 1"]
    live = reality((claim(1), CheckoutState.HERE), resources=[], hidden=hidden)
    assert not make(Scope("weekly"), live).blind


def test_a_claim_outlives_what_stays_of_it() -> None:
    resources = [*everything(1), resource("process", 1, blocker="this very command was started by it")]
    plan = make(Scope("instance", 1), reality((claim(1), CheckoutState.HERE), resources=resources))
    assert {d.resource.kind.name for d in plan.stays} == {"process", "directory", "claim"}


def test_a_linked_log_directory_does_not_keep_the_claim_but_linked_data_does() -> None:
    for component, kept in (("logs", False), ("data", True)):
        resources = [resource("directory", 1, component=component, blocker="linked")]
        plan = make(Scope("instance", 1), reality((claim(1), CheckoutState.HERE), resources=resources))
        assert ("claim 1" in going(plan)) is not kept


@pytest.mark.parametrize(
    ("days", "goes"), [(6.9, False), (7.0, False), (7.1, True), (-1, False)], ids=["6.9", "7", "7.1", "future"]
)
def test_logs_go_after_seven_days(days: float, *, goes: bool) -> None:
    log = resource("log", 1, written_at=NOW - days * 86400, size=10)
    for name in ("logs", "weekly"):
        plan = make(Scope(name), reality((claim(1), CheckoutState.HERE), resources=[log]))
        assert ("log 1" in going(plan)) is goes
    assert going(make(Scope("daily"), reality((claim(1), CheckoutState.HERE), resources=[log]))) == []


def test_dead_records_stay_while_anything_of_their_instance_runs() -> None:
    record = resource("record", 1)
    seen = reality((claim(1), CheckoutState.HERE), resources=[record])
    assert going(make(Scope("daily"), seen)) == ["record 1"]
    assert going(make(Scope("orphans"), seen)) == []
    for kind in ("process", "container"):
        other = resource(kind, 1, running=True)
        assert going(make(Scope("daily"), reality((claim(1), CheckoutState.HERE), resources=[record, other]))) == []


def test_an_unused_network_of_an_existing_checkout_is_weeklys() -> None:
    seen = reality((claim(1), CheckoutState.HERE), resources=[resource("network", 1)])
    assert going(make(Scope("weekly"), seen)) == ["network 1"]
    assert going(make(Scope("daily"), seen)) == []
    stopped = reality((claim(1), CheckoutState.HERE), resources=[resource("network", 1), resource("container", 1)])
    assert going(make(Scope("weekly"), stopped)) == []


class TestWithoutAClaim:
    """Things of this project that no claim of this user names."""

    def plan(self, scope: Scope, root: Root, *, held: bool = False) -> CleanupPlan:
        resources = [resource("volume", 3, root="/other")]
        holders = [(claim(3), CheckoutState.HERE)] if held else []
        return make(scope, reality(*holders, resources=resources, unclaimed={"/other": root}))

    @pytest.mark.parametrize("name", ["orphans", "daily", "weekly"])
    def test_nothing_is_confirmed(self, name: str) -> None:
        for exists in (True, False):
            assert going(self.plan(Scope(name), Root(exists))) == []  # type: ignore[arg-type]

    @pytest.mark.parametrize("held", [False, True])
    def test_what_is_named_goes_but_an_existing_checkout_is_not_meant_by_an_id(self, *, held: bool) -> None:
        claims = ["claim 3"] if held else []
        assert going(self.plan(Scope("all"), Root(exists=True), held=held)) == ["volume 3", *claims]
        assert going(self.plan(Scope("all"), Root(exists=False), held=held)) == ["volume 3", *claims]
        assert going(self.plan(Scope("instance", 3), Root(exists=False), held=held)) == ["volume 3", *claims]
        kept = self.plan(Scope("instance", 3), Root(exists=True), held=held)
        assert going(kept) == claims
        assert "/other" in kept.stays[0].reason

    def test_another_users_never_goes(self) -> None:
        for scope in (Scope("instance", 3), Scope("all"), Scope("weekly")):
            plan = self.plan(scope, Root(exists=False, blocker="it is another user's"))
            assert going(plan) == []
            assert plan.stays[0].reason == "it is another user's"


def test_a_claim_holds_what_is_of_its_project_id_and_roots() -> None:
    holder = Holder(claim(1, former_roots=("/old",)), Checkout(CheckoutState.GONE, "gone"))
    assert holder.holds(resource("volume", 1))
    assert holder.holds(resource("volume", 1, root="/old"))
    assert not holder.holds(resource("volume", 11, root="/trees/1"))
    assert not holder.holds(resource("volume", 1, root="/trees/1/sub"))
    assert not holder.holds(Resource(NAMED["volume"], "v", "v", "orienter-2", 1, "/trees/1"))


def test_another_projects_things_are_not_even_mentioned() -> None:
    seen = reality(resources=[Resource(NAMED["volume"], "v", "v", "orienter-2", 1, "/trees/1")])
    for scope in (Scope("all"), Scope("weekly"), Scope("instance", 1)):
        assert make(scope, seen).decisions == []


@pytest.mark.parametrize(
    "text", ["", "--help", "--yes", "-1", "1.0", "one", "57", "007", "100", "٣", " 3", "3\n", "all", "cleanup.all"]
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid instance id"):
        of_instance(text)


def test_what_is_an_id() -> None:
    assert [of_instance(text).instance for text in ("0", "7", "56")] == [0, 7, 56]


def test_what_people_read() -> None:
    resources = [*everything(1), resource("volume", 2), resource("volume", 3, root="/x/\x1b[2Jevil\n")]
    seen = reality(
        (claim(1), CheckoutState.GONE),
        (claim(2), CheckoutState.UNMOUNTED),
        resources=resources,
        unclaimed={resources[-1].root: Root(exists=False)},
    )
    text = as_text(make(Scope("weekly"), seen), seen.holders)
    assert "7 things go, 0 MB:" in text
    assert "  instance 1 (tree-1): gone\n    process    process-1\n    container  container-1\n" in text
    assert "instance 2 (tree-2): 1 volume, 1 claim: unmounted; if it is gone for good: inv cleanup.instance 2" in text
    assert "instance 3 (/x/?[2Jevil?): 1 volume: no claim says" in text
