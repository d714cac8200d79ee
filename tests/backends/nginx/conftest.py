"""An nginx that may be run, one that runs, and one in front of all its upstreams."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.nginx import health as nginx_health
from orienter_tasks.backends.nginx.configuration import apply, plan
from tests.backends.nginx.lab import Nginx, RouteLab, binaries, on_free_ports
from tests.backends.nginx.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig


@pytest.fixture
def config(tmp_path: Path) -> InstanceConfig:
    return on_free_ports(tmp_path / "checkout")


@pytest.fixture(params=binaries())
def server(request: pytest.FixtureRequest, config: InstanceConfig, tmp_path: Path) -> Nginx:
    return Nginx(config, binaries()[request.param], tmp_path / "run")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx_health, "RELOAD_SECONDS", 0.5)


@pytest.fixture
def running(server: Nginx) -> Iterator[Nginx]:
    apply(server.config, server)
    with server.running():
        yield server


@pytest.fixture(scope="module", params=binaries())
def running_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouteLab]:
    directory = tmp_path_factory.mktemp("routes")
    config = on_free_ports(directory / "checkout", nginx={"hosts": ["dev.test", "*.known.example"]})
    server = Nginx(config, binaries()[request.param], directory / "run")
    live = config.instance.nginx_dir
    live.mkdir(parents=True)
    for file in plan(config, server.nginx_facts(), live):
        file.path.write_text(file.content, encoding="utf-8")
    names = ("vite", "dashboard", "whatsapp", "opencode")
    with ExitStack() as stack:
        started = {name: stack.enter_context(Upstream(name, config.instance.ports[name]).running()) for name in names}
        stack.enter_context(server.running())
        yield RouteLab(config, server, started)


@pytest.fixture
def lab(running_lab: RouteLab) -> RouteLab:
    for upstream in running_lab.upstreams.values():
        upstream.reset()
    return running_lab


@pytest.fixture
def deserted(running_lab: RouteLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouteLab]:
    """An nginx none of whose upstreams runs; it waits a second for an answer, not an hour."""
    directory = tmp_path_factory.mktemp("deserted")
    config = on_free_ports(directory / "checkout")
    server = Nginx(config, running_lab.server.binary, directory / "run")
    live = config.instance.nginx_dir
    live.mkdir(parents=True)
    for file in plan(config, server.nginx_facts(), live):
        file.path.write_text(file.content.replace("proxy_read_timeout 1h;", "proxy_read_timeout 1s;"), encoding="utf-8")
    with server.running():
        yield RouteLab(config, server, {})
