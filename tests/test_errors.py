"""Errors are one line, and carry the exit codes that are documented."""

from __future__ import annotations

import pytest

from orienter_tasks import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.OrienterError, 1),
        (errors.CheckError, 1),
        (errors.ConfigError, 2),
        (errors.NotFoundError, 3),
        (errors.ConflictError, 4),
        (errors.BackendError, 5),
        (errors.TimedOutError, 6),
        (errors.UnexpectedError, 70),
    ],
)
def test_exit_codes(kind: type[errors.OrienterError], code: int) -> None:
    assert kind("x").exit_code == code
    assert issubclass(kind, errors.OrienterError)


def test_a_signal_has_its_own_exit_code() -> None:
    assert errors.InterruptError("x").exit_code == 130
    assert errors.InterruptError("x", signal_number=15).exit_code == 143


def test_no_handler_of_ordinary_errors_catches_an_interruption() -> None:
    assert not issubclass(errors.InterruptError, Exception)


def test_a_line_is_one_line() -> None:
    error = errors.ConflictError("two\nlines\r\n\tand  spaces", hint="do\nthis", details=["a", "b"])
    assert error.line() == "two lines and spaces → do this"
    assert errors.ConfigError("alone").line() == "alone"
    assert error.details == ("a", "b")
