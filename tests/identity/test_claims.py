"""The claims file: private, replaced whole, left alone where it cannot be understood."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.identity.claims import Claim, Claims, all_taken, in_the_way, new_token
from orienter_tasks.machine.state import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path


def claim(number: int = 1, root: str = "/home/me/repo", **fields: Any) -> Claim:
    known: dict[str, Any] = {
        "token": new_token(),
        "project": "orienter",
        "worktree": "repo",
        "main_root": root,
        "git_dir": "",
        "device": 1,
        "ports": {"nginx": 80 + number * 1000},
    }
    return Claim(id=number, root=root, **{**known, **fields})


@pytest.fixture
def path(isolated: Path) -> Path:
    """The claims file."""
    isolated.mkdir(mode=0o700)
    return isolated / "claims.json"


def test_without_a_file_there_are_no_claims(isolated: Path) -> None:
    assert Claims().read() == []
    assert not isolated.exists()


def test_what_was_added_is_read_again(path: Path) -> None:
    first = claim(3, "/home/me/é we ird $(x) 'q\"", former_roots=("/home/me/old",), placed="docker", moved={"nginx": 1})
    with Claims().changing() as book:
        book.append(first)
        book.append(claim(1))
    assert [held.id for held in Claims().read()] == [1, 3]
    assert Claims().read()[1] == first
    assert first.roots == ("/home/me/é we ird $(x) 'q\"", "/home/me/old")


def test_file_and_directory_are_private(isolated: Path) -> None:
    with Claims().changing() as book:
        book.append(claim())
    assert stat.S_IMODE(isolated.stat().st_mode) == 0o700
    assert stat.S_IMODE((isolated / "claims.json").stat().st_mode) == 0o600
    assert sorted(file.name for file in isolated.iterdir()) == ["claims.json", "locks"]


def test_an_error_changes_nothing(path: Path) -> None:
    with Claims().changing() as book:
        book.append(claim(1))
    before = path.read_bytes()

    def fail() -> None:
        with Claims().changing() as book:
            book.clear()
            raise ConflictError("no")

    with pytest.raises(ConflictError):
        fail()
    assert path.read_bytes() == before


def test_no_change_writes_nothing(path: Path) -> None:
    with Claims().changing() as book:
        book.append(claim(1))
    before = path.stat().st_ino
    with Claims().changing():
        pass
    assert path.stat().st_ino == before


def test_the_file_is_replaced_not_rewritten(path: Path) -> None:
    with Claims().changing() as book:
        book.append(claim(1))
    with path.open("rb") as reader:
        before = path.read_bytes()
        with Claims().changing() as book:
            book.append(claim(2))
        assert reader.read() == before
    assert len(Claims().read()) == 2


def test_update_and_release(path: Path) -> None:
    one, two = claim(1), claim(2)
    with Claims().changing() as book:
        book.extend([one, two])
    changed = Claims().update(one.token, used_at=7.0)
    assert changed is not None
    assert changed.used_at == 7.0
    assert Claims().read() == [changed, two]
    Claims().release(one.token)
    Claims().release("never there")
    assert Claims().read() == [two]
    assert Claims().update(one.token, used_at=8.0) is None


GOOD = msgspec.to_builtins(claim(1))


def as_file(*claims: object, version: object = SCHEMA_VERSION) -> bytes:
    return msgspec.json.encode({"schema_version": version, "claims": claims})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "claims": {}}',
        b'{"schema_version": 1, "x": "\xff"}',
        b'{"schema_version": 1, "x": ' + b"[" * 100_000,
        as_file(GOOD)[:-30],
        as_file(5),
        as_file({}),
        as_file(GOOD, {**GOOD, "id": "1"}),
        as_file({**GOOD, "ports": {"nginx": "80"}}),
        as_file(GOOD, version=2),
        as_file(GOOD, version="1"),
        as_file({"quite": "different"}, version=99),
        as_file({**GOOD, "id": -1}),
        as_file({**GOOD, "id": 57}),
        as_file({**GOOD, "root": "/"}),
        as_file({**GOOD, "root": "//"}),
        as_file({**GOOD, "root": "/home/.."}),
        as_file({**GOOD, "root": "/home/../etc"}),
        as_file({**GOOD, "root": "relative"}),
        as_file({**GOOD, "root": ""}),
        as_file({**GOOD, "former_roots": ["/"]}),
        as_file({**GOOD, "former_roots": ["here"]}),
        as_file({**GOOD, "project": ""}),
        as_file({**GOOD, "project": "../x"}),
        as_file({**GOOD, "project": "a b"}),
        as_file({**GOOD, "project": "é"}),
    ],
)
def test_what_cannot_be_understood_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Claims().read()
    assert len(caught.value.line().splitlines()) == 1
    with pytest.raises(ConfigError), Claims().changing() as book:
        book.append(claim(2))
    with pytest.raises(ConfigError):
        Claims().release("any")
    assert path.read_bytes() == content


def test_a_newer_file_says_so(path: Path) -> None:
    path.write_bytes(as_file(version=2))
    with pytest.raises(ConfigError, match=r"schema version 2, this program knows 1") as caught:
        Claims().read()
    assert caught.value.hint == "update orienter-tasks"


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        Claims().read()


def test_a_path_that_is_no_text_is_told(path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8"), Claims().changing() as book:
        book.append(claim(1, "/home/me/\udcff"))
    assert not path.exists()


def test_in_the_way_is_the_same_id_or_one_of_the_same_ports() -> None:
    book = [claim(1), claim(2, project="shop", ports={"a": 9000, "b": 9001})]
    assert in_the_way(book, "orienter", 1, [5]) == book[0]
    assert in_the_way(book, "orienter", 2, [5]) is None
    assert in_the_way(book, "orienter", 2, [5, 9001]) == book[1]
    assert in_the_way(book, "shop", 2, []) == book[1]


def test_the_table_of_who_holds_what() -> None:
    error = all_taken([claim(2, "/b"), claim(1, "/a", claimed_at=86_400.0 * 365)], "orienter", 0, 2)
    assert error.exit_code == 4
    assert "0 to 2 of orienter" in error.line()
    assert [row.split()[0] for row in error.details] == ["1", "2"]
    assert error.details[0].endswith("since 1971-01-01  /a")
