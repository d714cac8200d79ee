"""What a clean-up deals with: its scope, kinds of resources, what was found of each, and whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.settings.model import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orienter_tasks.identity.checkouts import Checkout
    from orienter_tasks.identity.claims import Claim

EXISTS = "its checkout exists"
ScopeName = Literal["orphans", "logs", "daily", "weekly", "instance", "all"]
NAMED: tuple[ScopeName, ...] = ("instance", "all")
THOROUGH: tuple[ScopeName, ...] = ("weekly", *NAMED)
"""Those that remove data."""


class Scope(msgspec.Struct, frozen=True):
    """A clean-up; `instance` is the id that the user named, `snapshots` whether those were named, too."""

    name: ScopeName
    instance: int | None = None
    snapshots: bool = False

    @property
    def named(self) -> bool:
        """Whether the user says what goes, instead of git."""
        return self.name in NAMED

    @property
    def takes_data(self) -> bool:
        return self.name in THOROUGH

    def covers(self, instance: int) -> bool:
        return self.instance in (None, instance)

    def __str__(self) -> str:
        return self.name if self.instance is None else f"{self.name} {self.instance}"


def of_instance(text: str, *, snapshots: bool = False) -> Scope:
    """Build the scope of one instance from the command line's word, which may be anything, also a flag.

    Raises:
        ConfigError: unless it is an id.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 2 or int(text) > HIGHEST_ID:  # noqa: PLR2004 - 56
        hint = "see: inv --help cleanup.instance" if text.startswith("-") else "see: inv instances"
        raise ConfigError(f"invalid instance id {text!r}: ids are 0 to {HIGHEST_ID}", hint=hint)
    return Scope("instance", int(text), snapshots)


class Verdict(msgspec.Struct, frozen=True):
    """Whether a resource goes, and why."""

    goes: bool
    reason: str


class Kind(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A kind of resource: everything that a clean-up has to know about it.

    Attributes:
        order: a kind with a lower one goes first.
        scopes: the clean-ups that remove it.
        mentioned: the clean-ups that look for it only to say that it stays.
        find: finds it, given a `snapshot.Reading`.
        remove: removes those of one instance, given an `execute.Removal`, through that one's `attempt`.
        unneeded: judges one whose checkout exists.
        outlives: whether it outlives its checkout: `unneeded` judges it whatever became of that.
        sizes: returns bytes by key, given a `snapshot.Viewpoint` and what goes; None: `find` knows.
        is_data: whether a user could miss it.
        last: whether it goes only after everything else of its instance, if nothing of that stays or is unseen.
        holds_claim: whether the claim stays while one is there.
        verbs: what is done to it, and was done.
        plural: "" where it is the name with an s.
    """

    name: str
    order: int
    scopes: Sequence[ScopeName]
    mentioned: Sequence[ScopeName] = ()
    find: Callable[[Any], Iterable[Resource]]
    remove: Callable[[Any, Sequence[Resource]], None]
    unneeded: Callable[[Scope, Snapshot, Resource], Verdict] = lambda *_: Verdict(goes=False, reason=EXISTS)
    outlives: bool = False
    sizes: Callable[[Any, Sequence[Resource]], Mapping[str, int | None]] | None = None
    is_data: bool = False
    last: bool = False
    holds_claim: Callable[[Resource], bool] = lambda _: True
    verbs: tuple[str, str] = ("removes", "removed")
    plural: str = ""

    def count(self, number: int) -> str:
        """Put a number of them into words."""
        return f"{number} {self.name if number == 1 else self.plural or f'{self.name}s'}"

    def __str__(self) -> str:
        return self.name


class Holder(msgspec.Struct, frozen=True):
    """A claim, and what became of its checkout; `parked` if nobody holds it any more and only volumes name it."""

    claim: Claim
    checkout: Checkout
    parked: bool = False

    @property
    def place(self) -> str:
        """Where its files are, or what is left of them; "" where that is not known."""
        gone = self.checkout.state is CheckoutState.GONE
        return self.claim.root if gone else str(self.checkout.place or "")

    def holds(self, resource: Resource) -> bool:
        """Say whether a resource is labelled as this claim's, also from before its checkout was moved."""
        return of_claim(self.claim).is_marked_by(
            project=resource.project, instance=resource.instance, root=resource.root, token=resource.token
        )


class Resource(msgspec.Struct, frozen=True):
    """Something of ours that is there.

    Attributes:
        name: for people.
        key: what it is acted on by: an engine's id, a path, a claim's token, `pid:mark` of a process.
        project, instance, root, token: whose it says that it is; token "" where it only names the path.
        component: of what; a directory is `data`, `logs` or `pids`.
        size: bytes; None where that is not known.
        running: a process or container runs, a network has something attached.
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
    token: str = ""
    size: int | None = None
    running: bool = False
    written_at: float | None = None
    blocker: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {printable(self.name)}"


class Root(msgspec.Struct, frozen=True):
    """A checkout that no claim of this user names.

    Attributes:
        exists: whether something lies there.
        blocker: why its resources may not even go by name, such as that it is another user's.
    """

    exists: bool
    blocker: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything of one project that was found.

    Attributes:
        holders: its claims, with their checkouts.
        unclaimed: the roots that resources name and no claim does.
        taken_at: seconds since the epoch.
        hidden: the backends of which no engine said what claims have there; see `Engine.unseen_backends`.
        unseen: what could not be seen, in words.
    """

    project: str
    holders: Sequence[Holder]
    resources: Sequence[Resource]
    unclaimed: Mapping[str, Root] = msgspec.field(default_factory=dict)
    taken_at: float = 0.0
    hidden: Sequence[str] = ()
    unseen: Sequence[str] = ()

    def holder_of(self, resource: Resource) -> Holder | None:
        return next((holder for holder in self.holders if holder.holds(resource)), None)


def printable(text: str) -> str:
    """Keep a label or a path from moving a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
