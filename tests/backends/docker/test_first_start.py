"""PostgreSQL's first start in an image that makes its database step by step, killed at each step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orienter_tasks.backends.docker.container import create_container
from orienter_tasks.backends.docker.oneoff import running_id
from orienter_tasks.backends.docker.resources import Resources
from orienter_tasks.errors import CheckError
from orienter_tasks.infra.all import component as kind
from tests.backends.contract import down, sql, up
from tests.integration.checkouts import IMAGES

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker

IMAGE = f"{IMAGES}/postgres-initdb:local"
MOMENTS = (
    "initdb",
    "configuration",
    "database",
    "scripts",
    "stop",
    "start",
    "mv .orienter-new",
    "mv base",
    "mv pg_hba.conf",
    "mv PG_VERSION",
)
PATIENCE = 60.0


@pytest.fixture
def config(lab: DockerLab) -> InstanceConfig:
    return lab.config(0, docker={"postgres": IMAGE})


def start_until(lab: DockerLab, config: InstanceConfig, moment: str) -> str:
    """Start the container as `inv` does, but waiting at a step of the first start; return its id."""
    resources, spec = Resources(config, lab.engine), kind("postgres").container(config, nowhere)
    resources.ensure_network()
    resources.ensure_volume("postgres")
    waiting = replace(spec, environment={**spec.environment, "WAIT_AT": moment})
    container = create_container(lab.engine, config.instance, waiting)
    lab.engine.api.start(container)
    deadline = time.monotonic() + PATIENCE
    while f"waiting at {moment}\n" not in said(lab, container):
        assert time.monotonic() < deadline, said(lab, container)
        time.sleep(0.05)
    return container


def nowhere() -> Any:
    raise TypeError


def said(lab: DockerLab, container: str) -> str:
    return lab.engine.api.logs(container).decode("utf-8", "replace")


def exit_code(lab: DockerLab, container: str) -> int:
    """Wait for a container's end."""
    deadline = time.monotonic() + PATIENCE
    while (state := lab.engine.api.inspect_container(container)["State"])["Running"]:
        assert time.monotonic() < deadline, said(lab, container)
        time.sleep(0.05)
    return int(state["ExitCode"])


def in_volume(lab: DockerLab, config: InstanceConfig, script: str) -> str:
    """Run a script where the volume is mounted."""
    api = lab.engine.api
    volume = config.instance.volume("postgres")
    host = api.create_host_config(binds=[f"{volume}:/data:rw"], network_mode="none")
    one = api.create_container(IMAGE, entrypoint=["sh", "-c"], command=[script], host_config=host)
    try:
        api.start(one)
        exit_code(lab, one["Id"])
        return said(lab, one["Id"])
    finally:
        api.remove_container(one, force=True, v=True)


def works(lab: DockerLab, config: InstanceConfig) -> None:
    """Require what the image makes, and that rows are kept from now on."""
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    assert sql(config, "SELECT number FROM made_by_the_image") == [[1]]
    assert sql(config, "SHOW max_connections") == [["61"]], "the image's own command"
    sql(config, "CREATE TABLE kept AS SELECT 7 AS number")
    container = running_id(lab.engine, config, "postgres")
    assert container is not None
    lab.engine.api.kill(container)
    up(backend, config, ["postgres"])
    assert sql(config, "SELECT number FROM kept") == [[7]]
    down(backend)
    assert in_volume(lab, config, "ls -A /data | grep orienter-[nw]") == ""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_step(lab: DockerLab, config: InstanceConfig, moment: str) -> None:
    container = start_until(lab, config, moment)
    assert in_volume(lab, config, "cat /data/PG_VERSION").startswith("cat: can't open"), "nothing counts yet"
    lab.engine.api.kill(container)
    lab.engine.api.remove_container(container)
    works(lab, config)


def test_killed_after_the_last_step(lab: DockerLab, config: InstanceConfig) -> None:
    """Also the directory that is empty by then goes."""
    up(lab.backend(config), config, ["postgres"])
    down(lab.backend(config))
    in_volume(lab, config, "mkdir /data/.orienter-whole")
    works(lab, config)


def test_beside_what_a_killed_clone_has_prepared(lab: DockerLab, config: InstanceConfig) -> None:
    """It may have made the volume; initdb alone would refuse a directory that is not empty."""
    Resources(config, lab.engine).ensure_volume("postgres")
    in_volume(lab, config, "mkdir -p /data/0123456789abcdef/data/base")
    works(lab, config)


def test_a_stop_is_heard(lab: DockerLab, config: InstanceConfig) -> None:
    container = start_until(lab, config, "scripts")
    lab.engine.api.stop(container, timeout=int(PATIENCE))
    assert exit_code(lab, container) == 143, "by the signal, not by a kill"
    lab.engine.api.remove_container(container)
    works(lab, config)


def test_what_stands_in_the_way_is_named_and_kept(lab: DockerLab, config: InstanceConfig) -> None:
    Resources(config, lab.engine).ensure_volume("postgres")
    in_volume(lab, config, "mkdir /data/base && echo precious >/data/base/kept")
    with pytest.raises(CheckError) as caught:
        up(lab.backend(config), config, ["postgres"])
    assert any("/data/base is in the way" in line for line in caught.value.details)
    assert in_volume(lab, config, "cat /data/base/kept") == "precious\n"


def test_an_image_that_fails(lab: DockerLab, config: InstanceConfig) -> None:
    """The container ends with its code and its words."""
    resources, spec = Resources(config, lab.engine), kind("postgres").container(config, nowhere)
    resources.ensure_network()
    resources.ensure_volume("postgres")
    failing = replace(spec, environment={**spec.environment, "POSTGRES_PASSWORD": ""})
    container = create_container(lab.engine, config.instance, failing)
    lab.engine.api.start(container)
    assert exit_code(lab, container) == 3
    assert "POSTGRES_PASSWORD must be set" in said(lab, container)
