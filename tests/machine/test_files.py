"""Only small regular files are read."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from orienter_tasks.machine.files import LARGEST, open_regular, read_pipe, read_small
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


@pytest.mark.parametrize("size", [1, 200_000])
def test_a_pipe_is_read_until_its_writer_closes_it(tmp_path: Path, size: int) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        time.sleep(0.1)
        with path.open("wb") as file:
            file.write(b"x" * size)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_pipe(path, 5) == b"x" * size
    writer.join()


def test_a_pipe_of_which_nothing_comes_is_an_error_in_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"within 0.2 s"):
        read_pipe(tmp_path / "pipe", 0.2)
    with (tmp_path / "pipe").open("r+b", buffering=0) as file:  # open for writing, and never closed
        file.write(b"half")
        with pytest.raises(OSError, match=r"within 0.2 s"):
            read_pipe(tmp_path / "pipe", 0.2)
    assert time.monotonic() - begun < 2
    with pytest.raises(OSError, match="not a named pipe"):
        read_pipe(Path(__file__), 1)
