"""What people are told, and the one question that tasks ask."""

from __future__ import annotations

import io
import sys

import pytest

from orienter_tasks.errors import ConfigError
from orienter_tasks.output.console import Report


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "word", "agreed"),
    [
        *(("y\n", "", True), ("YES\n", "", True), (" y \n", "", True)),
        *(("n\n", "", False), ("\n", "", False), ("", "", False), ("yes please\n", "", False)),
        *(("shop\n", "shop", True), ("y\n", "shop", False), ("sho\n", "shop", False), ("\n", "shop", False)),
    ],
)
def test_only_a_clear_yes_counts(
    typed: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, agreed: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    shown: list[str] = []
    answer = Report().confirm("go on?", refusal="no", before=lambda: shown.append("what"), word=word)
    assert answer is agreed
    assert shown == ["what"]
    assert capsys.readouterr() == ("", "go on? " if word else "go on? [y/N] ")


@pytest.mark.parametrize("terminal", [True, False])
def test_where_nobody_can_be_asked_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n") if terminal else io.StringIO("y\n"))
    shown: list[str] = []
    with pytest.raises(ConfigError) as refused:
        Report().confirm("go on?", refusal="this would go", may_ask=not terminal, before=lambda: shown.append("what"))
    assert refused.value.line() == "this would go → add --yes to skip the prompt"
    assert shown == []
    assert capsys.readouterr() == ("", "")


def test_an_error_is_a_line_its_details_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Report(quiet=True).error(ConfigError("two\nlines", hint="run:\n inv doctor", details=["  one", "  two"]))
    Report().error(ConfigError("alone"))
    assert capsys.readouterr() == ("", "error: two lines\n  one\n  two\nhint: run: inv doctor\nerror: alone\n")
