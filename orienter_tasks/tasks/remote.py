"""`inv remote.*`: instances on other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(
    name="open",
    positional=("place",),
    help={
        "place": "USER@BOX:PATH, a checkout there.",
        "inv": "Where inv is there, if a login shell does not find it.",
    },
    dry="remote_open",
)
def open_(ctx: RunContext, place: str, inv: str = "inv") -> None:
    """Use an instance of another machine as if it were here: its ports are forwarded until Ctrl-C."""
    from orienter_tasks.commands import remote

    remote.open_(ctx, place, inv)
