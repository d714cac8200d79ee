"""Copies where no room is left: refused before anything starts where sizes are known, else rolled back."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.state import snapshot_dir
from tests.faults.lab import has, put
from tests.integration.small import complaint, connected, states
from tests.integration.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.lab import MakeFaultHost
    from tests.integration.checkouts import Checkout

ROOM = "185m"
ROWS = "CREATE TABLE filled AS SELECT n, repeat('x', 1000) AS text FROM generate_series(1, 25000) n"


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small file system, for the data of embedded servers and for snapshots."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(place)], check=True)
    monkeypatch.setenv("ORIENTER_VOLUME_DIR", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def refused(checkout: Checkout, place: Path, *words: str) -> None:
    line = complaint(checkout.inv(*words, code=1))
    assert " needs " in line
    assert f" MB in {place}" in line
    assert " are free" in line


@pytest.mark.root
@pytest.mark.embedded
def test_no_room(small_disk: Path, make_host: MakeFaultHost, tmp_path: Path) -> None:
    host = make_host()
    main, (other,) = host.main, host.worktrees(1)
    file = str(tmp_path / "data.tar")
    main.inv("dev", "--detach", "--quiet")
    put(main, "one")
    with connected(main) as connection:
        connection.run(ROWS)
        main.inv("data.export", file)
        assert "copied" not in main.inv("data.snapshot", "whole").err
        refused(main, small_disk, "data.snapshot", "more", "--quiesce")
        refused(main, small_disk, "data.restore", "whole", "--yes")
        refused(other, small_disk, "data.clone")
        refused(other, small_disk, "dev", "--detach", "--data", "whole")
        assert all(states(main).values())
        # compressed, its size does not show what it needs
        assert "No space left" in main.inv("data.import", file, "--yes", "--no-backup", code=1).err
        assert connection.run("SELECT text FROM kept") == [["one"]]
        assert [path.name for path in snapshot_dir().glob("*/.*")] == []
        assert not list((main.path / ".dev-data").glob("test-*"))
    assert host.running_of(other) == []
    main.inv("data.rm", "whole", "--yes")
    has(main, "one")
    with Terminal(main, "data.snapshot", "drawn") as terminal:
        assert terminal.end() == 0, terminal.seen
        assert re.search(r"0 kB of about \d+ MB copied", terminal.seen)
