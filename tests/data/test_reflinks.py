"""Copies on file systems whose files can share blocks: real ones, mounted from an image in a file."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.data import room, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAKE = {"btrfs": ("mkfs.btrfs", "-q"), "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1")}
IMAGE, CONTENT, LITTLE = 400 * 2**20, 64 * 2**20, 8 * 2**20


@pytest.fixture(params=MAKE)
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory of such a file system."""
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE)
    for command in ([*MAKE[request.param], str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"there is no {command[0]}")
        if done.returncode != 0:
            pytest.skip(f"{command[0]}: {' '.join(done.stderr.split())}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def free(place: Path) -> int:
    """The bytes that are free, with everything written."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        subprocess.run(["sync", "-f", str(place)], check=True)
        found = os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)
    return found.f_bfree * found.f_frsize


def test_a_copy_shares_blocks_until_one_is_written_to(mounted: Path) -> None:
    source, copied = mounted / "source" / "big", mounted / "copied" / "big"
    source.parent.mkdir()
    source.write_bytes(os.urandom(CONTENT))
    assert room.shares_blocks(source.parent, copied.parent)
    assert not room.shares_blocks(source.parent, mounted.parent)
    before = free(mounted)
    tree.copy(source.parent, copied.parent)
    assert before - free(mounted) < LITTLE
    assert source.read_bytes() == copied.read_bytes()
    with copied.open("r+b") as file:
        file.write(bytes(2**20))
    with source.open("r+b") as file:
        file.seek(2**20)
        file.write(bytes(2**20))
    assert source.read_bytes()[: 2**20] != bytes(2**20) == copied.read_bytes()[: 2**20]
    assert source.read_bytes()[2**20 : 2**21] == bytes(2**20) != copied.read_bytes()[2**20 : 2**21]
    assert before - free(mounted) < LITTLE
