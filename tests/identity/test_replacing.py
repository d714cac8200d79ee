"""Two volumes are replaced as one, wherever that is interrupted; no server is needed for that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.errors import CheckError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.replacing import Files, Swap
from orienter_tasks.machine import flock

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.instance.model import Instance
    from tests.conftest import MakeInstance

BOTH = ("postgres", "minio")
FILES = Files("r1", ("app.db", "app.db-wal", "up", "gone.db"), ("app.db", "up", "in/new.db"))
CHANGES = ("rename", "unlink", "mkdir", "rmdir")


class Killed(BaseException):
    """The run ended here."""


def fill(place: Path, text: str) -> None:
    (place / volumes.FILES).mkdir(parents=True)
    (place / volumes.FILES / "row").write_text(text, encoding="ascii")


def texts(instance: Instance) -> list[str]:
    return [(volumes.working_dir(instance, name) / "row").read_text(encoding="ascii") for name in BOTH]


def names(instance: Instance) -> set[str]:
    return {path.name for path in volumes.home(instance).iterdir() if path.suffix != ".tmp"}  # its writer lives


def files(instance: Instance) -> list[str]:
    found = (path for path in instance.data_dir.rglob("*") if path.is_file())
    return sorted(f"{path.relative_to(instance.data_dir)} {path.read_text(encoding='ascii')}" for path in found)


OLD = ["app.db old", "app.db-wal old", "gone.db old", "other ", "up/a old"]
NEW = ["app.db new", "in/new.db new", "other ", "up/a new"]


@pytest.fixture
def instance(make_instance: MakeInstance) -> Instance:
    return make_instance(3)


@pytest.fixture
def replaced(instance: Instance) -> Callable[[], None]:
    """An instance that has data, and a run that replaces it."""
    for name in BOTH:
        fill(volumes.place(instance, name), "old")
        fill(replacing.prepared(instance, name, "r1"), "new")
    for base, text in ((instance.data_dir, "old"), (replacing.prepared_files(instance, "r1"), "new")):
        (base / "up").mkdir(parents=True)
        for name in ("app.db", "up/a", *(("app.db-wal", "gone.db") if text == "old" else ("in/new.db",))):
            (base / name).parent.mkdir(exist_ok=True)
            (base / name).write_text(text, encoding="ascii")
    (instance.data_dir / "other").touch()
    return lambda: replacing.swap(instance, Swap("r1", tuple(map(instance.volume, BOTH)), files=FILES))


def test_all_of_it_is_replaced(instance: Instance, replaced: Callable[[], None]) -> None:
    volumes.mark_done(instance, "migrate", {})
    replaced()
    assert not volumes.is_done(instance, "migrate", {})
    assert texts(instance) == ["new", "new"]
    assert names(instance) == {instance.volume(name) for name in BOTH}
    assert files(instance) == NEW


def test_files_that_cannot_have_their_place(instance: Instance, replaced: Callable[[], None]) -> None:
    (instance.data_dir / "in").write_text("old", encoding="ascii")
    with pytest.raises(CheckError, match=r"in is not a directory: in/new\.db cannot be there"):
        replaced()
    replacing.settle(instance)
    assert texts(instance) == ["old", "old"]
    assert files(instance) == sorted([*OLD, "in old"])


@pytest.mark.parametrize("number", range(26))
def test_wherever_a_run_is_killed(
    instance: Instance, replaced: Callable[[], None], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    left = [number]

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return change(*args, **options)

        return changed

    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, dying(getattr(os, name)))
        for name in (*CHANGES, "replace"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        try:
            replaced()
        except Killed:
            pass
        else:
            assert number > 20
    replacing.settle(instance)
    assert (texts(instance), files(instance)) in ((["old", "old"], OLD), (["new", "new"], NEW))
    assert names(instance) == {instance.volume(name) for name in BOTH}


def test_where_there_was_no_data(instance: Instance) -> None:
    fill(replacing.prepared(instance, "postgres", "r1"), "new")
    replacing.swap(instance, Swap("r1", (instance.volume("postgres"),)))
    assert names(instance) == {instance.volume("postgres")}


def test_what_another_run_prepares_stays(instance: Instance) -> None:
    place = replacing.prepared(instance, "postgres", "r2")
    fill(place, "new")
    with flock.hold(volumes.lock_of(place / volumes.FILES)):
        replacing.settle(instance)
        assert place.exists()
    replacing.settle(instance)
    assert not place.exists()


def test_the_directories_of_docker_volumes(instance: Instance) -> None:
    assert replacing.path_in("/data", instance, "minio") == "/data"
    replacing.swap(instance, Swap(directories={"postgres": "r1/data", "minio": "r1/data"}))
    replacing.swap(instance, Swap(directories={"minio": "r2/data"}))
    assert replacing.path_in("/data", instance, "minio") == "/data/r2/data"
    assert replacing.path_in("/pg", instance, "postgres") == "/pg/r1/data"
    (volumes.home(instance) / volumes.REPLACED).write_text("?", encoding="ascii")
    with pytest.raises(CheckError, match=r"replaced\.json cannot be read"):
        replacing.directory_in(instance, "minio")


def test_a_damaged_note_is_not_guessed_at(instance: Instance, replaced: Callable[[], None]) -> None:
    del replaced
    (volumes.home(instance) / volumes.SWAP).write_text("?", encoding="ascii")
    with pytest.raises(CheckError, match=r"swap\.json cannot be read"):
        replacing.settle(instance)
    assert texts(instance) == ["old", "old"]
