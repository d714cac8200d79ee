"""A run of this checkout that only reads: it claims, writes and prints nothing."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.errors import InterruptError, OrienterError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.output.checks import Check, collect
from orienter_tasks.output.console import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import BackendChoice

T = TypeVar("T")


class ReadOnlyClaims(Claims):
    """The claims; what is changed in them is forgotten."""

    @contextmanager
    def changing(self, on_wait: Callable[[str], None] | None = None) -> Iterator[list[Claim]]:
        """Give a copy to change."""
        del on_wait
        yield self.read()


class RecordingReport(Report):
    """Keeps warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Keep one."""
        self.warnings.append(text)


def asked_for(ctx: RunContext) -> BackendChoice:
    """Return the backend that the command line, the environment or the settings ask for."""
    return ctx.options.wanted_backend(ctx.settings)


FACTS: Mapping[str, Callable[[RunContext], object]] = {
    "settings": lambda ctx: ctx.settings,
    ".env": lambda ctx: ctx.dotenv,
    "claims": lambda ctx: ctx.claims.read(),
    "instance": lambda ctx: ctx.current.claim,
    "variables": lambda ctx: ctx.current.config,
    "backend": asked_for,
}
"""What the checks build on, by topic: each after what it needs itself."""


def read(ctx: RunContext) -> tuple[RunContext, list[Check]]:
    """Return a run of the same checkout that changes nothing, and what is wrong with what the checks build on.

    A check that asks the run for something of that gets the same error: it is said once.
    """
    about, report = ctx.fresh_copy(), RecordingReport()
    about.claims, about.report = ReadOnlyClaims(), report
    wrong: dict[str, Check] = {}
    for topic, fact in FACTS.items():
        for check in collect(topic, partial(_try, fact, about)):
            wrong.setdefault(check.text, check)
    heard = [text for text in report.warnings if not text.startswith(".env: ")]  # a check reports its lines
    return about, [*wrong.values(), *(Check("instance", "warning", text) for text in heard)]


def _try(fact: Callable[[RunContext], object], about: RunContext) -> Iterable[Check]:
    fact(about)
    return ()


def known(read: Callable[[], T]) -> T | None:
    """Return what the checkout or the machine tells; None where it cannot be known."""
    try:
        return read()
    except InterruptError:
        raise
    except OrienterError:
        return None


def started_on(ctx: RunContext) -> str:
    """Return the backend on which this checkout has had infrastructure before; "" also where nobody can know."""
    claim = known(lambda: ctx.current.claim)
    return claim.backend if claim is not None else ""
