from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.data import tree
from orienter_tasks.data.manifest import Content, Part
from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {"a": b"1", "empty": b"", "deep/er/b": b"2" * 3_000_000, "odd \n name": b"3", "deep/.temp-1": b"4"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A snapshot's directory, with the data of a component."""
    for name, content in FILES.items():
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "store" / "bucket").mkdir()
    (tmp_path / "store" / "a").chmod(0o640)
    os.utime(tmp_path / "store" / "a", ns=(1, 123_456_789))
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def part(content: Content) -> Part:
    return Part(component="store", server="s", size=content.size, files=content.files, digest=content.digest)


def test_a_copy_has_everything_but_what_is_left_out(place: Path) -> None:
    tree.copy(place / "store", place / "copy", leave_out=lambda name: name.startswith(".temp-"))
    assert contents(place / "copy") == {name: content for name, content in FILES.items() if name != "deep/.temp-1"}
    assert (place / "copy" / "bucket").is_dir()
    status = (place / "copy" / "a").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 123_456_789)


def test_neither_is_written_through_the_other(place: Path) -> None:
    tree.copy(place / "store", place / "copy")
    for written, other in (("copy", "store"), ("store", "copy")):
        with (place / written / "deep/er/b").open("r+b") as file:
            file.write(b"changed")
        assert (place / other / "deep/er/b").stat().st_nlink == 1
    assert (place / "store" / "deep/er/b").stat().st_ino != (place / "copy" / "deep/er/b").stat().st_ino
    (place / "copy" / "a").write_bytes(b"other")
    assert (place / "store" / "a").read_bytes() == b"1"


def test_where_files_cannot_share_blocks_they_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    tree.copy(place / "store", place / "copy")
    assert contents(place / "copy") == FILES


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo], ids=["link", "pipe"])
def test_what_is_neither_a_file_nor_a_directory_is_refused(place: Path, make: Callable[[Path], None]) -> None:
    make(place / "store" / "deep" / "odd")
    with pytest.raises(CheckError, match="deep/odd is neither a file nor a directory"):
        tree.copy(place / "store", place / "copy")


def test_checksums(place: Path) -> None:
    content = tree.write_checksums(place, "store")
    assert (content.size, content.files) == (sum(map(len, FILES.values())), len(FILES))
    tree.verify(place, part(content), "snapshot one")


def test_checksums_of_an_archive(place: Path) -> None:
    (place / "other.tar").write_bytes(b"archive")
    content = tree.write_checksums(place, "other")
    assert (content.size, content.files) == (7, 1)


def flip(place: Path) -> None:
    with (place / "store/deep/er/b").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"3")


def swap_names(place: Path) -> None:
    (place / "store/a").rename(place / "store/z")


def edit_list(place: Path) -> None:
    path = place / "store.sha256"
    path.write_bytes(path.read_bytes().replace(b"store/a", b"store/A"))


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        swap_names,
        edit_list,
        lambda place: (place / "store/empty").unlink(),
        lambda place: (place / "store/new").touch(),
        lambda place: (place / "store.sha256").unlink(),
        lambda place: (place / "store/a").unlink() or (place / "store/a").symlink_to("/etc/passwd"),
    ],
)
def test_damage_is_noticed(place: Path, harm: Callable[[Path], None]) -> None:
    content = tree.write_checksums(place, "store")
    harm(place)
    with pytest.raises(CheckError, match="snapshot one is damaged"):
        tree.verify(place, part(content), "snapshot one")
