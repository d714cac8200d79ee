"""Standard streams that are closed, or cannot write every character."""

from __future__ import annotations

import os
import subprocess

import pytest

from orienter_tasks.machine.streams import silence
from tests import programs


def test_a_silenced_descriptor_takes_everything() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    silence(writer)
    assert os.write(writer, b"x") == 1
    os.close(writer)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_takes_everything(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *programs.command("prepared_streams")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"" if ">&-" in closed.split() else b"??\n")
    assert done.stderr == (b"" if "2>&-" in closed else b"said\n")
