"""The runner: order, failures, timeouts, and giving up without leaving anything behind."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from orienter_tasks.errors import CheckError, ConflictError, InterruptError, TimedOutError
from orienter_tasks.stack.component import Event, NotReadyError, SkippedError, State, tail
from orienter_tasks.stack.runner import TAIL_LINES, Runner, stop_all
from tests.stack.fakes import Diary, Fake, as_component, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orienter_tasks.stack.component import LogRequest, Note

GRACE = 5.0


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No test of the runner may end with one of its threads still running."""
    before = set(threading.enumerate())
    yield
    eventually(lambda: not {thread for thread in threading.enumerate() if thread.is_alive()} - before)


def failing(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


# starting


def test_what_needs_nothing_starts_at_once(diary: Diary) -> None:
    together = threading.Barrier(4, timeout=5)
    runner = Runner(diary.show)
    runner.add(Fake(name, diary, on_start=lambda note: void(together.wait())) for name in "abcd")
    runner.wait()
    assert sorted(diary.starting_with("start")) == list("abcd")
    assert set(runner.states.values()) == {State.READY}
    assert {component.name for component in runner.started} == set("abcd")


def test_a_component_that_is_not_to_run_keeps_nobody_waiting(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("b", diary, needs=["a"]), Fake("a", diary, on_start=failing(SkippedError("no token")))])
    runner.wait()
    assert runner.states == {"a": State.SKIPPED, "b": State.READY}
    assert runner.skipped == {"a": "no token"}
    assert [component.name for component in runner.started] == ["b"]


def void(_: object) -> None:
    """Drop an answer."""


def test_each_waits_only_for_what_it_needs(diary: Diary) -> None:
    slow = threading.Event()

    def not_yet() -> None:
        if not slow.is_set():
            raise NotReadyError("slow")

    runner = Runner(diary.show)
    runner.add(
        [
            Fake("c", diary, needs=["b"]),
            Fake("b", diary, needs=["a"], probes=2),
            Fake("a", diary, probes=2),
            Fake("z", diary, needs=["slow", "a"]),
            Fake("slow", diary, on_probe=not_yet),
        ]
    )
    runner.wait(["c"])
    assert "start z" not in diary.lines
    assert runner.states["slow"] is State.STARTING
    assert runner.states["z"] is State.WAITING
    slow.set()
    runner.wait()
    order = diary.lines
    assert order.index("ready a") < order.index("start b") < order.index("ready b") < order.index("start c")
    assert order.index("ready slow") < order.index("start z")


def test_who_needs_what_is_added_later_waits_for_it(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.expect(["late"])
    runner.add([Fake("a", diary, needs=["late"]), Fake("free", diary)])
    runner.wait(["free"])
    runner.wait(timeout=0.05)
    assert runner.states["a"] is State.WAITING
    runner.add([Fake("late", diary)])
    runner.wait()
    assert diary.lines.index("ready late") < diary.lines.index("start a")


def test_events_come_in_an_order_that_makes_sense(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("b", diary, needs=["a"]), Fake("a", diary, runs_already=True, on_start=lambda note: note("look"))])
    runner.wait()
    assert diary.states("a") == ["waiting", "starting", "starting", "ready"]
    assert diary.states("b") == ["waiting", "starting", "ready"]
    told = [(event.component, event.state) for event in diary.events]
    assert told.index(("a", State.READY)) < told.index(("b", State.STARTING))
    assert [event.detail for event in diary.events if event.component == "b"] == ["a", "", ""]
    assert [event.detail for event in diary.events if event.component == "a"][-2:] == ["look", "already running"]


def test_components_may_be_added_while_others_start(diary: Diary) -> None:
    gate = threading.Event()
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_start=lambda note: void(gate.wait(5)))])
    runner.add([Fake("b", diary, needs=["a"]), Fake("free", diary)])
    runner.wait(["free"])
    assert "start b" not in diary.lines
    gate.set()
    runner.wait()
    runner.add([Fake("c", diary, needs=["a", "b"])])
    runner.wait()
    assert diary.lines.index("ready b") < diary.lines.index("start c")


def test_nobody_waits_for_what_is_skipped_or_not_part_of_the_run(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.skip("slack", "SLACK_BOT_TOKEN is not set")
    runner.add([Fake("a", diary, needs=["slack", "never-added"])])
    runner.wait()
    assert runner.states == {"slack": State.SKIPPED, "a": State.READY}
    assert diary.events[0].detail == "SLACK_BOT_TOKEN is not set"


def test_a_run_without_components_is_ready() -> None:
    Runner(lambda event: None).wait()


# failing


def test_a_failure_keeps_what_needs_it_from_starting_and_is_named(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_start=failing(ConflictError("a is taken"))), Fake("b", diary, needs=["a"])])
    with pytest.raises(ConflictError, match="a is taken"):
        runner.wait()
    assert diary.states("a")[-1] == "failed"
    assert "a is taken" in [event.detail for event in diary.events if event.component == "a"]
    assert runner.abort(GRACE) == []
    assert diary.starting_with("start") == ["a"]
    assert diary.starting_with("stop") == []


def test_the_first_failure_counts(diary: Diary) -> None:
    runner = Runner(diary.show)
    first_failed = threading.Event()

    def second(note: Note) -> None:
        assert first_failed.wait(5)
        raise CheckError("second")

    runner.add([Fake("b", diary, on_start=second), Fake("a", diary, on_start=failing(CheckError("first")))])
    with pytest.raises(CheckError, match="first"):
        runner.wait()
    first_failed.set()
    eventually(lambda: diary.states("b")[-1] == "failed")
    with pytest.raises(CheckError, match="first"):
        runner.wait(["b"])


def test_a_failure_of_anything_ends_the_wait_for_anything_else(diary: Diary) -> None:
    gate = threading.Event()
    runner = Runner(diary.show)
    runner.add(
        [
            Fake("a", diary, on_start=lambda note: void(gate.wait(5))),
            Fake("b", diary, on_probe=failing(CheckError("b exited"))),
        ]
    )
    with pytest.raises(CheckError, match="b exited"):
        runner.wait(["a"])
    gate.set()
    assert runner.abort(GRACE) == []
    assert sorted(diary.starting_with("stop")) == ["a", "b"]


def test_a_bug_in_a_component_is_raised_as_it_is(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_start=failing(ZeroDivisionError("a bug")))])
    with pytest.raises(ZeroDivisionError):
        runner.wait()


def test_a_listener_that_fails_fails_the_run(diary: Diary) -> None:
    def broken(event: Event) -> None:
        raise BrokenPipeError("nobody reads")

    runner = Runner(broken)
    reported: list[object] = []
    hook, threading.excepthook = threading.excepthook, lambda args: reported.append(args.exc_type)
    try:
        runner.add([Fake("a", diary)])
        with pytest.raises(BrokenPipeError):
            runner.wait()
        eventually(lambda: bool(reported))
    finally:
        threading.excepthook = hook
    assert "start a" not in diary.lines


# timeouts


def test_what_is_not_ready_in_its_time_is_told_with_its_log(diary: Diary) -> None:
    clock = Clock()
    lines = [f"line {number}" for number in range(40)]
    slow = Fake("a", diary, probes=99, on_probe=lambda: clock.advance(4), lines=lines, timeout=10)
    runner = Runner(diary.show, clock=clock)
    runner.add([slow])
    with pytest.raises(TimedOutError) as caught:
        runner.wait()
    assert str(caught.value) == "a is not ready after 10 s: a says: not yet"
    assert caught.value.exit_code == 6
    assert "inv dev.logs -s a" in caught.value.hint
    assert list(caught.value.details) == lines[-TAIL_LINES:]
    assert clock.now == 112.0  # a first probe at once, and given up at the first one after 10 s
    assert [component.name for component in runner.started] == ["a"]
    assert runner.abort(GRACE) == []
    assert not slow.running


def test_the_run_may_have_a_timeout_for_all(diary: Diary) -> None:
    clock = Clock()
    runner = Runner(diary.show, timeout=1, clock=clock)
    runner.add([Fake("a", diary, probes=99, on_probe=lambda: clock.advance(2), timeout=1000)])
    with pytest.raises(TimedOutError, match="after 1 s"):
        runner.wait()


def test_a_long_start_is_not_counted(diary: Diary) -> None:
    clock = Clock()

    def pull(note: Note) -> None:
        note("pulling 40 %")
        clock.advance(600)

    runner = Runner(diary.show, clock=clock)
    runner.add([Fake("a", diary, on_start=pull, probes=3, timeout=10)])
    runner.wait()
    assert diary.states("a")[-1] == "ready"


def test_a_log_that_cannot_be_read_does_not_hide_the_timeout(diary: Diary) -> None:
    class Silent(Fake):
        def logs(self, request: LogRequest) -> Iterator[str]:
            raise CheckError("no log")

    runner = Runner(diary.show, timeout=0)
    runner.add([Silent("a", diary, probes=99)])
    with pytest.raises(TimedOutError) as caught:
        runner.wait()
    assert caught.value.details == ()


def test_readiness_is_asked_for_at_once_and_then_often(diary: Diary) -> None:
    asked: list[float] = []
    runner = Runner(diary.show)
    begun = time.monotonic()
    runner.add([Fake("a", diary, probes=5, on_probe=lambda: asked.append(time.monotonic() - begun))])
    runner.wait()
    assert asked[0] < 0.1
    assert len(asked) == 6
    assert asked[-1] < 1.0


# giving up


def test_only_what_this_run_started_is_stopped_in_reverse_order_of_need(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add(
        [
            Fake("a", diary),
            Fake("old", diary, runs_already=True),
            Fake("b", diary, needs=["a", "old"]),
            Fake("c", diary, needs=["b"]),
            Fake("d", diary, needs=["b"]),
        ]
    )
    runner.wait()
    assert runner.abort(GRACE) == []
    stopped = diary.starting_with("stop")
    assert sorted(stopped[:2]) == ["c", "d"]
    assert stopped[2:] == ["b", "a"]
    assert diary.states("c")[-2:] == ["stopping", "stopped"]
    assert runner.states == {
        "old": State.READY,
        **dict.fromkeys("abcd", State.STOPPED),
    }


def test_what_may_stop_together_does(diary: Diary) -> None:
    together = threading.Barrier(3, timeout=5)
    fakes = [Fake(name, diary, on_stop=lambda: void(together.wait())) for name in "abc"]
    assert stop_all(map(as_component, fakes), GRACE, diary.show) == []
    assert not [fake for fake in fakes if fake.running]


def test_a_blocked_start_is_told_through_its_note(diary: Diary) -> None:
    begun = threading.Event()

    def pull(note: Note) -> None:
        for percent in range(10_000):
            note(f"pulling {percent / 100} %")
            begun.set()
            time.sleep(0.002)

    runner = Runner(diary.show)
    pulling = Fake("a", diary, on_start=pull)
    runner.add([pulling, Fake("b", diary, needs=["a"])])
    assert begun.wait(5)
    before = time.monotonic()
    assert runner.abort(GRACE) == []
    assert time.monotonic() - before < 2
    assert diary.starting_with("stop") == []
    assert runner.states["a"] is State.STOPPED
    assert "start b" not in diary.lines
    assert not pulling.running


def test_an_interrupted_start_that_nobody_gave_up_is_a_failure(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_start=failing(InterruptError("told to end", signal_number=15)))])
    with pytest.raises(InterruptError) as caught:
        runner.wait()
    assert caught.value.exit_code == 143


def test_what_is_just_being_started_is_stopped(diary: Diary) -> None:
    within, gate = threading.Event(), threading.Event()

    def start(note: Note) -> None:
        within.set()
        gate.wait(5)

    fake = Fake("a", diary, on_start=start, probes=99)
    runner = Runner(diary.show)
    runner.add([fake])
    assert within.wait(5)
    threading.Timer(0.05, gate.set).start()
    assert runner.abort(GRACE) == []
    assert diary.lines == ["start a", "stop a"]
    assert not fake.running


def test_a_start_that_outlasts_the_grace_is_named_and_stops_itself(diary: Diary) -> None:
    within, gate = threading.Event(), threading.Event()

    def start(note: Note) -> None:
        within.set()
        gate.wait(5)

    fake = Fake("a", diary, on_start=start)
    runner = Runner(diary.show)
    runner.add([fake, Fake("b", diary)])
    assert within.wait(5)
    runner.wait(["b"])
    errors = runner.abort(0.05)
    assert [str(error) for error in errors] == ["a was still being started"]
    assert diary.starting_with("stop") == ["b"]
    gate.set()
    eventually(lambda: runner.states["a"] is State.STOPPED)
    assert diary.starting_with("stop") == ["b", "a"]
    assert not fake.running


def test_a_probe_that_outlasts_the_grace_does_not_bring_it_back(diary: Diary) -> None:
    within, gate = threading.Event(), threading.Event()

    def probe() -> None:
        within.set()
        gate.wait(5)
        raise CheckError("it exited")

    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_probe=probe)])
    assert within.wait(5)
    assert runner.abort(0.05) == []
    gate.set()
    time.sleep(0.02)
    assert runner.states["a"] is State.STOPPED
    assert diary.states("a")[-1] == "stopped"


def test_nothing_starts_once_the_run_was_given_up(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary)])
    runner.wait()
    runner.abort(GRACE)
    runner.add([Fake("b", diary), Fake("c", diary, needs=["a"])])
    time.sleep(0.05)
    assert diary.starting_with("start") == ["a"]
    with pytest.raises(InterruptError):
        runner.wait()


def test_what_was_about_to_start_does_not(diary: Diary) -> None:
    about, gate = threading.Event(), threading.Event()

    def listen(event: Event) -> None:
        diary.show(event)
        if event.state is State.STARTING:
            about.set()
            gate.wait(5)

    runner = Runner(listen)
    runner.add([Fake("a", diary)])
    assert about.wait(5)
    aborted: list[object] = []
    thread = threading.Thread(target=lambda: aborted.append(runner.abort(GRACE)))
    thread.start()
    time.sleep(0.02)
    gate.set()
    thread.join()
    assert aborted == [[]]
    assert diary.lines == []
    assert runner.states["a"] is State.STOPPED


def test_giving_up_ends_a_wait_elsewhere(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, probes=10_000)])
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            runner.wait()
        except InterruptError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.02)
    runner.abort(GRACE)
    thread.join(5)
    assert len(raised) == 1


def test_nothing_is_said_to_be_ready_once_the_run_was_given_up(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary, on_probe=runner.give_up)])
    with pytest.raises(InterruptError):
        runner.wait()
    assert runner.abort(GRACE) == []
    assert "ready" not in diary.states("a")


def test_giving_up_twice_does_no_harm(diary: Diary) -> None:
    runner = Runner(diary.show)
    runner.add([Fake("a", diary)])
    runner.wait()
    assert runner.abort(GRACE) == []
    assert runner.abort(GRACE) == []


def test_giving_up_at_any_moment_leaves_nothing(diary: Diary) -> None:
    generator = random.Random(7)
    for _ in range(60):
        fakes = [
            Fake("a", diary, probes=generator.randrange(2)),
            Fake("b", diary, on_start=lambda note: time.sleep(0.001)),
            Fake("c", diary, needs=["a"]),
            Fake("d", diary, needs=["a", "b"], on_start=lambda note: note("x")),
            Fake("e", diary, needs=["c"]),
            Fake("f", diary, needs=["d"], probes=1),
        ]
        runner = Runner(lambda event: None)
        runner.add(fakes)
        time.sleep(generator.choice([0, 0.0005, 0.002, 0.005, 0.02, 0.04, 0.06]))
        assert runner.abort(GRACE) == []
        count = len(diary.starting_with("start"))
        assert not [fake.name for fake in fakes if fake.running]
        time.sleep(0.002)
        assert not [fake.name for fake in fakes if fake.running]
        assert len(diary.starting_with("start")) == count


# stopping


def test_what_cannot_be_stopped_is_told_and_the_others_are_stopped(diary: Diary) -> None:
    survives = Fake("c", diary, needs=["b"], on_stop=failing(CheckError("c survives")))
    others = [Fake("a", diary), Fake("b", diary, needs=["a"])]
    runner = Runner(diary.show)
    runner.add([*others, survives])
    runner.wait()
    assert [str(error) for error in runner.abort(GRACE)] == ["c survives"]
    assert diary.starting_with("stop") == ["c", "b", "a"]
    assert runner.states["c"] is State.FAILED
    assert not [fake for fake in others if fake.running]


def test_a_bug_in_one_stop_does_not_keep_the_others_running(diary: Diary) -> None:
    others = [Fake("a", diary), Fake("b", diary, needs=["a"])]
    buggy = Fake("c", diary, needs=["b"], on_stop=failing(ZeroDivisionError("a bug")))
    runner = Runner(diary.show)
    runner.add([*others, buggy])
    runner.wait()
    with pytest.raises(ZeroDivisionError):
        runner.abort(GRACE)
    assert diary.starting_with("stop") == ["c", "b", "a"]
    assert not [fake for fake in others if fake.running]


def test_a_stop_waits_only_for_those_that_need_it(diary: Diary) -> None:
    stopped = threading.Event()
    base = Fake("base", diary, on_stop=stopped.set)
    slow = Fake("slow", diary, on_stop=lambda: seen.append(stopped.wait(20)))
    seen: list[bool] = []
    stop_all([base, slow, Fake("user", diary, needs=["base"])], GRACE, diary.show)
    assert seen == [True]


def test_needs_in_a_circle_cannot_be_stopped_and_that_is_told(diary: Diary) -> None:
    with pytest.raises(CheckError, match="circle: a, b"):
        stop_all([Fake("a", diary, needs=["b"]), Fake("b", diary, needs=["a"])], GRACE, diary.show)


def test_what_stands_outside_of_a_circle_is_stopped_all_the_same(diary: Diary) -> None:
    circle = [Fake("a", diary, needs=["b"]), Fake("b", diary, needs=["a", "base"])]
    with pytest.raises(CheckError, match="circle: a, b, base"):
        stop_all([*circle, Fake("base", diary), Fake("user", diary, needs=["a"])], GRACE, diary.show)
    assert diary.starting_with("stop") == ["user"]


def test_tail_gives_the_last_lines(diary: Diary) -> None:
    assert tail(Fake("a", diary, lines=["1", "2", "3"]), 2) == ["2", "3"]
