"""The checksum agrees with the real `cksum` program."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.identity.allocation import cksum

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "",
    " ",
    "  two  spaces ",
    "\n",
    "feature-a-1",
    "é",
    "日本語",
    "🙂",
    "we ird $(x) 'é\"",
    "x" * 255,
    "y" * 70_000,
]


def by_program(contents: list[bytes], directory: Path) -> list[int]:
    """Ask the program for all at once."""
    for index, content in enumerate(contents):
        (directory / f"{index:05}").write_bytes(content)
    files = sorted(path.name for path in directory.iterdir())
    done = subprocess.run(["cksum", *files], cwd=directory, capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


def test_parity_with_the_program(tmp_path: Path) -> None:
    generator = random.Random(20_817)  # the same names in every run
    alphabet = "abcdefghijklmnopqrstuvwxyzABC0123456789-_./ éßñ中文🙂'\"$\\\n\t"
    names = ["".join(generator.choices(alphabet, k=generator.randrange(60))) for _ in range(1700)]
    contents = [name.encode() for name in [*NAMES, *names]]
    contents += [generator.randbytes(generator.randrange(700)) for _ in range(300)]
    assert [cksum(content) for content in contents] == by_program(contents, tmp_path)


@pytest.mark.parametrize(
    ("name", "slot"),
    [("feature-a-1", 5), ("feature-b-2", 4), ("feature-c-3", 6), ("feature-d-4", 5), ("feature-e-5", 9)],
)
def test_the_slots_of_the_bash_version(name: str, slot: int) -> None:
    assert cksum(name.encode()) % 9 + 1 == slot
