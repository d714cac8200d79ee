"""What a clean-up deals with, as it was found: resources, checkouts, and the whole reading of reality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orienter_tasks.identity.checkouts import Checkout
    from orienter_tasks.identity.claims import Claim

Kind = Literal["process", "container", "network", "volume", "record", "log", "directory", "claim"]
KINDS: tuple[Kind, ...] = ("process", "container", "network", "volume", "record", "log", "directory", "claim")
"""In the order in which they go."""
DOCKER_KINDS: tuple[Kind, ...] = ("container", "network", "volume")


@dataclass(frozen=True)
class Holder:
    """A claim, and what became of its checkout."""

    claim: Claim
    checkout: Checkout

    def holds(self, resource: Resource) -> bool:
        """Say whether a resource is labelled as this claim's, also from before its checkout was moved."""
        claim = self.claim
        return resource.project == claim.project and resource.instance == claim.id and resource.root in claim.roots


@dataclass(frozen=True)
class Resource:
    """Something of ours that is there.

    Attributes:
        kind: what it is.
        name: for people.
        key: what it is acted on by: an engine's id, a path, a claim's token, `pid:mark` of a process.
        project, instance, root: whose it says that it is.
        component: of what; a directory is `data`, `logs` or `pids`.
        size: bytes; None where that is not told.
        running: a process or container runs, a record's process lives, a network has something attached.
        written_at: when a log was last written to; seconds since the epoch.
        blocker: why it may never go; "" when nothing speaks against it.
    """

    kind: Kind
    name: str
    key: str
    project: str
    instance: int
    root: str
    component: str = ""
    size: int | None = None
    running: bool = False
    written_at: float | None = None
    blocker: str = ""


@dataclass(frozen=True)
class Root:
    """What is known of a checkout that no claim of this user names.

    Attributes:
        exists: whether something lies there.
        blocker: why its resources may not even go by name, such as that it is another user's.
    """

    exists: bool
    blocker: str = ""


@dataclass(frozen=True)
class Snapshot:
    """Everything of one project that was found.

    Attributes:
        project: whose.
        holders: its claims, with their checkouts.
        resources: what is there; claims are not among them.
        unclaimed: the roots that resources name and no claim does.
        taken_at: when it was read; seconds since the epoch.
        engine_seen: whether a Docker engine told what it has.
        unseen: what could not be seen, in words.
    """

    project: str
    holders: Sequence[Holder]
    resources: Sequence[Resource]
    unclaimed: Mapping[str, Root] = field(default_factory=dict)
    taken_at: float = 0.0
    engine_seen: bool = True
    unseen: Sequence[str] = ()

    def holder_of(self, resource: Resource) -> Holder | None:
        """Return the claim that a resource belongs to."""
        return next((holder for holder in self.holders if holder.holds(resource)), None)


def claim_as_resource(claim: Claim) -> Resource:
    """Describe a claim as something that may go."""
    return Resource(
        kind="claim",
        name=f"id {claim.id}",
        key=claim.token,
        project=claim.project,
        instance=claim.id,
        root=claim.root,
    )
