"""Removing a directory follows no link at any level; its size counts what is in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import CheckError
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


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
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
