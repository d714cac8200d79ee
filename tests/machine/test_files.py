"""Only small regular files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orienter_tasks.machine.files import LARGEST, open_regular, read_small
from tests import strange


def test_a_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * LARGEST)
    (tmp_path / "link").symlink_to("file")
    assert read_small(tmp_path / "link") == b"x" * LARGEST


@pytest.mark.parametrize("kind", [kind for kind in strange.KINDS if kind != "garbage"])
def test_anything_else_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    strange.put(kind, tmp_path / "it")
    with pytest.raises(OSError, match="larger than 4 MB" if kind == "huge" else "not a regular file"):
        read_small(tmp_path / "it")


def test_what_is_replaced_between_the_look_and_the_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regular = Path(__file__).stat()
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(os, "stat", lambda *_: regular)
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "fifo")


def test_no_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "none")
