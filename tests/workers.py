"""How a run is spread over workers (pytest-xdist), and how one that is told to end ends in all of them.

What waits for servers comes first, the rest fills the gaps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import FrameType

MOST = 8  # a slot each (tests/slot.py), so that two runs have room on one machine
PATIENCE = 120.0  # what a worker may need to stop and remove what its test has started

APART = (
    "tests/backends/",
    "tests/commands/",
    "tests/faults/",
    "tests/integration/",
)
TOGETHER = {
    "tests/demo/": "demo",  # one PostgreSQL and one S3 server
    "tests/faults/test_trees.py": "unruly",  # they look at all processes of unruly.py
    "tests/faults/test_security.py::test_a_service_that_listens_beyond_is_marked": "unruly",
    "tests/commands/verify/test_verify.py::TestDocker": "verify-docker",
}

_workers: list[Any] = []


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process is a worker."""
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Let a run that is told to end clean up after its tests, as it does after Ctrl-C."""
    told: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        # a worker is told by the terminal, by whoever started it and by execnet: once is enough, it cleans up already
        told.append(number)
        if len(told) == 1 or not is_worker(config):
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
        # where it is ignored, as in a shell's background, programs inherit that
        if is_worker(config) or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, interrupt)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Remember a worker that is about to start."""
    _workers.append(node)


def pytest_keyboard_interrupt() -> None:
    """Tell the workers, and wait until they have cleaned up: xdist would end them after a few seconds."""
    working = [node for node in _workers if not node.channel.isclosed()]
    for node in working:
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.gateway._rinfo().pid, signal.SIGINT)
    for node in working:
        with contextlib.suppress(OSError, EOFError, node.channel.RemoteError):
            node.channel.waitclose(PATIENCE)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use workers for whole directories; a few tests are quicker without."""
    few = any("::" in word or word.endswith(".py") for word in config.args)
    if few or config.option.keyword or config.option.collectonly or config.option.capture == "no":
        return 0
    return min(os.cpu_count() or 1, MOST)  # their tests are busy, not waiting


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker a whole file; where tests wait for servers one test; and together what looks at the same things.

    Not by pytest-xdist's own groups: these do nothing since pytest 9.2.
    """
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return Scheduling(config, log)


def share(nodeid: str) -> str:
    """Return a name that tests have in common which one worker must run."""
    file = nodeid.partition("::")[0]
    for start, group in TOGETHER.items():
        if nodeid.startswith(start):
            return group
    return nodeid if file.startswith(APART) else file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what only the full run has, unless it is named; let what waits for servers come first."""
    if os.environ.get("ORIENTER_FAULT_RUNS") != "full" and not any("::" in word for word in config.args):
        left = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    if is_worker(config):
        items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("docker", "embedded")))
