"""nginx in its container: bridged or on the host's network, its checks, and what they leave behind."""

from __future__ import annotations

import shutil
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.backends.nginx.configuration import LOCAL, apply
from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.errors import CheckError
from tests.backends.contract import component, down, up, written_candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
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


def page(config: InstanceConfig) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{config.instance.ports['nginx']}/", timeout=10) as answer:
        return str(answer.read().decode())


def left(lab: DockerLab, config: InstanceConfig) -> list[str]:
    """Name every container with this root's label."""
    api: Any = lab.engine.api
    found = api.containers(all=True, filters={"label": f"io.orienter.root={config.instance.root}"})
    return [name for one in found for name in one["Names"]]


@pytest.mark.parametrize("network", ["auto", "host", "bridge"])
def test_services_are_reached_where_they_are_to_listen(lab: DockerLab, network: str) -> None:
    config = lab.config(0, nginx={"network": network})
    backend = lab.backend(config)
    assert backend.service_host == "127.0.0.1" if network != "bridge" else backend.service_host != "127.0.0.1"
    with serving(backend.service_host, config.instance.ports["vite"]):
        up(backend, config, ["nginx"])
        assert page(config) == f"served on {backend.service_host}"
        assert backend.bound_ports() == {config.instance.ports["nginx"]: "nginx"}
        api: Any = lab.engine.api
        made = api.inspect_container(config.instance.container("nginx"))
        assert made["HostConfig"]["NetworkMode"] == (config.instance.network if network == "bridge" else "host")
    down(backend)


def test_the_address_for_services_costs_nothing(lab: DockerLab) -> None:
    for network in ("auto", "host"):
        backend = lab.backend(lab.config(0, nginx={"network": network}))
        calls = lab.count_calls()
        assert backend.service_host == "127.0.0.1"
        assert len(backend.components()) == 3
        assert calls() == 0


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_a_check_leaves_nothing_behind(lab: DockerLab, network: str) -> None:
    config = lab.config(0, nginx={"network": network})
    backend = lab.backend(config)
    directory = written_candidate(config, backend)
    assert backend.check_nginx(directory) == ""
    assert left(lab, config) == []
    assert not backend.remove_network()

    (directory / LOCAL).write_text("server {\n  nonsense on;\n}\n")
    message = backend.check_nginx(directory)
    assert f'unknown directive "nonsense" in {directory}/{LOCAL}:2' in message
    assert left(lab, config) == []
    assert not backend.remove_network()


def test_a_check_where_nginx_runs_is_done_there(lab: DockerLab, config: InstanceConfig) -> None:
    backend = lab.backend(config)
    up(backend, config, ["nginx"])
    directory = written_candidate(config, backend)
    calls = lab.count_calls()
    assert backend.check_nginx(directory) == ""
    assert calls() <= 5
    (directory / LOCAL).write_text("server {\n  nonsense on;\n}\n")
    assert f"{directory}/{LOCAL}:2" in backend.check_nginx(directory)
    assert len(left(lab, config)) == 1
    assert probe(config)


def test_a_directory_that_was_replaced_is_seen_by_a_new_container(lab: DockerLab, config: InstanceConfig) -> None:
    """A mounted directory that is removed and made anew is another one: the running container goes on without it."""
    backend = lab.backend(config)
    up(backend, config, ["nginx"])
    shutil.rmtree(config.instance.nginx_dir)
    directory = written_candidate(config, backend)
    assert backend.check_nginx(directory) == ""
    assert len(left(lab, config)) == 1
    changed = lab.config(0, nginx={"login": "/elsewhere/"})
    with pytest.raises(CheckError, match="did not load"):
        apply(changed, lab.backend(changed))
    component(backend, "nginx").stop(5)
    assert up(backend, config, ["nginx"]) == ["nginx"]
