from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks.data import store
from orienter_tasks.data.manifest import Manifest, Part, decode, encode
from orienter_tasks.errors import CheckError, ConfigError, ConflictError, NotFoundError
from orienter_tasks.machine.state import snapshot_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = "shop"
PART = Part(component="postgres", server="postgres 16", facts={"database": "shop_0"}, size=7, files=1, digest="ab")
CONTENT = Manifest(
    project=PROJECT,
    instance=0,
    root="/src/shop",
    branch="main",
    commit="c0ffee",
    backend="embedded",
    token="t0",
    way="physical",
    created_at=1.0,
    parts=(PART,),
)


def make(name: str) -> None:
    with store.writing(PROJECT, name) as unfinished:
        (unfinished.place / "postgres").mkdir()
        store.finish(unfinished, CONTENT)


@contextlib.contextmanager
def ended_by(unfinished: store.Unfinished) -> Iterator[None]:
    yield
    store.finish(unfinished, CONTENT)


def names() -> list[str]:
    return [path.name for path in (snapshot_dir() / PROJECT).iterdir()]


def test_a_snapshot_is_listed_once_it_is_whole() -> None:
    with store.writing(PROJECT, "one") as unfinished:
        store.finish(unfinished, CONTENT)
        assert store.listed(PROJECT) == {}
        store.sweep(PROJECT)  # of another command, meanwhile
    assert store.listed(PROJECT) == {"one": CONTENT}
    with store.reading(PROJECT, "one") as (place, content):
        assert (place, content) == (store.place_of(PROJECT, "one"), CONTENT)
    assert store.listed("other") == {}


def test_the_snapshots_of_all_projects() -> None:
    assert store.of_all_projects() == []
    make("one")
    make("damaged")
    (store.place_of(PROJECT, "damaged") / "manifest.json").write_text("{")
    (snapshot_dir() / "no directory").touch()
    assert store.of_all_projects() == [CONTENT]


def test_what_fails_leaves_nothing() -> None:
    with pytest.raises(ValueError, match="disk"), store.writing(PROJECT, "one"):
        raise ValueError("disk")
    assert names() == []


def test_what_was_killed_is_never_listed_and_removed_by_the_next_command() -> None:
    make("one")
    for left in (".two.abc", "three"):
        place = snapshot_dir() / PROJECT / left
        place.mkdir()
        (place / "postgres").write_text("half", encoding="ascii")
    (snapshot_dir() / PROJECT / "a file").touch()
    assert list(store.listed(PROJECT)) == ["one"]
    make("four")
    assert sorted(names()) == ["a file", "four", "one"]


def test_a_name_is_taken_once() -> None:
    make("one")
    with pytest.raises(ConflictError, match="has a snapshot one already"), store.writing(PROJECT, "one"):
        pass
    with (
        pytest.raises(ConflictError, match="has a snapshot two already"),
        store.writing(PROJECT, "two") as unfinished,
        ended_by(unfinished),
    ):
        make("two")
    assert sorted(names()) == ["one", "two"]
    store.discard(PROJECT, "one")
    assert names() == ["two"]


def test_one_in_use_is_not_removed() -> None:
    make("one")
    with store.reading(PROJECT, "one"), store.reading(PROJECT, "one"):
        with pytest.raises(ConflictError, match="snapshot one is in use by another process"):
            store.discard(PROJECT, "one")
        assert names() == ["one"]
    store.discard(PROJECT, "one")
    assert not (snapshot_dir() / PROJECT).exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".one", "-rf", "a b", "main", "empty", "auto-1", "x" * 101, "é"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a snapshot"):
        store.require_name(name)


@pytest.mark.parametrize("name", ["one", "../shop/one", ".", ""])
def test_one_that_is_not_there(name: str) -> None:
    make("two")
    with pytest.raises(NotFoundError, match="shop has no snapshot"):
        store.load(PROJECT, name)
    with pytest.raises(NotFoundError, match="shop has no snapshot"), store.reading(PROJECT, name):
        pass
    with pytest.raises(NotFoundError, match="shop has no snapshot"):
        store.discard(PROJECT, name)


def test_free_names_differ() -> None:
    make(one := store.free_name(PROJECT, "auto-3-"))
    assert store.free_name(PROJECT, "auto-3-") != one


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert decode(encode(CONTENT), "it") == CONTENT
    assert CONTENT.size == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        encode(CONTENT)[:-9],
        encode(msgspec.structs.replace(CONTENT, parts=(PART,))).replace(b'"postgres",', b'"../x",'),
    ],
)
def test_a_damaged_manifest(content: bytes) -> None:
    with pytest.raises(CheckError, match="snapshot one is damaged"):
        decode(content, "snapshot one")


def test_a_manifest_of_a_newer_version() -> None:
    make("one")
    (store.place_of(PROJECT, "one") / "manifest.json").write_text('{"schema_version": 2, "new": 1}', encoding="ascii")
    found = store.listed(PROJECT)["one"]
    assert isinstance(found, ConfigError)
    assert (str(found), found.hint) == (
        "snapshot one has schema version 2, this program knows 1",
        "update orienter-tasks",
    )
    store.discard(PROJECT, "one")
