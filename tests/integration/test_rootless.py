"""What is different where an ordinary user runs the engine: `.ci/on-engine` has such engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.integration.small import BASES, complaint

if TYPE_CHECKING:
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
