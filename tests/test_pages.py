"""What CONTRIBUTING.md and ARCHITECTURE.md point at, held against the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import orienter_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(orienter_tasks.__file__).parent
ROOT = PACKAGE.parent
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
PATH = re.compile(r"(?:[\w.*-]+/)+[\w.*-]*|[\w.*-]+\.(?:py|md)")


def lines(page: str) -> Iterator[str]:
    """Return a page's lines outside blocks of code."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    yield from text.splitlines()


def paths(line: str) -> list[str]:
    """Return the paths that a line names in code spans and links; NAME stands for any name."""
    spans = [one or other for one, other in re.findall(r"`([^`]+)`|\]\(([^)#:]+)\)", line)]
    words = [word.rstrip(":").replace("NAME", "*") for span in spans for word in span.split()]
    return [word for word in words if PATH.fullmatch(word)]


def exists(path: str, line: str) -> bool:
    """Whether a path is in the repository, its package, or the folder that the line names first."""
    folders = [ROOT, PACKAGE, PACKAGE / paths(line)[0]]
    return any(found for folder in folders if folder.is_dir() for found in folder.glob(path))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    named = [(path, line) for line in lines(page) for path in paths(line)]
    assert len(named) > 20
    assert [path for path, line in named if not exists(path, line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_is_in_the_module_that_it_is_said_to_be_in(page: str) -> None:
    text = " ".join(lines(page))
    named = [(name, path) for name, path in re.findall(r"`(\w+)` (?:of|in) `([\w/]+\.py)`", text)]
    named += [(name, path) for path, name in re.findall(r"`([\w/]+\.py): (\w+)`", text)]
    assert named
    for name, path in named:
        module = next(folder / path for folder in (ROOT, PACKAGE) if (folder / path).is_file())
        assert re.search(rf"\b{name}\b", module.read_text(encoding="utf-8")), f"{name} in {path}"
