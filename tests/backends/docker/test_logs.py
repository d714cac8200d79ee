from __future__ import annotations

from hypothesis import given, strategies as st

from orienter_tasks.backends.docker.logs import lines


def test_lines_are_put_together_from_frames() -> None:
    frames = [(1, b"one\ntw"), (2, b"error\r\n"), (1, b"o\n\n"), (2, b"no end")]
    assert list(lines(frames)) == ["one", "error", "two", "", "no end"]


def test_what_is_no_text_is_shown_all_the_same() -> None:
    assert list(lines([(1, b"\xff\n")])) == ["\ufffd"]


def test_a_line_without_end_is_cut() -> None:
    frames = ((1, b"x" * 16384) for _ in range(100))
    assert max(map(len, lines(frames))) == 65536


@given(st.binary(), st.lists(st.integers(1, 7)))
def test_it_does_not_matter_where_frames_are_cut(data: bytes, cuts: list[int]) -> None:
    frames, rest = [], data
    for cut in cuts:
        frames.append((1, rest[:cut]))
        rest = rest[cut:]
    assert list(lines([*frames, (1, rest)])) == list(lines([(1, data)]))
