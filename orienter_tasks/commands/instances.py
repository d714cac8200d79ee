"""`inv instances`: every instance of this user on this machine, once or as long as one looks.

A container's memory is read from the kernel's own accounts; the engine's statistics, which take a second, are never
asked. Sizes on disk are waited for briefly: what is not known by then is a dash, and named.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from orienter_tasks.commands.names import pages
from orienter_tasks.errors import ConfigError
from orienter_tasks.identity import checkouts
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.machine.state import snapshot_dir
from orienter_tasks.observe.disk import Disk, DiskUsage
from orienter_tasks.observe.model import as_document, last_words
from orienter_tasks.observe.scan import scan
from orienter_tasks.output import live, tables
from orienter_tasks.output.console import redrawable
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import ago, megabytes, space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.table import Table

    from orienter_tasks.data.manifest import Manifest
    from orienter_tasks.identity.checkouts import Checkout
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.model import Observation, ObservedInstance

GLANCE = 0.3  # how long a table waits for sizes on disk
THOROUGH = 6.0  # and a document, which nobody looks at; the engine itself is given five
INTERVAL = 2.0
DISK_ROUNDS = 5  # in a live table, sizes are measured anew every so many readings


class ListedInstance(msgspec.Struct, frozen=True):
    """An instance, and what became of its checkout."""

    found: ObservedInstance
    checkout: Checkout

    @property
    def disk(self) -> Disk:
        """What it takes on disk, as far as it is known."""
        return self.found.disk or Disk(None, None)

    @property
    def state(self) -> str:
        """What it is doing; or where its checkout is, if it is not where it was."""
        away = self.checkout.state
        if away is CheckoutState.HERE or self.found.state == "conflict":
            return self.found.state
        return "orphaned" if away is CheckoutState.GONE else away.value


class Overview(msgspec.Struct, frozen=True):
    """All instances, and what could not be seen."""

    entries: Sequence[ListedInstance]
    unseen: Sequence[str]

    @property
    def notes(self) -> list[str]:
        """What the user should know besides."""
        away = [entry for entry in self.entries if entry.checkout.state is not CheckoutState.HERE]
        return [f"not seen: {unseen}" for unseen in self.unseen] + [
            f"{entry.found.instance}: {entry.checkout.reason} → {checkouts.remedy(entry.found.claim, entry.checkout)}"
            for entry in away
        ]

    @property
    def tokens(self) -> set[str]:
        return {entry.found.claim.token for entry in self.entries}

    @property
    def several(self) -> bool:
        """Whether there are instances of several projects."""
        return len({entry.found.instance.project for entry in self.entries}) > 1

    @property
    def last_words(self) -> list[str]:
        """The ends of the logs of what died or does not answer in instances that else run."""
        told = [entry.found for entry in self.entries if entry.state == "partial" or entry.found.failure is not None]
        return [line for found in told for line in last_words(found)]


def show(ctx: RunContext, *, watch: bool, as_json: bool) -> None:
    """Show all instances.

    Raises:
        ConfigError: they are to be watched where nothing can be drawn.
    """
    if watch:
        _watch(ctx, as_json=as_json)
        return
    overview = _once(ctx.claims.read(), THOROUGH if as_json else GLANCE)
    for note in overview.notes:
        ctx.report.warn(note)
    snapshots = _snapshots()
    if as_json:
        documents = [_document(entry, snapshots) for entry in overview.entries]
        others = [_taken_of(of_one) for token, of_one in snapshots.items() if token not in overview.tokens]
        ctx.report.json({"instances": documents, "other_snapshots": others, "unseen": list(overview.unseen)})
        return
    if overview.entries:
        ctx.report.table(columns(overview), overview.entries)
        for line in overview.last_words:
            ctx.report.answer(line)
    else:
        ctx.report.note("no checkout has an instance yet; start one with: inv dev")
    if snapshots:
        ctx.report.answer(_line(overview, snapshots))


def _once(claims: Sequence[Claim], patience: float) -> Overview:
    with DiskUsage(claims) as usage:
        taken = scan(claims, sizes=True, use=True)
        usage.wait(patience)
        return _overview(taken, {claim.token: usage.of(claim) for claim in claims})


def _overview(taken: Observation, sizes: dict[str, Disk]) -> Overview:
    claims = [found.claim for found in taken.instances]
    hints = [Path(claim.root) for claim in claims]
    entries = [
        ListedInstance(replace(found, disk=sizes.get(found.claim.token)), checkouts.judge(found.claim, hints))
        for found in taken.instances
    ]
    untold = [str(entry.found.instance) for entry in entries if None in (entry.disk.data, entry.disk.logs)]
    unseen = list(taken.unseen)
    if untold:
        unseen.append(f"sizes on disk of {', '.join(untold)}: not all could be counted in time")
    return Overview(entries, unseen)


def _watch(ctx: RunContext, *, as_json: bool) -> None:
    if as_json or not redrawable(sys.stdout):
        raise ConfigError(
            "--watch draws on a terminal, and " + ("--json does not" if as_json else "stdout is none"),
            hint="leave it out; a script can ask again as often as it likes",
        )
    from rich.text import Text

    def draw(overview: Overview) -> Table:
        width = ctx.report.console(sys.stdout).width
        table = tables.drawn(columns(overview), overview.entries, width)
        table.title, table.title_justify = f"Instances: {len(overview.entries)}  Ctrl-C ends", "left"
        table.caption, table.caption_justify = Text("\n".join(overview.notes), "yellow"), "left"
        return table

    live.follow(ctx.report, map(draw, _readings(ctx)))


def _readings(ctx: RunContext) -> Iterator[Overview]:
    """Read again and again; sizes are measured beside it, and the last known ones are shown until there are others."""
    sizes: dict[str, Disk] = {}
    while True:
        claims = ctx.claims.read()
        with DiskUsage(claims) as usage:
            for number, taken in enumerate(live.every(INTERVAL, lambda: scan(ctx.claims.read(), sizes=True, use=True))):
                measured = usage.wait(GLANCE if number == 0 else 0.0)
                if measured or not sizes:
                    sizes.update({claim.token: usage.of(claim) for claim in claims})
                yield _overview(taken, sizes)
                if measured and number >= DISK_ROUNDS:
                    break


def columns(overview: Overview) -> list[Column[ListedInstance]]:
    """Describe the table; ids have their project in front where there are several."""
    return [
        Column("id", lambda entry: _name(entry, several=overview.several), right=True),
        Column("worktree", lambda entry: entry.found.instance.worktree, least=14),
        Column("branch", lambda entry: entry.found.branch or "–", least=12, drop=4),
        Column("state", _state, least=9),
        Column("url", _url, narrow=lambda entry: entry.found.instance.url),
        Column("backend", lambda entry: entry.found.backends.word or "–", drop=3),
        Column("services", _services, drop=8, right=True),
        Column("memory", lambda entry: megabytes(entry.found.memory), drop=7, right=True),
        Column("data", lambda entry: space(entry.disk.data), drop=5, right=True),
        Column("logs", lambda entry: space(entry.disk.logs), drop=1, right=True),
        Column("up", lambda entry: ago(entry.found.since) or "–", drop=6, right=True),
        Column("idle", _idle, drop=2, right=True),
    ]


def _name(entry: ListedInstance, *, several: bool) -> str:
    instance = entry.found.instance
    return f"{instance.project}/{instance.id}" if several else str(instance.id)


def _url(entry: ListedInstance) -> str:
    return " ".join(address for _, address in pages(entry.found.instance))


def _state(entry: ListedInstance) -> str:
    faults = [f"{each.name} {each.fault}" for each in entry.found.components if each.fault]
    failed = entry.found.failure is not None
    return ", ".join([entry.state, *(faults if entry.state == "partial" or failed else ())])


def _idle(entry: ListedInstance) -> str:
    use = entry.found.use
    if use is None or use.idle is None:
        return "–"
    return "in use" if use.now else ago(use.at)


def _services(entry: ListedInstance) -> str:
    up, of = entry.found.services_up
    return f"{up}/{of}" if of else "–"


def _snapshots() -> dict[str, list[Manifest]]:
    """Return the snapshots of all projects by the token of the claim that they were taken of."""
    if not snapshot_dir().exists():
        return {}
    from orienter_tasks.data import store

    found: dict[str, list[Manifest]] = {}
    for made in store.of_all_projects():
        found.setdefault(made.token, []).append(made)
    return found


def _line(overview: Overview, snapshots: Mapping[str, Sequence[Manifest]]) -> str:
    """Say how many snapshots there are of each instance, and of those that are not in the table, and their bytes."""
    of = {
        _name(entry, several=overview.several): snapshots.get(entry.found.claim.token, ()) for entry in overview.entries
    }
    of["others"] = [made for token, each in snapshots.items() if token not in overview.tokens for made in each]
    told = [f"{name}: {len(each)} ({space(sum(made.size for made in each))})" for name, each in of.items() if each]
    return f"snapshots of {', '.join(told)} → inv data.list"


def _taken(snapshots: Sequence[Manifest]) -> dict[str, int]:
    return {"count": len(snapshots), "bytes": sum(made.size for made in snapshots)}


def _taken_of(snapshots: Sequence[Manifest]) -> dict[str, object]:
    first = snapshots[0]
    return {"project": first.project, "instance": first.instance, "root": first.root, **_taken(snapshots)}


def _document(entry: ListedInstance, snapshots: Mapping[str, Sequence[Manifest]]) -> dict[str, object]:
    checkout = entry.checkout
    place = str(checkout.place) if checkout.place is not None else None
    taken = _taken(snapshots.get(entry.found.claim.token, ()))
    told = {"state": checkout.state.value, "reason": checkout.reason, "place": place}
    return {**as_document(entry.found), "state": entry.state, "checkout": told, "snapshots": taken}
