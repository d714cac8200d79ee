"""The two configurations, as settings and as hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from invoke.config import Config

from orienter_tasks.commands.selftest.host import HostConfig
from orienter_tasks.settings.load import as_plain, load_settings
from tests.configurations import make_own, make_shop, shop
from tests.integration.checkouts import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Host

ROOT = "checkout 'with' signs"


def own_settings() -> object:
    """What this repository's own invoke.yaml says."""
    config = Config(project_location=REPOSITORY)
    config.load_project()
    return as_plain(config.get("orienter"))


@pytest.fixture(params=["own", "shop"])
def host_config(request: pytest.FixtureRequest, tmp_path: Path) -> HostConfig:
    """Both configurations."""
    raw = own_settings() if request.param == "own" else shop()
    (tmp_path / ROOT).mkdir(exist_ok=True)
    dotenv = {"POSTGRES_PASSWORD": "a 'quoted' $word", "EXTRA": "1"}
    return HostConfig(load_settings(raw), dotenv, tmp_path / ROOT)


@pytest.fixture(params=["own", "shop"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """Both, as checkouts; nothing of them is started."""
    return (make_own if request.param == "own" else make_shop)(tmp_path / "home", "embedded")
