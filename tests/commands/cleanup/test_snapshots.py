from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from orienter_tasks.commands.cleanup.model import Resource, Scope
from orienter_tasks.commands.cleanup.snapshots import SNAPSHOT
from orienter_tasks.data import store
from tests.data.test_store import CONTENT, PROJECT


def find(scope: Scope) -> list[Resource]:
    reading: Any = SimpleNamespace(view=SimpleNamespace(project=PROJECT), scope=scope)
    return list(SNAPSHOT.find(reading))


def make(name: str, at: float, *, token: str = "t0", automatic: bool = True) -> None:
    with store.writing(PROJECT, name) as unfinished:
        made = msgspec.structs.replace(CONTENT, created_at=at, token=token, automatic=automatic)
        store.finish(unfinished, made)


def test_the_newest_three_automatic_ones_of_each_checkout_stay() -> None:
    for number in range(5):
        make(f"auto-{number}", number)
        make(f"other-{number}", number, token="t1")
        make(f"named-{number}", number, automatic=False)
    found = find(Scope("weekly"))
    assert [each.name for each in found] == ["auto-1", "other-1", "auto-0", "other-0"]
    assert {each.size for each in found} == {CONTENT.size}
    assert [each.token for each in found] == ["t0", "t1"] * 2


def test_a_cleanup_of_a_name_finds_all() -> None:
    make("auto-0", 0)
    make("named", 1, automatic=False)
    assert {each.name for each in find(Scope("all"))} == {"auto-0", "named"}
