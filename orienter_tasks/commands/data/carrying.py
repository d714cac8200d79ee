"""Data on its way to servers that cannot use the files of others: dumped, read and written by servers that run.

Whatever has no servers of its own that run, such as a snapshot or a file, has those of a throwaway instance meanwhile.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from orienter_tasks.commands.data.snapshot import manifest_of
from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.commands.selftest.sandbox import open_sandbox
from orienter_tasks.commands.start import start_infra
from orienter_tasks.data import archive, archived, store
from orienter_tasks.data.files import PATHS
from orienter_tasks.data.manifest import Part
from orienter_tasks.data.room import Need
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component as kind, portable
from orienter_tasks.infra.copies import InstanceCopies, files_part
from orienter_tasks.instance.backends import Backends
from orienter_tasks.lifecycle.context import RunOptions
from orienter_tasks.machine.state import snapshot_dir
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import Settings

FILE = "data.tar"


def travels(name: str) -> bool:
    return name == PATHS or kind(name).portable() is not None


def left_out(names: Sequence[str]) -> list[str]:
    """Say of each component what does not travel."""
    return [f"{name}: {portable(name).left_out}" for name in names if name != PATHS]


def carry(
    ctx: RunContext, copies: InstanceCopies, names: Sequence[str], source: AbstractContextManager[InstanceConfig]
) -> None:
    """Prepare the data that the servers of `source` have; they need not run any longer than it is read."""
    with store.temporary(ctx.settings.project) as unfinished:
        path = unfinished.place / FILE
        with source as config, archive.writing(path) as writer, copies.counting(writer.position):
            writer.finish(manifest_of(ctx.current.claim, "portable", written(config, names, writer), ()))
        with archive.reading(path) as found:
            fill(ctx, copies, found, names)


def written(config: InstanceConfig, names: Sequence[str], writer: archive.Writer) -> list[Part]:
    """Write the data of an instance whose servers run into an export."""
    return [_written(name, config, writer) for name in names]


def fill(ctx: RunContext, copies: InstanceCopies, found: archive.Archive, names: Sequence[str]) -> None:
    """Prepare the data of an export; that of servers as servers of a throwaway instance have it on disk."""
    if PATHS in names:
        with store.temporary(ctx.settings.project) as unfinished:
            archived.load(unfinished.place / PATHS, found.members(PATHS))
            copies.load(PATHS, unfinished.place, files_part(unfinished.place), "the export")
    servers = [name for name in names if name != PATHS]
    if not servers:
        return
    backends = copies.servers.backends

    def take(config: InstanceConfig) -> None:
        copies.clone(servers, InstanceCopies(backends, config))

    with throwaway(ctx, ctx.settings, backends, after=take) as config, copies.counting(found.position):
        for name in servers:
            portable(name).load(config, found.manifest.by_component[name], found.members(name))


def needs(copies: InstanceCopies, sizes: Mapping[str, int]) -> Sequence[Need]:
    """Return what it needs to fill: data is in a throwaway instance first, and files beside the snapshots."""
    rooms = {name: snapshot_dir() if name == PATHS else copies.servers.room(name) for name in sizes}
    first = [Need(room, sizes[name]) for name, room in rooms.items() if room is not None]
    then = [each for name in sizes for each in copies.needs_to_load({name: sizes[name]}, rooms[name] or snapshot_dir())]
    return [*first, *then]


@contextmanager
def throwaway(
    ctx: RunContext,
    settings: Settings,
    backends: Backends,
    *,
    before: Callable[[InstanceCopies], None] | None = None,
    after: Callable[[InstanceConfig], None] | None = None,
) -> Iterator[InstanceConfig]:
    """Yield a throwaway instance whose servers run.

    Args:
        ctx: the run of the checkout in which it lies.
        settings: what its servers are.
        backends: where they run.
        before: prepares the data with which they start.
        after: what is done with what they then have on disk.
    """
    with open_sandbox(HostConfig(choice.kept(settings, backends), {}, ctx.root)) as sandbox:
        options = RunOptions(backend=backends.general, quiet=True, without=tuple(settings.services))
        scratch = sandbox.instance("import", options)
        try:
            scratch.begin().check([])
            config = scratch.current.config
            if before is not None:
                copies = InstanceCopies(backends, config)
                try:
                    before(copies)
                    copies.swap()
                finally:
                    copies.discard()
            start_infra(scratch)
            scratch.begin().runner.wait(catalog.awaited())
        except BaseException:
            scratch.undo()
            raise
        yield config
        scratch.begin().stop()
        scratch.begin().finish()
        if after is not None:
            after(config)


def _written(name: str, config: InstanceConfig, writer: archive.Writer) -> Part:
    if name == PATHS:
        with store.temporary(config.instance.project) as unfinished:
            InstanceCopies(Backends(), config).copy_files(unfinished.place / PATHS)
            archived.save(unfinished.place / PATHS, writer)
        return Part.of(name, "files", writer.content(name))
    how = portable(name)
    server, facts = how.server(config), how.facts(config)
    how.save(config, writer)
    return Part.of(name, server, writer.content(name), facts)
