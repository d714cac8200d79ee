"""No control code leaves the program, apart from colours in logs on a terminal."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, strategies as st

from orienter_tasks.output.printable import in_colour, one_line, printable

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
CODES = (
    *("\x1b]52;c;aGVsbG8=\x07", "\x1b]52;c;aGVsbG8=\x1b\\", "\x9d52;c;aGVsbG8=\x9c"),  # sets the clipboard
    *("\x1b]8;;https://evil.example\x1b\\", "\x1b]8;;\x07", "\x1b]0;title\x07"),
    *(
        "\x1b[2J",
        "\x1b[3J",
        "\x9b2J",
        "\x1b[H",
        "\x1b[1;1H",
        "\x1b[10A",
        "\x1b[?1049h",
        "\x1b[6n",
        "\x1b[20t",
        "\x1b[!p",
    ),
    *("\x1bc", "\x1b7", "\x1b8", "\x1b(0", "\x1b#8", "\x1b=", "\x1bM", '\x1bP$q"p\x1b\\', "\x1b_secret\x1b\\"),
    *("\x07", "\x08", "\x0b", "\x0c", "\x0e", "\x7f", "\x80", "\x84", "\x85", "\x9f"),
)
COLOURS = ("\x1b[31m", "\x1b[0m", "\x1b[m", "\x1b[38;5;196m", "\x1b[38:2::1:2:3m")
pieces = st.sampled_from(
    [*CODES, *COLOURS, "\x1b", "\x1b[", "\x1b]", "\x9b", "\x9d", "\x9c", "\r", "\n", "\t", "\ud800"]
)
anything = st.lists(pieces | st.text(), max_size=12).map("".join)
clean = st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs"), include_characters="\n\t"))


@given(anything)
def test_nothing_that_operates_a_terminal_is_left(text: str) -> None:
    assert not CONTROL.search(printable(text))
    assert not CONTROL.search(one_line(text))
    assert not CONTROL.search(COLOUR.sub("", printable(text, colours=True)))
    assert not CONTROL.search(COLOUR.sub("", in_colour(text)))


@given(anything, st.booleans())
def test_twice_is_as_once(text: str, colours: bool) -> None:
    once = printable(text, colours=colours)
    assert printable(once, colours=colours) == once
    assert printable(once) == printable(text)


@given(clean)
def test_other_text_stays(text: str) -> None:
    assert printable(text) == printable(text, colours=True) == in_colour(text) == text


@given(
    st.lists(st.tuples(clean, st.sampled_from([code for code in [*CODES, *COLOURS] if printable(f"{code}x\a") == "x"])))
)
def test_whole_sequences_go_with_their_text(found: list[tuple[str, str]]) -> None:
    assert printable("".join(text + code for text, code in found)) == "".join(text for text, _ in found)


def test_colours_stay_where_they_are_wanted_and_end_with_the_line() -> None:
    line = "\x1b[31mred\x1b]0;t\x07\x1b[2K"
    assert in_colour(line) == "\x1b[31mred\x1b[0m"
    assert printable(line) == "red"


def test_line_ends() -> None:
    assert printable("a\r\nb\rc\x1b[K") == "a\nb c"
    assert printable("10 %\r20 %") == "10 % 20 %"
    assert one_line("a\r\n\tb\x0bc") == "a bc"


@pytest.mark.parametrize("code", ["\x9d", "\x1b]", "\x1b[", "\x1b[0;", "\x9b", "\x1bP", "\x1b ", "\x1b]\x9d", "\r"])
def test_a_long_text_of_unfinished_codes_takes_no_time(code: str) -> None:
    begun = time.monotonic()
    printable(code * 100_000 + "0" * 100_000)
    assert time.monotonic() - begun < 2
