"""How long a command waits for an engine: silence is added up, an answer in time and work are not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orienter_tasks.backends.docker import patience
from orienter_tasks.backends.docker.patience import Patience

LIMIT = 0.5


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LIMIT": LIMIT, "PROMPT": 0.1, "STEP": 0.01}.items():
        monkeypatch.setattr(patience, f"{name}_SECONDS", seconds)


def late(seconds: float) -> str:
    time.sleep(seconds)
    return "late"


def test_an_answer_and_an_error_are_handed_on() -> None:
    waiting = Patience(lambda: False)
    assert waiting.call(lambda: "at once", 0.0) == "at once"
    with pytest.raises(ZeroDivisionError):
        waiting.call(lambda: 1 // 0, 0.0)


def test_answers_in_time_are_no_silence() -> None:
    waiting = Patience(lambda: False)
    for _ in range(30):
        waiting.call(lambda: late(0.03), 0.0)
    assert not waiting.exhausted


def test_a_call_that_never_ends_is_given_up_and_no_other_is_made() -> None:
    waiting, never = Patience(lambda: False), threading.Event()
    asked: list[None] = []
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="silent"):
        waiting.call(never.wait, 0.0)
    assert LIMIT <= time.monotonic() - begun < LIMIT + 1
    with pytest.raises(TimeoutError, match="silent"):
        waiting.call(lambda: asked.append(None), 0.0)
    assert asked == []
    never.set()


def test_silence_is_the_sum_of_all_calls() -> None:
    waiting = Patience(lambda: False)
    waiting.call(lambda: late(0.3), 0.0)
    assert not waiting.exhausted
    with pytest.raises(TimeoutError):
        waiting.call(lambda: late(3), 0.0)


def test_calls_that_wait_at_the_same_time_count_once() -> None:
    waiting = Patience(lambda: False)
    with ThreadPoolExecutor(max_workers=4) as pool:
        assert set(pool.map(lambda _: waiting.call(lambda: late(0.3), 0.0), range(4))) == {"late"}


def test_an_engine_that_answers_others_is_busy_and_not_silent() -> None:
    waiting = Patience(lambda: False)
    with ThreadPoolExecutor(max_workers=1) as pool:
        slow = pool.submit(waiting.call, lambda: late(3 * LIMIT), 0.0)
        while not slow.done():
            waiting.call(lambda: late(0.05), 0.0)
    assert slow.result() == "late"
    assert not waiting.exhausted


@pytest.mark.parametrize("answers", [True, False])
def test_work_is_no_silence_as_long_as_pings_are_answered(answers: bool) -> None:
    waiting = Patience(lambda: answers)
    if answers:
        assert waiting.call(lambda: late(1.0), 5.0) == "late"
        assert not waiting.exhausted
        with pytest.raises(TimeoutError):
            waiting.call(lambda: late(5.0), 0.2)
    else:
        with pytest.raises(TimeoutError):
            waiting.call(lambda: late(5.0), 5.0)


@pytest.mark.parametrize("answers", [True, False])
def test_a_question_may_wait_for_what_the_engine_does(answers: bool) -> None:
    """As Podman's do about a container that it stops."""
    waiting = Patience(lambda: answers)
    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(waiting.call, lambda: late(1.5), 5.0)
        if answers:
            assert waiting.call(lambda: late(1.0), 0.0) == "late"
            assert not waiting.exhausted
        else:
            with pytest.raises(TimeoutError):
                waiting.call(lambda: late(1.0), 0.0)
        assert (work.exception() is None) is answers
    if answers:
        with pytest.raises(TimeoutError):
            waiting.call(lambda: late(1.0), 0.0)


def test_silence_is_forgiven_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Patience(lambda: False)
    with pytest.raises(TimeoutError):
        waiting.call(lambda: late(3.0), 0.0)
    assert waiting.exhausted
    monkeypatch.setattr(patience, "FORGIVEN_SECONDS", 0.0)
    assert waiting.call(lambda: "again", 0.0) == "again"
