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

from tests import engines

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
    "tests/integration/test_far_engine.py": "far-engine",  # one machine with its own engine
}

VARIANTS = frozenset(
    {
        "tests/backends/docker/test_contract.py::TestDocker::test_a_killed_component_is_started_again",
        "tests/backends/docker/test_contract.py::TestDocker::test_two_instances_started_at_once_do_not_meet",
        "tests/backends/docker/test_first_start.py::test_beside_what_a_killed_clone_has_prepared",
        "tests/backends/docker/test_first_start.py::test_killed_after_the_last_step",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[configuration]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[database]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[mv .orienter-new]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[mv PG_VERSION]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[mv base]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[scripts]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[start]",
        "tests/backends/docker/test_first_start.py::test_killed_at_a_step[stop]",
        "tests/commands/cleanup/test_stack.py::test_a_worktree_deleted_under_its_running_stack[docker]",
        "tests/commands/selftest/test_integration.py::test_on_docker[make_shop]",
        "tests/commands/selftest/test_integration.py::test_both_configurations[shop]",
        "tests/commands/selftest/test_integration.py::test_one_that_is_interrupted_leaves_nothing[15-143]",
        "tests/commands/selftest/test_templates.py::test_nginx_takes_them[own]",
        "tests/faults/test_carried.py::test_from_the_other_backend[embedded]",
        "tests/faults/test_crashes.py::test_killed_at_any_moment[docker]",
        "tests/faults/test_crashes.py::test_killed_within_the_first_start_of_a_container",
        "tests/faults/test_data.py::test_data_outlives_everything_but_volumes[docker]",
        "tests/faults/test_exports.py::test_to_the_other_backend[docker]",
        "tests/faults/test_files.py::test_a_running_instance_is_seen_and_stopped[device]",
        "tests/faults/test_files.py::test_files_of_a_checkout[directory]",
        "tests/faults/test_output.py::test_any_encoding[cp037]",
        "tests/faults/test_output.py::test_closed_and_full_streams[dev.stop]",
        "tests/faults/test_output.py::test_closed_and_full_streams[env.export]",
        "tests/faults/test_paths.py::test_rows_in_sqlite_and_objects[docker]",
        "tests/faults/test_quiesce.py::test_a_pair_of_one_moment[docker]",
        "tests/faults/test_races.py::test_many_checkouts_in_random_order[docker]",
        "tests/faults/test_snapshots.py::test_a_first_start_with_data[docker]",
        "tests/faults/test_snapshots.py::test_snapshots_and_clones_of_what_stands_still[docker]",
        "tests/faults/test_snapshots.py::test_killed_while_data_is_replaced[docker]",
        "tests/faults/test_snapshots.py::test_killed_while_data_comes_from_elsewhere[docker]",
        "tests/faults/test_snapshots.py::test_whoever_writes_meanwhile_is_not_disturbed[docker]",
        "tests/faults/test_security.py::test_hostile_folder_and_branch_names[docker]",
        "tests/infra/test_redis.py::TestOneInstance::test_an_export_is_imported[docker]",
        "tests/infra/test_redis.py::TestOneInstance::test_two_others_do_not_see_each_others_keys[docker]",
        "tests/integration/test_bad_input.py::test_a_volume_of_another_major",
        "tests/integration/test_bad_input.py::test_an_engine_that_does_not_come_to_an_end[only pings are answered]",
        "tests/integration/test_changed_settings.py::test_what_runs_is_seen_and_stopped[docker]",
        "tests/integration/test_dropped.py::test_a_server_that_runs_when_it_is_dropped_is_stopped_and_its_data_removed[docker]",
        "tests/integration/test_dropped.py::test_every_command[s3]",
        "tests/integration/test_dropped.py::test_every_command[sql]",
        "tests/integration/test_dry.py::test_nothing_changes_beside_a_running_instance[docker]",
        "tests/integration/test_mixed.py::test_isolation[few]",
        "tests/integration/test_dry.py::test_nothing_changes_in_a_checkout_that_never_started_anything[docker]",
        "tests/integration/test_hostnames.py::test_two_logged_in_at_once_in_one_chromium",
        "tests/integration/test_lifecycle.py::test_a_checkout_that_was_moved[docker]",
        "tests/integration/test_lifecycle.py::test_containers_that_were_killed",
        "tests/integration/test_whose_data.py::test_a_copy[docker]",
        "tests/integration/test_whose_data.py::test_a_new_worktree_where_one_was_moved_away[docker]",
        "tests/integration/test_whose_data.py::test_claims_that_are_lost_while_everything_runs[clean up-docker]",
        "tests/integration/test_whose_data.py::test_claims_that_are_lost_while_everything_runs[clean up-embedded]",
        "tests/integration/test_whose_data.py::test_claims_that_are_lost_while_everything_runs[start-docker]",
        "tests/integration/test_whose_data.py::test_claims_that_are_lost_while_everything_runs[start-embedded]",
        "tests/integration/test_whose_data.py::test_claims_that_are_lost_while_everything_runs[stop-docker]",
        "tests/integration/test_whose_data.py::test_lost_claims[False-docker]",
        "tests/integration/test_whose_data.py::test_lost_claims[False-embedded]",
        "tests/integration/test_whose_data.py::test_two_projects_in_one_repository[False-docker]",
        "tests/integration/test_whose_data.py::test_two_projects_in_one_repository[False-embedded]",
        "tests/integration/test_whose_data.py::test_two_projects_in_one_repository[True-docker]",
        "tests/integration/test_worktrees.py::test_three_checkouts_side_by_side[docker]",
        "tests/integration/test_worktrees.py::test_three_checkouts_side_by_side[embedded]",
        "tests/observe/test_usage.py::test_of_a_running_instance[docker]",
    }
)
"""Slow variants of what CI tests otherwise: only in the full run (`ORIENTER_FAULT_RUNS=full`), or named singly."""

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
    return min(2 * (os.cpu_count() or 1), MOST)  # half of their time, tests wait for servers


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
    """Leave what only the full run has, unless tests are named; let what waits for servers come first."""
    if not any("::" in word for word in config.args):
        files, known = {item.nodeid.partition("::")[0] for item in items}, {item.nodeid for item in items}
        gone = [name for name in (VARIANTS | engines.listed()) - known if name.partition("::")[0] in files]
        if gone:
            raise pytest.UsageError(f"tests that are listed and not there: {', '.join(gone)}")
        if os.environ.get("ORIENTER_FAULT_RUNS") != "full":
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in VARIANTS])
            items[:] = [item for item in items if item.nodeid not in VARIANTS]
    engines.expect_failures(items)
    if is_worker(config):
        items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("docker", "embedded")))
