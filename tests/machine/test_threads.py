from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.threads import map_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable


def test_each_begins_once_the_one_before_it_lets_it_and_beside_its_rest() -> None:
    seen: list[str] = []
    second_began = threading.Event()

    def work(item: str, go_on: Callable[[], None]) -> str:
        seen.append(f"{item} begins")
        if item == "second":
            second_began.set()
        seen.append(f"{item} lets the next begin")
        go_on()
        assert second_began.wait(10)
        return item.upper()

    assert map_in_turn(work, ["first", "second"]) == ["FIRST", "SECOND"]
    assert seen == [f"{item} {what}" for item in ("first", "second") for what in ("begins", "lets the next begin")]


@pytest.mark.parametrize("at_once", [True, False])
def test_after_an_error_nothing_begins_and_what_runs_is_waited_for(*, at_once: bool) -> None:
    failing, ended = threading.Event(), threading.Event()

    def work(item: int, go_on: Callable[[], None]) -> None:
        if item == 1:
            go_on()
            assert failing.wait(10)
            ended.set()
            return
        failing.set()
        assert item == 2, "it began after an error"
        if not at_once:
            go_on()
        raise ValueError(item)

    with pytest.raises(ValueError, match="2"):
        map_in_turn(work, [1, 2] if not at_once else [1, 2, 3])
    assert ended.is_set()
