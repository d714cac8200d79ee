"""Folders whose names are patterns, markup or syntax elsewhere: everything works, or nothing starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import has, put
from tests.integration.small import complaint, states

if TYPE_CHECKING:
    from tests.faults.lab import MakeFaultHost


NAME = "feat[1] a*?[!b]\\c %h #,; [\\] {{x}} 'q' \"d\" ä"


@pytest.mark.embedded
def test_any_printable_name(make_host: MakeFaultHost) -> None:
    host = make_host()
    checkout = host.worktree(host.directory / NAME / "checkout")
    checkout.inv("dev", "--detach")
    put(checkout, "in there")
    has(checkout, "in there")
    checkout.inv("nginx.reload")
    checkout.inv("dev.restart", "-s", "nginx")
    assert all(states(checkout).values())
    checkout.inv("infra.compose")
    checkout.inv("dev.stop")
    assert host.left_of(checkout) == []


@pytest.mark.parametrize("name", ["two\nlines", "esc\x1b[2J", "tab\t", "del\x7f", "c1\x9b"])
def test_control_characters_are_refused(make_host: MakeFaultHost, name: str) -> None:
    host = make_host()
    checkout = host.worktree(host.directory / name)
    for words in (("dev", "--detach"), ("dev.status",), ("nginx.render",)):
        line = complaint(checkout.inv(*words, code=2))
        assert "has control characters in its path" in line
        assert repr(str(checkout.path)) in line
    assert "has control characters in its path" in checkout.inv("doctor", code=1).out
    assert not (checkout.path / ".dev-data").exists()
