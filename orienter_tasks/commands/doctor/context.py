"""A read-only run of this checkout: it claims, writes and prints nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity.claims import ReadOnlyClaims
from orienter_tasks.infra.choice import NONE
from orienter_tasks.output.checks import Check, collect
from orienter_tasks.output.console import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import BackendChoice

T = TypeVar("T")


class RecordingReport(Report):
    """Collects warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Collect one."""
        self.warnings.append(text)


def asked_for(ctx: RunContext) -> BackendChoice:
    """Return the backend requested by the command line, the environment or the settings."""
    return ctx.options.wanted_backend(ctx.settings)


FACTS: Mapping[str, Callable[[RunContext], object]] = {
    "settings": lambda ctx: ctx.settings,
    ".env": lambda ctx: ctx.dotenv,
    "claims": lambda ctx: ctx.claims.read(),
    "instance": lambda ctx: ctx.require_startable(),
    "variables": lambda ctx: ctx.current.config,
    "backend": asked_for,
}
"""What the checks build on, by topic; each follows what it depends on."""


def read(ctx: RunContext) -> tuple[RunContext, list[Check]]:
    """Return a read-only run of the same checkout, and what is wrong with what the checks build on.

    A check that asks the run for one of these gets the same error, which is reported once.
    """
    about, report = ctx.fresh_copy(), RecordingReport()
    about.claims, about.report = ReadOnlyClaims(), report
    wrong: dict[str, Check] = {}
    warnings: list[Check] = []
    for topic, fact in FACTS.items():
        for check in collect(topic, partial(_try, fact, about)):
            wrong.setdefault(check.text, check)
        if topic != ".env":  # a check names its lines
            told = [text for text in report.warnings if not any(check.text in text for check in wrong.values())]
            warnings += [Check(topic, "warning", text) for text in told]
        report.warnings.clear()
    return about, [*wrong.values(), *warnings]


def _try(fact: Callable[[RunContext], object], about: RunContext) -> Iterable[Check]:
    fact(about)
    return ()


def known(read: Callable[[], T]) -> T | None:
    """Return the value read, or None where an error prevents that."""
    try:
        return read()
    except OrienterError:
        return None


def started_on(ctx: RunContext) -> Backends:
    """Return the backends this checkout was started on before; none also where that cannot be determined."""
    backend = known(lambda: ctx.current.settled_backend)
    return backend.backends if backend is not None else NONE
