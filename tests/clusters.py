"""The PostgreSQL cluster that every new embedded instance is copied from: a run of tests pays for one initdb."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine.flock import hold
from tests.workers import is_worker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def clusters(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory of this process alone: a test may spoil it. Empty where nothing embedded is tested."""
    own = tmp_path_factory.mktemp("clusters")
    if any(item.get_closest_marker("embedded") for item in request.session.items):
        base = tmp_path_factory.getbasetemp()
        # workers lie side by side below the run's own directory
        _copy(base.parent if is_worker(request.config) else base, own)
    return own


@pytest.fixture
def shared_cluster(isolated: Path, clusters: Path) -> None:
    """Let the test's state directory have that cluster from the start."""
    isolated.mkdir(mode=0o700)
    (isolated / "cache").symlink_to(clusters)


def _copy(run: Path, own: Path) -> None:
    """Copy the run's cluster, made by whoever comes first."""
    from orienter_tasks.errors import BackendError

    state = run / "cluster-state"
    with hold(run / "cluster.lock", within=math.inf):
        if not state.exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ORIENTER_STATE_DIR", str(state))
                try:
                    _make(run / "cluster-checkout")
                except BackendError:  # there is no embedded PostgreSQL here
                    state.mkdir(exist_ok=True)
        if (state / "cache").is_dir():
            shutil.copytree(state / "cache", own, symlinks=True, dirs_exist_ok=True)


def _make(root: Path) -> None:
    """Make the data of an instance, as the first one on a machine does."""
    from orienter_tasks.backends.embedded.cluster import Installation, prepare
    from orienter_tasks.identity.volumes import working_dir
    from tests.configs import make_config

    config = make_config(root)
    data = working_dir(config.instance, "postgres")
    prepare(config, data, Installation.of(config.settings, data), lambda text: None)
    shutil.rmtree(root)
