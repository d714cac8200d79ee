"""What is different where an ordinary user runs the engine: `.ci/on-engine` has such engines."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker import endpoint
from tests import engines
from tests.integration.small import BASES, complaint, states, wait_for, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.small import MakeHost

pytestmark = [pytest.mark.docker, pytest.mark.embedded]
START = ("dev", "--detach", "--quiet")


@pytest.mark.skipif(engines.ENGINE != "docker-rootless", reason="the engine is not rootless Docker")
def test_nginx_is_native_where_dockers_could_reach_no_service(make_host: MakeHost) -> None:
    main = make_host("auto").main
    refused = main.inv("dev", "--detach", code=5, ORIENTER_BACKEND="docker")
    assert "orienter.infra.nginx.backend: embedded" in complaint(refused)
    assert "starting" not in refused.err

    main.inv(*START)
    told = main.inv("dev.status", "--json").json
    assert told["backends"] == {"postgres": "docker", "minio": "docker", "nginx": "embedded"}
    assert main.answers()
    (found,) = [one for one in main.inv("doctor", "--json", code=None).json["findings"] if one["topic"] == "engine"]
    assert ", rootless," in found["what"]


@pytest.mark.skipif(engines.ENGINE != "podman-rootless", reason="the engine is not rootless Podman")
def test_nginx_has_a_port_that_its_user_may_bind(make_host: MakeHost) -> None:
    main = make_host("docker", ports={**BASES, "nginx": 93}).main
    assert "it is on 8093" in main.inv(*START).err
    assert main.variables["NGINX_PORT"] == "8093"
    assert main.answers()


@contextlib.contextmanager
def podman(address: str, runtime_dir: Path) -> Iterator[None]:
    """Have Podman's service there; in the end it is killed."""
    command, environ = ["podman", "system", "service", "--time=0", address], {"XDG_RUNTIME_DIR": str(runtime_dir)}
    with subprocess.Popen(command, env={**os.environ, **environ}, start_new_session=True) as process:
        try:
            wait_for(lambda: endpoint.listens(endpoint.Endpoint(address, "this test")), "Podman")
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(engines.ENGINE != "podman-rootless", reason="the engine is not rootless Podman")
def test_servers_are_unknown_while_podmans_service_is_gone(make_host: MakeHost) -> None:
    """They go on without it, and are there again with it."""
    socket = Path(os.environ["DOCKER_HOST"].removeprefix("unix://")).with_name("another.sock")
    address, runtime_dir = f"unix://{socket}", socket.parents[1]
    another = within(make_host("docker", infra={"postgres": None}).main, {"DOCKER_HOST": address})
    with podman(address, runtime_dir):
        another.inv("infra.up")
        running = states(another)
    assert running["minio"]
    assert another.inv("dev.status", "--json", code=None).json["state"] == "unknown"
    socket.unlink()
    with podman(address, runtime_dir):
        assert states(another) == running
