"""Random worlds: whatever goes is ours and permitted, and whatever must stay stays, byte for byte."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings, strategies as st

from orienter_tasks.commands.cleanup.execute import ExecutionOptions, carry_out
from orienter_tasks.commands.cleanup.model import Scope
from orienter_tasks.commands.cleanup.plan import make
from orienter_tasks.commands.cleanup.snapshot import read
from orienter_tasks.identity.claims import Claims
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.engines import MemoryLab, labels
from tests.commands.cleanup.worlds import FATES, GONE, HERE, World, snapshot, view_of
from tests.faults.lab import FULL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.identity.claims import Claim
    from tests.commands.cleanup.worlds import Fate

NAMED = ("instance", "all")
# thousands of directories come and go: on a disk that takes three times as long
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class Case:
    """One instance of a random world."""

    fate: Fate
    backend: str
    containers: Sequence[bool]
    volumes: int
    network: bool


CASES = st.builds(
    Case,
    fate=st.sampled_from(FATES),
    backend=st.sampled_from(["", "docker", "embedded"]),
    containers=st.lists(st.booleans(), max_size=3),
    volumes=st.integers(0, 2),
    network=st.booleans(),
)
SCOPES = st.one_of(
    st.sampled_from([Scope("daily"), Scope("weekly"), Scope("orphans"), Scope("logs"), Scope("all")]),
    st.integers(0, 5).map(lambda number: Scope("instance", number)),
)
# labels that come near ours, with what is wrong with them
STRANGERS: Mapping[str, Mapping[str, str]] = {
    "no labels": {},
    "a longer project": labels(f"{PROJECT}-2", 1, "/trees/tree-1"),
    "a shorter project": labels(PROJECT[:-1], 1, "/trees/tree-1"),
    "another case": labels(PROJECT.upper(), 1, "/trees/tree-1"),
    "no root": {"io.orienter.project": PROJECT, "io.orienter.instance": "1"},
    "no number": labels(PROJECT, "one", "/trees/tree-1"),
    "a negative number": labels(PROJECT, -1, "/trees/tree-1"),
    "another's namespace": {
        key.replace("io.orienter", "io.orienter2"): v for key, v in labels(PROJECT, 1, "/").items()
    },
    "compose's only": {"com.docker.compose.project": f"{PROJECT}-instance-1"},
}


def permitted(scope: Scope, kind: str, number: int, case: Case) -> bool:
    """Say in the design's words whether something of an instance goes."""
    if scope.name in NAMED:
        return scope.instance in (None, number)
    if case.fate in GONE:
        allowed = {"orphans": ("container", "network"), "daily": ("container", "network"), "logs": ()}
        return kind in allowed.get(scope.name, (kind,))
    idle = kind == "network" and not case.containers
    return scope.name == "weekly" and case.fate in HERE and idle


def touched(scope: Scope, number: int, case: Case) -> tuple[list[str], list[str]]:
    """Return which files of a checkout go whole, and which may change, as paths below it."""
    own = [f".dev-data/instance-{number}", f"logs/instance-{number}", f".dev-pids/instance-{number}"]
    reachable = case.fate in (*HERE, "husk", "moved", "moved and pruned", "moved by git")
    if scope.name in NAMED:
        return (own if scope.instance in (None, number) and reachable else []), []
    if case.fate == "husk":
        return (own if scope.name == "weekly" else []), []
    records = [f".dev-pids/instance-{number}/api.json"] if scope.name in ("daily", "weekly") else []
    logs = [f"logs/instance-{number}/old.log"] if scope.name in ("logs", "weekly") else []
    if case.fate not in HERE:
        return [], []
    return (records if not any(case.containers) else []), logs


@settings(max_examples=100 if FULL else 15)
@example(
    cases=[Case(fate, "", [], 0, network=False) for fate in FATES],
    scope=Scope("all"),
    former=False,
)
@given(cases=st.lists(CASES, min_size=1, max_size=5), scope=SCOPES, former=st.booleans())
def test_only_what_is_permitted_goes(cases: list[Case], scope: Scope, *, former: bool) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        base = Path(directory).resolve()
        world, lab, claims = World(base / "home", PROJECT), MemoryLab(), Claims(base / "state")
        mine = [_populate(world, lab, number, case, former=former) for number, case in enumerate(cases)]
        _strangers(lab, world, len(cases))
        nobodys = _without_claim(lab, world)
        other = world.checkout(len(cases), "removed", backend="docker", project=f"{PROJECT}-2")
        world.save(claims)
        before, engine_before = snapshot(base / "home"), dict(lab.memory.entries)

        view = view_of(world, claims, lab.engine)
        reality = read(view, scope)
        plan = make(scope, reality)
        assert snapshot(base / "home") == before, "looking has changed something"
        assert lab.memory.calls == []
        outcome = carry_out(plan, reality, view, ExecutionOptions(0.1, 1.0, lambda _: None))

        assert not outcome.failed
        assert not outcome.skipped
        left = {entry.name for entry in lab.memory.entries.values()}
        for number, (case, names) in enumerate(zip(cases, mine, strict=True)):
            for kind, name in names:
                assert (name in left) is not permitted(scope, kind, number, case), (scope, kind, name, case)
        for number, exists, name in nobodys:
            goes = scope.name == "all" or (scope.instance == number and not exists)
            assert (name in left) is not goes, (scope, name)
        ours = {name for names in mine for _, name in names} | {name for _, _, name in nobodys}
        gone = {entry.name for entry in engine_before.values()} - left
        assert gone <= ours, f"strangers went: {gone - ours}"
        _check_files(world, scope, cases, before, snapshot(base / "home"))
        _check_claims(scope, cases, claims.read(), other)
        again = read(view, scope)
        assert make(scope, again).goes == [], "a second run would do more"


def _populate(world: World, lab: MemoryLab, number: int, case: Case, *, former: bool) -> list[tuple[str, str]]:
    claim = world.checkout(number, case.fate, backend=case.backend)
    root = claim.root
    if former and number == 0:
        root = f"{claim.root}-before"
        world.claims[-1] = claim = _with_former(claim, root)
    made: list[tuple[str, str]] = []
    if case.network:
        lab.network(f"{PROJECT}-network-{number}", labels(PROJECT, number, root))
        made.append(("network", f"{PROJECT}-network-{number}"))
    for index in range(case.volumes):
        lab.volume(f"{PROJECT}-data{index}-{number}", labels(PROJECT, number, root, "postgres"))
        made.append(("volume", f"{PROJECT}-data{index}-{number}"))
    for index, running in enumerate(case.containers):
        name = f"{PROJECT}-part{index}-{number}"
        lab.container(name, labels(PROJECT, number, root, "nginx"), running=running)
        made.append(("container", name))
    return made


def _with_former(claim: Claim, root: str) -> Claim:
    import msgspec

    return msgspec.structs.replace(claim, former_roots=(root,))


def _strangers(lab: MemoryLab, world: World, count: int) -> None:
    for index, own in enumerate(STRANGERS.values()):
        for number in range(count + 1):
            near = {key: value.replace("/trees", f"{world.directory}/trees") for key, value in own.items()}
            lab.container(f"{PROJECT}-part0-{number}{index}", near, running=bool(number % 2))
            lab.volume(f"my-{PROJECT}-data0-{number}-{index}", near)
            lab.network(f"{PROJECT}-network-{number}{index}", near)


def _without_claim(lab: MemoryLab, world: World) -> list[tuple[int, bool, str]]:
    """Make volumes with our labels whose checkouts no claim names: one that exists, one that does not."""
    made = []
    for number in (0, 5):
        for exists in (True, False):
            root = world.directory / "unclaimed" / f"{number}-{exists}"
            if exists:
                root.mkdir(parents=True)
            name = f"{PROJECT}-{number}-unclaimed-{exists}"
            lab.volume(name, labels(PROJECT, number, str(root), "postgres"))
            made.append((number, exists, name))
    return made


def _check_files(
    world: World, scope: Scope, cases: Sequence[Case], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    goes: list[str] = []
    changes: list[str] = []
    for number, case in enumerate(cases):
        away, changed = touched(scope, number, case)
        goes += [str(world.places[number] / path) for path in away]
        changes += [str(world.places[number] / path) for path in changed]
    for path, content in before.items():
        if any(path == one or path.startswith(f"{one}/") for one in goes):
            assert path not in after, f"{path} is still there"
        elif path in changes:
            assert after[path][2] == b"", f"{path} was not emptied"
            assert after[path][0] == content[0]
        else:
            assert after[path] == content, f"{path} was touched"
    assert set(after) <= set(before)


def _check_claims(scope: Scope, cases: Sequence[Case], left: Sequence[Claim], other: Claim) -> None:
    held = {claim.id for claim in left if claim.project == PROJECT}
    for number, case in enumerate(cases):
        goes = permitted(scope, "claim", number, case) if case.fate in GONE or scope.name in NAMED else False
        if scope.name in ("orphans", "daily", "logs"):
            goes = False
        assert (number not in held) is goes, (scope, case)
    assert other in left
