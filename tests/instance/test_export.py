"""What is printed for a shell or a file is read there as it was, whatever it holds."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import dotenv
import pytest
from hypothesis import example, given, settings as limits, strategies as st

from orienter_tasks.instance.dotenv import read_dotenv
from orienter_tasks.instance.export import FORMATS, Format, NotAssignmentError, parse, render
from orienter_tasks.instance.variables import derive
from orienter_tasks.settings.load import load_settings
from tests.configs import make_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = {
    "PLAIN": "value",
    "EMPTY": "",
    "NEWLINE": "two\nlines\n\n",
    "QUOTES": 'it\'s "so"',
    "COMMAND": "$(touch pwned) `touch pwned`; touch pwned # $HOME ${HOME} !! ~",
    "UNICODE": "é 日本語 🙂 \u2028",
    "BACKSLASH": "a\\b\\\\c\\n\\",
    "CARRIAGE": "a\r\nb\rc\"d'\\",
    "SPACES": "  x\t ",
    "EQUALS": "a=b==",
    "HASH": "#no comment",
    "LAST_QUOTE": "'",
    "GLOB": "* ? [a-z]",
}
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMED = st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9]{0,5}", fullmatch=True).map("X_".__add__), TEXT, max_size=5)


def through_sh(script: str) -> dict[str, str]:
    """Let the real sh read it, and print the environment that it then has."""
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", f"{script}\nexec env -0"], env=env, capture_output=True, check=True)
    assert done.stderr == b""
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)


def through_fish(script: str) -> dict[str, str]:
    """Read it as fish's manual says: within single quotes only \\\\ and \\' are escapes."""
    values = {}
    for line in script.split("\nset -gx "):
        name, _, quoted = line.removeprefix("set -gx ").partition(" ")
        assert quoted[0] == quoted[-1] == "'"
        text, out = iter(quoted[1:-1]), ""
        for character in text:
            assert character != "'"
            following = next(text) if character == "\\" else ""
            assert following in ("", "\\", "'")
            out += following or character
        values[name] = out
    return values


def test_sh_reads_what_was_printed(tmp_path: Path) -> None:
    assert HOSTILE.items() <= through_sh(render(HOSTILE, "sh")).items()
    assert list(tmp_path.iterdir()) == []


@limits(max_examples=40)
@given(values=NAMED)
def test_sh_reads_anything(values: dict[str, str]) -> None:
    assert values.items() <= through_sh(render(values, "sh")).items()


def test_fish_reads_what_was_printed(tmp_path: Path) -> None:
    assert through_fish(render(HOSTILE, "fish")) == HOSTILE
    fish = shutil.which("fish")
    if fish is not None:
        command = [fish, "--no-config", "-c", render(HOSTILE, "fish") + "\nenv -0"]
        printed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        assert {f"{name}={value}" for name, value in HOSTILE.items()} <= set(printed.split("\0"))
        assert list(tmp_path.iterdir()) == []


def test_python_dotenv_reads_what_was_printed(tmp_path: Path) -> None:
    text = render(HOSTILE, "dotenv")
    path = tmp_path / "printed"
    path.write_text(text + "\n", encoding="utf-8")
    assert dotenv.dotenv_values(path, interpolate=False) == HOSTILE
    assert read_dotenv(path) == (HOSTILE, [])


@example(values={"A": "a b\\", "B": "it's", "C": '"'})
@example(values={"A": "\r\\", "B": '"\r'})
@given(values=NAMED)
def test_python_dotenv_reads_anything(values: dict[str, str]) -> None:
    text = render(values, "dotenv")
    assert dotenv.dotenv_values(stream=io.StringIO(text, newline=None), interpolate=False) == values


def test_json_is_one_document() -> None:
    assert json.loads(render(HOSTILE, "json")) == HOSTILE
    assert "日本語" in render(HOSTILE, "json")


@pytest.mark.parametrize("format_", FORMATS)
def test_an_instance_below_a_weird_directory_is_printed_right(format_: Format, tmp_path: Path) -> None:
    settings = load_settings(None)
    instance = make_instance(tmp_path / "we ird $(touch pwned) 'é\"\nx", 1, settings)
    values = dict(derive(instance, settings, {}, {}).values)
    text = render(values, format_)
    assert not text.endswith("\n")
    path = tmp_path / "printed"
    path.write_text(text, encoding="utf-8")
    readers: dict[str, Callable[[], dict[str, str]]] = {
        "sh": lambda: {name: value for name, value in through_sh(text).items() if name in values},
        "fish": lambda: through_fish(text),
        "dotenv": lambda: read_dotenv(path)[0],
        "json": lambda: json.loads(text),
    }
    assert readers[format_]() == values
    assert list(tmp_path.iterdir()) == [path]


SHELL_LINES = [
    "K='it'\\''s'",
    'export K="x y\\"z\\n\\$HOME"   # a comment',
    "declare -x K=a\\ b#c",
    "K=\n",
    "K= # nothing",
    "K='two\nlines';",
    'K={"a":1}',
    "K=a=b~c",
    "K='a'\"b\"c\\\nd",
    "K=1;K=2",
    "\n# first\n\n  K=1\r\nK=3",
]


@pytest.mark.parametrize("text", SHELL_LINES)
def test_what_a_shell_would_set(text: str) -> None:
    script = text.replace("\r", "") + '\nprintf %s "$K"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert dict(parse(text)) == {"K": done.stdout}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("echo hi", "line 1"),
        ("\nA=1\nK=a b\n", "line 3 (K=…)"),
        ("A=1\n\nexport K='open\n", "line 3 (K=…)"),
        ('K="$HOME"', "line 1 (K=…)"),
        ("K=`id`", "line 1 (K=…)"),
        ("K=a&&b", "line 1 (K=…)"),
        ("K='\0'", "line 1 (K=…)"),
        ("export K", "line 1"),
        ("1K=2", "line 1"),
    ],
)
def test_what_sets_no_variable(text: str, where: str) -> None:
    with pytest.raises(NotAssignmentError) as caught:
        dict(parse(text))
    assert str(caught.value) == where


@given(
    values=st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text().filter(lambda text: "\0" not in text)
    )
)
@example(values=HOSTILE)
def test_what_is_rendered_for_a_shell_is_read_back(values: dict[str, str]) -> None:
    assert dict(parse(render(values, "sh"))) == values


def test_a_shell_forgets_what_could_lead_elsewhere() -> None:
    script = "export AWS_PROFILE=work PGSERVICE=far\n" + render({"A": "1"}, "sh", unset=["AWS_PROFILE", "PGSERVICE"])
    assert not {"AWS_PROFILE", "PGSERVICE"} & through_sh(script).keys()
    assert render({"A": "1"}, "fish", unset=["X", "Y"]) == "set -e X Y\nset -gx A '1'"
    assert render({"A": "1"}, "dotenv", unset=["X"]) == "A=1"
