"""Checks: an error becomes one, an interruption does not; how they are listed and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import CheckError, InterruptError
from orienter_tasks.output.checks import Check, Fix, collect, documents, prove, show
from orienter_tasks.output.console import Report

if TYPE_CHECKING:
    from collections.abc import Iterator


def broken() -> CheckError:
    return CheckError("it is\n broken", hint="mend it", details=["line 1"])


def test_an_error_ends_a_check_and_what_it_found_before_stays() -> None:
    def look() -> Iterator[Check]:
        yield Check("first", "ok", "fine")
        raise broken()

    assert collect("second", look) == [
        Check("first", "ok", "fine"),
        Check("second", "problem", "it is broken", "mend it"),
    ]


def test_a_proof_tells_what_it_looked_at_or_what_is_wrong_in_full() -> None:
    def fail() -> str:
        raise broken()

    assert prove("names", lambda: "all of them") == Check("names", "ok", "all of them")
    assert prove("names", fail) == Check("names", "problem", "it is broken\nline 1", "mend it")


def test_an_interruption_ends_the_command() -> None:
    def interrupted() -> str:
        raise InterruptError("interrupted")

    with pytest.raises(InterruptError):
        prove("names", interrupted)
    with pytest.raises(InterruptError):
        collect("names", lambda: [Check("names", "ok", interrupted())])


def test_what_is_no_fault_of_ours_stays_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        prove("names", lambda: str(1 // 0))


def test_a_list_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Check("git", "ok", "there"),
        Check("disk space", "warning", "little", "remove something"),
        Check("port", "problem", "taken"),
        Check("engine", "unseen", "silent"),
        Check("network", "absent", ""),
    ]
    show(Report(), found, title="this machine")
    assert capsys.readouterr().out.splitlines() == [
        "this machine",
        "✓ git         there",
        "! disk space  little",
        "              → remove something",
        "✗ port        taken",
        "? engine      silent",
        "– network",
    ]


def test_a_list_for_machines() -> None:
    check = Check(".env", "warning", "open", "close it", Fix("close it", lambda: None), instances=(3,))
    written = documents([check], level="verdict", what="text", ids=lambda check: list(check.instances))
    assert written == [{"level": "warning", "what": "open", "ids": [3]}]
    assert list(written[0]) == ["level", "what", "ids"]
