"""A rich console for text from outside: no markup, no emoji codes, no control codes but rich's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.segment import Segment

from orienter_tasks.output.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class Terminal(Console):
    """Draws on a stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(file=stream, highlight=False, soft_wrap=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render what rich does, with the control codes of every text removed."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
