"""An existing `.env` that is completed: what is added and generated, and that every other byte stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.instance.dotenv import complete, read_dotenv
from orienter_tasks.machine import worktree

if TYPE_CHECKING:
    from pathlib import Path

ODD = "\ufeff# mine\n\n  export A = 1  # one\nno assignment\nB='two\nlines'\nB=\"3\"\n\tC=é\n"


def completed(root: Path, text: str, example: str, settled: tuple[str, ...] = ()) -> bytes:
    path = root / ".env"
    path.write_bytes(text.encode())
    (root / ".env.example").write_bytes(example.encode())
    complete(worktree.read(root), dict, lambda: settled)
    return path.read_bytes()


@pytest.mark.parametrize("text", [ODD, ODD.rstrip("\n"), "", "A=1", ODD.replace("\n", "\r\n")])
def test_what_is_there_stays_byte_by_byte(tmp_path: Path, text: str) -> None:
    assert completed(tmp_path, text, "A=9\n" if text else "") == text.encode()
    end = "\r\n" if "\r" in text else "\n"
    gap = "" if text.endswith("\n") or not text else end
    assert completed(tmp_path, text, "# about D\nexport D='x y' # why\n") == (
        f"{text}{gap}export D='x y' # why{end}".encode()
    )


@pytest.mark.parametrize("written", ["change-me", "'change-me'", '"change-me" # later', "  <secret>"])
def test_only_the_placeholder_is_replaced(tmp_path: Path, written: str) -> None:
    before, after = "A=change-me\nMY_SECRET=", "\nB=change-me\n"
    made = completed(tmp_path, f"{before}{written}{after}", "").decode()
    assert made.startswith(before)
    assert made.endswith(after)
    secret = read_dotenv(tmp_path / ".env")[0]["MY_SECRET"]
    assert len(secret) > 20
    assert made == f"{before}{written.replace('change-me', secret).replace('<secret>', secret)}{after}"


def test_what_data_was_made_with_stays(tmp_path: Path) -> None:
    text, settled = "POSTGRES_PASSWORD=change-me\n", ("POSTGRES_PASSWORD", "POSTGRES_DB")
    assert completed(tmp_path, text, "POSTGRES_DB=x\nD=1\n", settled) == f"{text}D=1\n".encode()


def test_the_mode_stays_and_a_link_is_followed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_text("A=1\n")
    shared.chmod(0o640)
    root = tmp_path / "checkout"
    root.mkdir()
    (root / ".env").symlink_to(shared)
    completed(root, "A=1\n", "B=2\nAI_INSTANCE_ID=3\n")
    assert (root / ".env").is_symlink()
    assert shared.read_text() == "A=1\nB=2\n"
    assert shared.stat().st_mode & 0o777 == 0o640
