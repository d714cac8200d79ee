"""Carry a plan out, instance by instance under its lock, each thing only if it is still what was planned for."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup import files
from orienter_tasks.commands.cleanup.files import ChangedError
from orienter_tasks.commands.cleanup.model import DOCKER_KINDS, KINDS
from orienter_tasks.commands.cleanup.snapshot import judge, processes_of
from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.machine.state import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.commands.cleanup.model import Holder, Reality, Thing
    from orienter_tasks.commands.cleanup.plan import Plan
    from orienter_tasks.commands.cleanup.snapshot import Viewpoint


@dataclass(frozen=True)
class Manner:
    """How a plan is carried out.

    Attributes:
        grace: seconds before a process or container is killed.
        lock_seconds: how long to wait for whoever is at work on an instance.
        on_wait: told who that is.
    """

    grace: float
    lock_seconds: float
    on_wait: Callable[[str], None]


@dataclass
class Outcome:
    """What came of a plan: what went, what was left alone because it had changed, and what failed."""

    gone: list[Thing] = field(default_factory=list)
    spared: list[tuple[Thing, str]] = field(default_factory=list)
    failed: list[tuple[Thing, OrienterError]] = field(default_factory=list)

    def troubled(self, thing: Thing) -> bool:
        """Say whether something of a thing's instance did not go."""
        others = [*(one for one, _ in self.spared), *(one for one, _ in self.failed)]
        return any(other.instance == thing.instance and other.kind != "log" for other in others)

    @contextmanager
    def noting(self, things: Sequence[Thing]) -> Iterator[None]:
        """Note what became of things that go together."""
        try:
            yield
        except ChangedError as reason:
            self.spared += [(thing, str(reason)) for thing in things]
        except OrienterError as error:
            self.failed += [(thing, error) for thing in things]
        else:
            self.gone += things


def carry_out(plan: Plan, reality: Reality, view: Viewpoint, manner: Manner) -> Outcome:
    """Do what a plan says.

    Raises:
        ConflictError: another command is at work on the one instance that was named.
    """
    outcome = Outcome()
    by_instance: dict[int, list[Thing]] = defaultdict(list)
    for decision in plan.goes:
        by_instance[decision.thing.instance].append(decision.thing)
    for number, things in sorted(by_instance.items()):
        try:
            with locked(f"{plan.project}-{number}", timeout=manner.lock_seconds, on_wait=manner.on_wait):
                _Instance(plan, reality, view, manner, outcome).clean(things)
        except ConflictError as error:
            if plan.scope.instance is not None:
                raise
            outcome.failed += [(thing, error) for thing in things]
    return outcome


class _Instance:
    """Cleans up what goes of one id, while its lock is held."""

    def __init__(self, plan: Plan, reality: Reality, view: Viewpoint, manner: Manner, outcome: Outcome) -> None:
        self._plan = plan
        self._reality = reality
        self._view = view
        self._manner = manner
        self._outcome = outcome

    def clean(self, things: Sequence[Thing]) -> None:
        """Let each kind go before the one that holds it."""
        things = self._unchanged(things)
        for kind in KINDS:
            chosen = [thing for thing in things if thing.kind == kind]
            if kind == "process":
                self._stop(chosen)
            elif kind == "container":
                with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
                    list(pool.map(self._remove, chosen))
            else:
                # the directory with the claim's mark goes last
                for thing in sorted(chosen, key=lambda thing: thing.component == "data"):
                    self._remove(thing)

    def _unchanged(self, things: Sequence[Thing]) -> list[Thing]:
        """Leave out what belongs to a claim that changed since, or whose checkout came back."""
        kept = []
        reasons: dict[str, str] = {}
        for thing in things:
            holder = self._holder(thing)
            if holder is not None and holder.claim.token not in reasons:
                reasons[holder.claim.token] = self._changed(holder)
            reason = reasons[holder.claim.token] if holder is not None else ""
            if reason:
                self._outcome.spared.append((thing, reason))
            else:
                kept.append(thing)
        return kept

    def _changed(self, holder: Holder) -> str:
        claims = self._view.claims.read()
        claim = next((claim for claim in claims if claim.token == holder.claim.token), None)
        if claim is None or (claim.id, claim.roots) != (holder.claim.id, holder.claim.roots):
            return "its claim has changed"
        if self._plan.scope.named:
            return ""
        now = judge(self._view, claim, claims)
        return "" if now.state is holder.checkout.state else now.reason

    def _stop(self, things: Sequence[Thing]) -> None:
        from orienter_tasks.commands.cleanup import processes

        holders = {holder.claim.token: holder for thing in things if (holder := self._holder(thing)) is not None}
        for holder in holders.values():
            mine = [thing for thing in things if holder.holds(thing)]
            with self._outcome.noting(mine):
                processes.stop(mine, self._manner.grace, partial(processes_of, self._view.project, holder))
        nobodys = [thing for thing in things if self._holder(thing) is None]
        with self._outcome.noting(nobodys):
            processes.stop(nobodys, self._manner.grace, lambda: nobodys)

    def _remove(self, thing: Thing) -> None:
        with self._outcome.noting([thing]):
            if thing.kind in DOCKER_KINDS:
                self._remove_docker(thing)
            elif thing.kind == "record":
                files.remove_record(thing)
            elif thing.kind == "log":
                files.truncate(thing)
            elif self._outcome.troubled(thing):  # claim and directories outlive what did not go
                raise ChangedError("something of its instance is left")
            elif thing.kind == "directory":
                files.remove_directory(thing)
            else:
                self._release(thing)

    def _remove_docker(self, thing: Thing) -> None:
        from orienter_tasks.commands.cleanup import engine

        anonymous = self._plan.scope.takes_data
        engine.remove(self._view.engine, thing, self._manner.grace, anonymous_volumes=anonymous)

    def _release(self, thing: Thing) -> None:
        with self._view.claims.changing() as book:
            book[:] = [
                claim
                for claim in book
                if (claim.token, claim.project, claim.root) != (thing.key, thing.project, thing.root)
            ]

    def _holder(self, thing: Thing) -> Holder | None:
        if thing.kind == "claim":
            return next((holder for holder in self._reality.holders if holder.claim.token == thing.key), None)
        return self._reality.holder_of(thing)
