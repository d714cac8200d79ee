"""What the checks know of this checkout, found out without claiming, starting or writing anything."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding
from orienter_tasks.errors import InterruptError, OrienterError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.instance.variables import read_dotenv
from orienter_tasks.machine import worktree
from orienter_tasks.output.console import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.machine.worktree import Worktree
    from orienter_tasks.settings.model import BackendChoice, Settings

    T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """Which instance the checkout is, and what decides on its id."""

    source: str
    claim: Claim


@dataclass(frozen=True)
class Situation:
    """This checkout as it stands.

    Attributes:
        root: the checkout.
        tree: what git says about it.
        environ: the process environment.
        book: the claims, as they may be read.
        claims: what they say; empty where they cannot be read.
        settings: None where invoke.yaml is wrong.
        identity: which instance this is, or would be; None where that cannot be said.
        config: the instance with its settings and variables; None likewise.
        asked: the backend that was asked for; None where that is no backend.
        dotenv: what `.env` says.
        broken: numbers of its lines that are no variables.
    """

    root: Path
    tree: Worktree
    environ: Mapping[str, str]
    book: Claims
    claims: Sequence[Claim] = ()
    settings: Settings | None = None
    identity: Identity | None = None
    config: InstanceConfig | None = None
    asked: BackendChoice | None = None
    dotenv: Mapping[str, str] = field(default_factory=dict)
    broken: Sequence[int] = ()

    @property
    def started(self) -> bool:
        """Whether this checkout has had infrastructure before."""
        return self.identity is not None and bool(self.identity.claim.backend)


class Unwritten(Claims):
    """The claims, to which nothing is written: what is changed is forgotten."""

    @contextmanager
    def changing(self, on_wait: Callable[[str], None] | None = None) -> Iterator[list[Claim]]:
        """Give a copy to change."""
        del on_wait
        yield self.read()


class _Heard(Report):
    """Takes down what the run would have told, instead of telling it."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Take down."""
        self.warnings.append(text)


def _told(findings: list[Finding], topic: str, ask: Callable[[], T]) -> T | None:
    """Ask; what speaks against an answer becomes a finding, once."""
    try:
        return ask()
    except InterruptError:
        raise
    except OrienterError as error:
        if not any(finding.what == str(error) for finding in findings):
            findings.append(Finding("problem", topic, str(error), error.hint))
        return None


def read(ctx: InstanceContext) -> tuple[Situation, list[Finding]]:
    """Find out what can be found out; the rest is among the findings. From now on the context claims nothing."""
    from orienter_tasks.infra import choice

    findings: list[Finding] = []
    told = partial(_told, findings)
    ctx.claims = Unwritten()
    ctx.report = heard = _Heard()
    settings = told("settings", lambda: ctx.settings)
    dotenv = told(".env", lambda: read_dotenv(ctx.root / ".env"))
    claims = told("claims", ctx.claims.read)
    ready = settings is not None and dotenv is not None and claims is not None
    identity = told("instance", lambda: Identity(ctx.source_of_id, ctx.current.claim)) if ready else None
    config = told("variables", lambda: ctx.current.config) if identity is not None else None
    asked = told("backend", lambda: choice.wanted(ctx.settings, os.environ, ctx.options.backend)) if ready else None
    values, broken = dotenv or ({}, [])
    findings += [Finding("warning", "instance", text) for text in heard.warnings if not text.startswith(".env: ")]
    situation = Situation(
        root=ctx.root,
        tree=worktree.read(ctx.root),
        environ=dict(os.environ),
        book=ctx.claims,
        claims=tuple(claims or ()),
        settings=settings,
        identity=identity,
        config=config,
        asked=asked,
        dotenv=values,
        broken=tuple(broken),
    )
    return situation, findings
