"""A forked `inv`, which has imported everything already, does what a new process does."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration import warm
from tests.integration.checkouts import INV
from tests.integration.left import processes_of
from tests.integration.small import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.small import MakeHost

PRINT = "import os, sys; print(os.getcwd(), os.environ['AI_INSTANCE_ID'], os.environ['OWN'], sys.stdin.read() == '')"


def test_it_answers_as_a_new_one(make_host: MakeHost) -> None:
    main = within(make_host().main, {"OWN": "é"})
    main.inv("env.init")
    main.inv("env.show")  # claims its id
    commands: Sequence[tuple[str, ...]] = (
        ("env.show",),
        ("env.export",),
        ("dev.stop",),
        ("infra.stats",),
        ("nope",),
        ("--list",),
    )
    for words in (*commands, ("env.exec", "--", "python3", "-c", PRINT)):
        for cwd in (main.path, main.path / ".git"):
            assert main.warm(words, cwd, main.environ) == main.cold(words, cwd, main.environ), words


def test_what_python_reads_when_it_starts_needs_a_new_one(make_host: MakeHost) -> None:
    main = make_host().main
    assert warm.suits(main.environ)
    assert not warm.suits({**main.environ, "PYTHONIOENCODING": "ascii"})
    assert not warm.suits({**main.environ, "PYTHONPATH": "elsewhere"})


def test_one_that_takes_too_long_is_killed(make_host: MakeHost) -> None:
    main = make_host().main
    words = [str(INV), "env.exec", "--", "sleep", "60"]
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(words, main.path, main.environ, 3.0)
    deadline = time.monotonic() + 10
    while processes_of(main):
        assert time.monotonic() < deadline
        time.sleep(0.05)
