from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.backends.docker.placement import BRIDGED, ON_HOST
from orienter_tasks.backends.docker.spec import is_ours, owner
from orienter_tasks.errors import ConfigError
from orienter_tasks.infra import all as infra
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig


def container(config: InstanceConfig, name: str, placement: Placement = ON_HOST) -> ContainerSpec:
    return infra.component(name).container(config, lambda: placement)


@pytest.fixture
def config(tmp_path: Path) -> InstanceConfig:
    return make_config(tmp_path, 1)


def test_names_and_images(config: InstanceConfig) -> None:
    found = infra.containers(config, lambda: ON_HOST)
    assert [one.name for one in found] == ["orienter-postgres-1", "orienter-minio-1", "orienter-nginx-1"]
    assert [one.image for one in found] == [
        "postgres:16-alpine",
        "minio/minio:RELEASE.2025-09-07T16-13-09Z",
        "nginx:alpine",
    ]
    assert [one.image_key for one in found] == [f"orienter.docker.{one.component}" for one in found]
    assert [str(mount) for one in found[:2] for mount in one.mounts] == [
        "postgres-data-1:/var/lib/postgresql/data:rw",
        "minio-data-1:/data:rw",
    ]


def test_everything_is_published_on_loopback_only(config: InstanceConfig) -> None:
    published = {}
    for one in infra.containers(config, lambda: BRIDGED):
        assert all(port.address == "127.0.0.1" for port in one.ports)
        published[one.component] = [(port.host, port.container) for port in one.ports]
    assert published == {"postgres": [(6432, 5432)], "minio": [(10000, 9000), (10001, 9001)], "nginx": [(1080, 80)]}


def test_nginx_on_the_hosts_network_publishes_nothing(config: InstanceConfig) -> None:
    on_host, bridged = container(config, "nginx"), container(config, "nginx", BRIDGED)
    assert (on_host.network, on_host.ports, on_host.extra_hosts) == ("", (), {})
    assert (bridged.network, bridged.extra_hosts) == ("orienter-network-1", {"host.docker.internal": "host-gateway"})
    assert "127.0.0.1:1080/health" in on_host.health.test[1]
    assert "127.0.0.1:80/health" in bridged.health.test[1]


def test_the_digest_changes_with_what_docker_is_told(tmp_path: Path, config: InstanceConfig) -> None:
    same = container(make_config(tmp_path, 1), "postgres")
    assert same.digest == container(config, "postgres").digest
    others = [
        make_config(tmp_path, 1, docker={"postgres": "postgres:17-alpine"}),
        make_config(tmp_path, 1, {"POSTGRES_PASSWORD": "another"}),
        make_config(tmp_path, 1, ports={"postgres": 5500}),
        make_config(tmp_path, 1, docker={"log_max_size": "20m"}),
        make_config(tmp_path / "moved", 1),
    ]
    assert len({container(other, "postgres").digest for other in others} | {same.digest}) == len(others) + 1
    assert container(config, "nginx").digest != container(config, "nginx", BRIDGED).digest


def test_no_secret_is_shown(tmp_path: Path) -> None:
    config = make_config(tmp_path, 1, {"POSTGRES_PASSWORD": "pg-Secret.1", "MINIO_ROOT_PASSWORD": "s3-Secret.2"})
    assert "Secret" not in repr(infra.containers(config, lambda: ON_HOST))


def test_docker_cannot_mount_a_colon(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a:b"):
        container(make_config(tmp_path / "a:b", 1), "nginx")


def test_what_is_ours(config: InstanceConfig) -> None:
    own = container(config, "postgres").all_labels
    assert is_ours(own, config)
    assert is_ours(config.instance.labels, config)
    assert not is_ours(None, config)
    assert not is_ours({}, config)
    for key, value in [("project", "orienter2"), ("instance", "10"), ("token", "another")]:
        assert not is_ours({**own, f"io.orienter.{key}": value}, config)
    assert is_ours({**own, "io.orienter.root": "/elsewhere"}, config)  # the token says whose it is
    of_older_version = {name: text for name, text in own.items() if name != "io.orienter.token"}
    elsewhere = {**of_older_version, "io.orienter.root": "/before"}
    assert not is_ours(elsewhere, config)
    assert is_ours(elsewhere, replace(config, instance=replace(config.instance, former_roots=("/before",))))
    assert owner(elsewhere) == "instance 1 of /before"
    assert owner({"com.docker.compose.project": "shop"}) == "compose project shop"
    assert owner(None) == "not made by this tool"
