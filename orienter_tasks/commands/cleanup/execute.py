"""Carry a plan out, instance by instance under its lock, each resource only if it is still what was planned for."""

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

    from orienter_tasks.commands.cleanup.model import Holder, Resource, Snapshot
    from orienter_tasks.commands.cleanup.plan import CleanupPlan
    from orienter_tasks.commands.cleanup.snapshot import Viewpoint


@dataclass(frozen=True)
class ExecutionOptions:
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

    gone: list[Resource] = field(default_factory=list)
    skipped: list[tuple[Resource, str]] = field(default_factory=list)
    failed: list[tuple[Resource, OrienterError]] = field(default_factory=list)

    def troubled(self, resource: Resource) -> bool:
        """Say whether something of a resource's instance did not go."""
        others = [*(one for one, _ in self.skipped), *(one for one, _ in self.failed)]
        return any(other.instance == resource.instance and other.kind != "log" for other in others)

    @contextmanager
    def noting(self, resources: Sequence[Resource]) -> Iterator[None]:
        """Note what became of resources that go together."""
        try:
            yield
        except ChangedError as reason:
            self.skipped += [(resource, str(reason)) for resource in resources]
        except OrienterError as error:
            self.failed += [(resource, error) for resource in resources]
        else:
            self.gone += resources


def carry_out(plan: CleanupPlan, reality: Snapshot, view: Viewpoint, options: ExecutionOptions) -> Outcome:
    """Do what a plan says.

    Raises:
        ConflictError: another command is at work on the one instance that was named.
    """
    outcome = Outcome()
    by_instance: dict[int, list[Resource]] = defaultdict(list)
    for decision in plan.goes:
        by_instance[decision.resource.instance].append(decision.resource)
    for number, resources in sorted(by_instance.items()):
        try:
            with locked(f"{plan.project}-{number}", timeout=options.lock_seconds, on_wait=options.on_wait):
                _Instance(plan, reality, view, options, outcome).clean(resources)
        except ConflictError as error:
            if plan.scope.instance is not None:
                raise
            outcome.failed += [(resource, error) for resource in resources]
    return outcome


class _Instance:
    """Cleans up what goes of one id, while its lock is held."""

    def __init__(
        self, plan: CleanupPlan, reality: Snapshot, view: Viewpoint, options: ExecutionOptions, outcome: Outcome
    ) -> None:
        self._plan = plan
        self._reality = reality
        self._view = view
        self._options = options
        self._outcome = outcome

    def clean(self, resources: Sequence[Resource]) -> None:
        """Let each kind go before the one that holds it."""
        resources = self._unchanged(resources)
        for kind in KINDS:
            chosen = [resource for resource in resources if resource.kind == kind]
            if kind == "process":
                self._stop(chosen)
            elif kind == "container":
                with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
                    list(pool.map(self._remove, chosen))
            else:
                # the directory with the claim's mark goes last
                for resource in sorted(chosen, key=lambda resource: resource.component == "data"):
                    self._remove(resource)

    def _unchanged(self, resources: Sequence[Resource]) -> list[Resource]:
        """Leave out what belongs to a claim that changed since, or whose checkout came back."""
        kept = []
        reasons: dict[str, str] = {}
        for resource in resources:
            holder = self._holder(resource)
            if holder is not None and holder.claim.token not in reasons:
                reasons[holder.claim.token] = self._changed(holder)
            reason = reasons[holder.claim.token] if holder is not None else ""
            if reason:
                self._outcome.skipped.append((resource, reason))
            else:
                kept.append(resource)
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

    def _stop(self, resources: Sequence[Resource]) -> None:
        from orienter_tasks.commands.cleanup import processes

        holders = {
            holder.claim.token: holder for resource in resources if (holder := self._holder(resource)) is not None
        }
        for holder in holders.values():
            mine = [resource for resource in resources if holder.holds(resource)]
            with self._outcome.noting(mine):
                processes.stop(mine, self._options.grace, partial(processes_of, self._view.project, holder))
        nobodys = [resource for resource in resources if self._holder(resource) is None]
        with self._outcome.noting(nobodys):
            processes.stop(nobodys, self._options.grace, lambda: nobodys)

    def _remove(self, resource: Resource) -> None:
        with self._outcome.noting([resource]):
            if resource.kind in DOCKER_KINDS:
                self._remove_docker(resource)
            elif resource.kind == "record":
                files.remove_record(resource)
            elif resource.kind == "log":
                files.truncate(resource)
            elif self._outcome.troubled(resource):  # claim and directories outlive what did not go
                raise ChangedError("something of its instance is left")
            elif resource.kind == "directory":
                files.remove_directory(resource)
            else:
                self._release(resource)

    def _remove_docker(self, resource: Resource) -> None:
        from orienter_tasks.commands.cleanup import engine

        anonymous = self._plan.scope.takes_data
        engine.remove(self._view.engine, resource, self._options.grace, anonymous_volumes=anonymous)

    def _release(self, resource: Resource) -> None:
        with self._view.claims.changing() as book:
            book[:] = [
                claim
                for claim in book
                if (claim.token, claim.project, claim.root) != (resource.key, resource.project, resource.root)
            ]

    def _holder(self, resource: Resource) -> Holder | None:
        if resource.kind == "claim":
            return next((holder for holder in self._reality.holders if holder.claim.token == resource.key), None)
        return self._reality.holder_of(resource)
