"""`inv data.*`: whose data it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(positional=["id"], help={"id": "The instance's id, as `inv instances` shows it."}, dry={})
def adopt(ctx: RunContext, id: str) -> None:
    """Take over the id and the data of a checkout that is gone."""
    from orienter_tasks.commands.adopt import take_over

    take_over(ctx, id)


QUIESCE_HELP = "Stop its services while it is copied, and start them again: database and bucket are of one moment."
REPLACE_HELP = {
    "yes": "Do not ask.",
    "backup": "Keep what is replaced as an automatic snapshot, or not (--no-backup).",
    "json": JSON_HELP,
}


@task(
    positional=["name"],
    help={"name": "Its name: letters, digits, '.', '_', '-'.", "quiesce": QUIESCE_HELP, "json": JSON_HELP},
    dry={},
)
def snapshot(ctx: RunContext, name: str, quiesce: bool = False, json: bool = False) -> None:
    """Copy database and bucket of this instance, which may run, into a snapshot."""
    from orienter_tasks.commands.data.snapshot import snapshot as take

    take(ctx, name, quiesce=quiesce, as_json=json)


@task(name="list", help={"json": JSON_HELP})
def listing(ctx: RunContext, json: bool = False) -> None:
    """List the snapshots of this project, which all its checkouts can use."""
    from orienter_tasks.commands.data.snapshot import show

    show(ctx, as_json=json)


@task(positional=["name"], help={"name": "The snapshot, as `inv data.list` shows it.", "yes": "Do not ask."}, dry={})
def rm(ctx: RunContext, name: str, yes: bool = False) -> None:
    """Remove a snapshot."""
    from orienter_tasks.commands.data.snapshot import remove

    remove(ctx, name, yes=yes)


@task(positional=["name"], help={"name": "The snapshot, as `inv data.list` shows it.", **REPLACE_HELP}, dry={})
def restore(ctx: RunContext, name: str, yes: bool = False, backup: bool = True, json: bool = False) -> None:
    """Replace the data of this instance by a snapshot, of whichever checkout."""
    from orienter_tasks.commands.data import replace

    replace.restore(ctx, name, yes=yes, backup=backup, as_json=json)


@task(
    help={
        "source": "The id of another instance (default: the main checkout's).",
        "quiesce": QUIESCE_HELP,
        **REPLACE_HELP,
    },
    dry={},
)
def clone(
    ctx: RunContext, source: str = "", quiesce: bool = False, yes: bool = False, backup: bool = True, json: bool = False
) -> None:
    """Replace the data of this instance by a copy of another's, which may run."""
    from orienter_tasks.commands.data import replace

    replace.clone(ctx, source, quiesce=quiesce, yes=yes, backup=backup, as_json=json)


@task(help=REPLACE_HELP, dry={})
def reset(ctx: RunContext, yes: bool = False, backup: bool = True, json: bool = False) -> None:
    """Go back to the last named snapshot that was taken or restored here, else to no data."""
    from orienter_tasks.commands.data import replace

    replace.reset(ctx, yes=yes, backup=backup, as_json=json)


@task(
    name="export",
    positional=["file"],
    help={"file": "The file to write; it must not exist.", "quiesce": QUIESCE_HELP, "json": JSON_HELP},
    dry={},
)
def export_(ctx: RunContext, file: str, quiesce: bool = False, json: bool = False) -> None:
    """Write database and bucket of this instance, which runs, into a file for another backend, version or machine."""
    from orienter_tasks.commands.data.portable import export

    export(ctx, file, quiesce=quiesce, as_json=json)


@task(name="import", positional=["file"], help={"file": "A file of `inv data.export`.", **REPLACE_HELP}, dry={})
def import_(ctx: RunContext, file: str, yes: bool = False, backup: bool = True, json: bool = False) -> None:
    """Replace the data of this instance by that of a file, of whichever backend or version."""
    from orienter_tasks.commands.data.portable import load

    load(ctx, file, yes=yes, backup=backup, as_json=json)
