"""Ask which instance a checkout is, as a command does, but without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from orienter_tasks.identity.allocation import IdRequest
from orienter_tasks.identity.claims import Claim, Claims
from orienter_tasks.identity.ownership import MARKER
from orienter_tasks.identity.resolve import resolve, source_of_id

if TYPE_CHECKING:
    from orienter_tasks.settings.model import Settings


@dataclass(frozen=True)
class Answer:
    """Which instance a checkout is, what decided on its id, and what the user was told."""

    claim: Claim
    source: str
    notes: tuple[str, ...]


def request(root: Path, settings: Settings, notes: list[str] | None = None, **others: Any) -> IdRequest:
    known: dict[str, Any] = {
        "environ": {},
        "dotenv": {},
        "unbindable": lambda port, backend: False,
        "leftovers": lambda claim: True,
    }
    note = notes.append if notes is not None else pytest.fail
    return IdRequest(root=root, settings=settings, note=note, **{**known, **others})


class Ask(Protocol):
    def __call__(self, root: Path, settings: Settings | None = None, **others: Any) -> Answer: ...


@pytest.fixture
def ask(settings: Settings) -> Ask:
    """Ask which instance a checkout is. Unless told, every former claim has left something."""
    default = settings

    def resolve_it(root: Path, settings: Settings | None = None, **others: Any) -> Answer:
        notes: list[str] = []
        asked = request(root, settings or default, notes, **others)
        source = source_of_id(asked, Claims().read())
        return Answer(resolve(asked, Claims()), source, tuple(notes))

    return resolve_it


def write_marker(identity: Answer) -> None:
    """Leave the claim's token in DATA_DIR, as every start does."""
    marker = Path(identity.claim.root) / f".dev-data/instance-{identity.claim.id}" / MARKER
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(identity.claim.token + "\n", encoding="utf-8")
