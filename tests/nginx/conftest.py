"""An nginx that may be run, one that runs, and one in front of all its upstreams."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from orienter_tasks import nginx, nginx_health
from tests.nginx.lab import Nginx, RouteLab, binaries, make_site
from tests.nginx.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.backends.backend import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "checkout")


@pytest.fixture(params=binaries())
def server(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Nginx:
    return Nginx(site, binaries()[request.param], tmp_path / "run")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx_health, "RELOAD_SECONDS", 0.5)


@pytest.fixture
def running(server: Nginx) -> Iterator[Nginx]:
    nginx.apply(server.site, server)
    with server.running():
        yield server


@pytest.fixture(scope="module", params=binaries())
def running_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouteLab]:
    directory = tmp_path_factory.mktemp("routes")
    site = make_site(directory / "checkout")
    server = Nginx(site, binaries()[request.param], directory / "run")
    config = nginx.config_dir(site.instance)
    config.mkdir(parents=True)
    for file in nginx.plan(site, server.nginx_facts(), config):
        file.path.write_text(file.content, encoding="utf-8")
    names = ("vite", "dashboard", "whatsapp", "opencode")
    with ExitStack() as stack:
        started = {name: stack.enter_context(Upstream(name, site.instance.ports[name]).running()) for name in names}
        stack.enter_context(server.running())
        yield RouteLab(site, server, started)


@pytest.fixture
def lab(running_lab: RouteLab) -> RouteLab:
    for upstream in running_lab.upstreams.values():
        upstream.reset()
    return running_lab


@pytest.fixture
def deserted(running_lab: RouteLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouteLab]:
    """An nginx none of whose upstreams runs."""
    directory = tmp_path_factory.mktemp("deserted")
    site = make_site(directory / "checkout")
    server = Nginx(site, running_lab.server.binary, directory / "run")
    config = nginx.config_dir(site.instance)
    config.mkdir(parents=True)
    for file in nginx.plan(site, server.nginx_facts(), config):
        file.path.write_text(file.content, encoding="utf-8")
    with server.running():
        yield RouteLab(site, server, {})
