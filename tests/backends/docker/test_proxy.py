"""nginx in its container: bridged or on the host's network, its checks, and what they leave behind."""

from __future__ import annotations

import shutil
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks import nginx
from orienter_tasks.errors import CheckError
from tests.backends.contract import component, down, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.backend import Site
    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker


@contextmanager
def serving(address: str, port: int) -> Iterator[None]:
    """A service of the host that answers with its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

        def do_GET(self) -> None:
            body = f"served on {address}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((address, port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(site: Site) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.instance.ports['nginx']}/", timeout=10) as answer:
        return str(answer.read().decode())


def left(lab: DockerLab, site: Site) -> list[str]:
    """Name every container with this root's label."""
    api: Any = lab.engine.api
    found = api.containers(all=True, filters={"label": f"io.orienter.root={site.instance.root}"})
    return [name for one in found for name in one["Names"]]


@pytest.mark.parametrize("network", ["auto", "host", "bridge"])
def test_services_are_reached_where_they_are_to_listen(lab: DockerLab, network: str) -> None:
    site = lab.site(0, nginx={"network": network})
    backend = lab.backend(site)
    assert backend.service_host == "127.0.0.1" if network != "bridge" else backend.service_host != "127.0.0.1"
    with serving(backend.service_host, site.instance.ports["vite"]):
        up(backend, site, ["nginx"])
        assert page(site) == f"served on {backend.service_host}"
        assert backend.ports_held() == {site.instance.ports["nginx"]: "nginx"}
        api: Any = lab.engine.api
        made = api.inspect_container(site.instance.container("nginx"))
        assert made["HostConfig"]["NetworkMode"] == (site.instance.network if network == "bridge" else "host")
    down(backend)


def test_the_address_for_services_costs_nothing(lab: DockerLab) -> None:
    for network in ("auto", "host"):
        backend = lab.backend(lab.site(0, nginx={"network": network}))
        calls = lab.count_calls()
        assert backend.service_host == "127.0.0.1"
        assert len(backend.components()) == 3
        assert calls() == 0


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_a_check_leaves_nothing_behind(lab: DockerLab, network: str) -> None:
    site = lab.site(0, nginx={"network": network})
    backend = lab.backend(site)
    directory = nginx.render(site, backend)
    assert backend.check_nginx(directory) == ""
    assert left(lab, site) == []
    assert not backend.remove_network()

    (directory / nginx.LOCAL).write_text("server {\n  nonsense on;\n}\n")
    message = backend.check_nginx(directory)
    assert f'unknown directive "nonsense" in {directory}/{nginx.LOCAL}:2' in message
    assert left(lab, site) == []
    assert not backend.remove_network()


def test_a_check_where_nginx_runs_is_done_there(lab: DockerLab, site: Site) -> None:
    backend = lab.backend(site)
    up(backend, site, ["nginx"])
    directory = nginx.render(site, backend)
    calls = lab.count_calls()
    assert backend.check_nginx(directory) == ""
    assert calls() <= 5
    (directory / nginx.LOCAL).write_text("server {\n  nonsense on;\n}\n")
    assert f"{directory}/{nginx.LOCAL}:2" in backend.check_nginx(directory)
    assert len(left(lab, site)) == 1
    assert nginx.probe(site)


def test_a_directory_that_was_replaced_is_seen_by_a_new_container(lab: DockerLab, site: Site) -> None:
    """A mounted directory that is removed and made anew is another one: the running container goes on without it."""
    backend = lab.backend(site)
    up(backend, site, ["nginx"])
    shutil.rmtree(nginx.config_dir(site.instance))
    directory = nginx.render(site, backend)
    assert backend.check_nginx(directory) == ""
    assert len(left(lab, site)) == 1
    changed = lab.site(0, nginx={"login": "/elsewhere/"})
    with pytest.raises(CheckError, match="did not take over"):
        nginx.apply(changed, lab.backend(changed))
    component(backend, "nginx").stop(5)
    assert up(backend, site, ["nginx"]) == ["nginx"]
