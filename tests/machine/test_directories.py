"""Removing a directory follows no link at any level; its size counts what is in it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import CheckError, InterruptError
from orienter_tasks.machine import signals
from orienter_tasks.machine.directories import LINKED, remove, size_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """What nobody may touch."""
    made = tmp_path / "elsewhere"
    (made / "data").mkdir(parents=True)
    (made / "data" / "precious").write_text("kept")
    return made


def test_a_directory_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "file").write_text("x")
    assert remove(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not remove(tmp_path / "data")


def test_links_within_and_the_link_itself_go_but_not_what_they_point_to(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(elsewhere / "data")
    (tmp_path / "nowhere").symlink_to(tmp_path / "not-there")
    for name in ("data", "link", "nowhere"):
        assert remove(tmp_path / name)
        assert not os.path.lexists(tmp_path / name)
    assert (elsewhere / "data" / "precious").read_text() == "kept"


@pytest.mark.parametrize("name", ["data", "data/precious", "not-there"])
def test_nothing_is_removed_through_a_link(tmp_path: Path, elsewhere: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(elsewhere)
    if name == "not-there":
        assert not remove(tmp_path / "link" / name)
    else:
        with pytest.raises(CheckError, match=LINKED):
            remove(tmp_path / "link" / name)
    assert (elsewhere / "data" / "precious").read_text() == "kept"


def test_nothing_is_removed_through_a_link_that_appears_meanwhile(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parent" / "data").mkdir(parents=True)

    def swap(path: object) -> bool:
        (tmp_path / "parent").rename(tmp_path / "former")
        (tmp_path / "parent").symlink_to(elsewhere)
        return bool(path)

    monkeypatch.setattr(os.path, "lexists", swap)
    with pytest.raises(CheckError, match=LINKED):
        remove(tmp_path / "parent" / "data")
    assert (elsewhere / "data" / "precious").read_text() == "kept"


def test_a_directory_that_becomes_a_link_meanwhile(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "inner" / "data").mkdir(parents=True)
    original = os.listdir

    def swap(directory: int) -> list[str]:
        names = original(directory)
        if names == ["inner"]:
            (tmp_path / "data" / "inner").rename(tmp_path / "former")
            (tmp_path / "data" / "inner").symlink_to(elsewhere)
        return names

    monkeypatch.setattr(os, "listdir", swap)
    assert remove(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert (elsewhere / "data" / "precious").read_text() == "kept"


def test_a_deep_directory(tmp_path: Path) -> None:
    """As deep as the longest key of an object."""
    parent = os.open(tmp_path, os.O_RDONLY)
    for _ in range(512):
        os.mkdir("a", dir_fd=parent)
        child = os.open("a", os.O_RDONLY, dir_fd=parent)
        os.close(parent)
        parent = child
    os.close(parent)
    assert remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_nothing_more_is_removed_after_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "file").write_text("x")
    monkeypatch.setattr(signals, "_unheard", [InterruptError("terminated")])
    with pytest.raises(InterruptError):
        remove(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["deep", "file"]


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "rmdir", refuse)
    (tmp_path / "data").mkdir()
    with pytest.raises(CheckError, match=f"{tmp_path / 'data'} cannot be removed: Permission denied"):
        remove(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_directory_that_cannot_be_removed_is_one_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o500)
    try:
        with pytest.raises(CheckError, match="cannot be removed"):
            remove(closed)
    finally:
        closed.chmod(0o700)


def test_a_directory_that_fills_while_it_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "busy"
    directory.mkdir()

    def write() -> None:
        for number in range(200):
            with contextlib.suppress(OSError):
                (directory / f"file-{number}").write_text("x")

    writer = threading.Thread(target=write)
    writer.start()
    remove(directory)
    writer.join()
    remove(directory)
    assert not directory.exists()


def test_its_size(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "data" / "deep" / "file").write_bytes(b"x" * 20)
    assert size_of(tmp_path / "data") == 1020
    (tmp_path / "data" / "away").symlink_to("/")
    assert size_of(tmp_path / "data") == 1020
    assert size_of(tmp_path / "not-there") == 0


def test_a_size_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert size_of(tmp_path / "link") is None
    assert size_of(tmp_path, within=-1.0) is None
