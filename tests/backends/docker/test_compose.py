from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orienter_tasks.backends.docker import placement
from orienter_tasks.backends.docker.placement import BRIDGED, ON_HOST
from orienter_tasks.backends.docker.spec import LABEL_GENERATION
from orienter_tasks.backends.nginx.configuration import apply
from orienter_tasks.infra import compose, postgres_first_start
from orienter_tasks.settings import catalog
from tests.backends.contract import component
from tests.configs import make_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.docker.lab import DockerLab

SECRETS = {"POSTGRES_PASSWORD": "a$b\"c'd{{e}}: #ü", "MINIO_ROOT_PASSWORD": "${HOME} %s \\n"}
SECOND = 1_000_000_000


def parse(content: str) -> dict[str, Any]:
    """Read a compose file as compose does: after YAML, `$$` means `$`, and a single one a variable."""
    return dict(_undollared(yaml.safe_load(content)))


def _undollared(value: Any) -> Any:
    if isinstance(value, dict):
        return {_undollared(key): _undollared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_undollared(item) for item in value]
    if isinstance(value, str):
        assert "$" not in value.replace("$$", ""), value
        return value.replace("$$", "$")
    return value


def test_it_is_only_for_its_owner(tmp_path: Path) -> None:
    rendered = compose.render(make_config(tmp_path, 1), ON_HOST)
    assert rendered.mode == 0o600
    assert rendered.path == tmp_path / ".dev-data/instance-1/docker-compose.infra.yml"


def test_every_id_renders(tmp_path: Path) -> None:
    for place in (ON_HOST, BRIDGED):
        parsed = parse(compose.render(make_config(tmp_path, 1, SECRETS), place).content)
        assert parsed["name"] == "orienter-instance-1"
        assert list(parsed["services"]) == catalog.names()
        for service in parsed["services"].values():
            assert set(service.get("networks", ())) <= set(parsed["networks"])
            for mount in service["volumes"]:
                source = mount.partition(":")[0]
                assert source in parsed["volumes"] or source.startswith("/")


def test_a_host_may_bring_its_own_template(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / compose.TEMPLATE).write_text("name: {{ instance.compose_project }}\n")
    assert compose.render(make_config(tmp_path, 1), ON_HOST).content == "name: orienter-instance-1\n"


@pytest.mark.docker
@pytest.mark.parametrize("network", ["host", "bridge"])
def test_it_equals_what_the_sdk_makes(lab: DockerLab, network: str) -> None:
    config = lab.config(1, SECRETS, nginx={"network": network})
    backend = lab.backend(config)
    apply(config, backend)
    for name in ("postgres", "minio", "nginx"):
        component(backend, name).start(lambda text: None)
    parsed = parse(written(lab, config))
    api: Any = lab.engine.api

    for name, service in parsed["services"].items():
        made = api.inspect_container(config.instance.container(name))
        image = api.inspect_image(service["image"])
        assert made["Name"] == f"/{service['container_name']}"
        assert as_made(made) == as_written(service, parsed, image), name
    assert parsed["services"]["postgres"]["shm_size"] == "256mb"
    for entry in parsed["networks"].values():
        assert own(api.inspect_network(entry["name"])["Labels"]) == entry["labels"]
    for entry in parsed["volumes"].values():
        labels = own(api.inspect_volume(entry["name"])["Labels"])
        assert labels.pop(LABEL_GENERATION)  # each volume has its own; Compose's volumes go by when they were created
        assert labels == entry["labels"]


@pytest.mark.docker
def test_compose_knows_what_the_sdk_makes(lab: DockerLab) -> None:
    """The labels by which compose's ps, logs and down find things, under the keys of the compose file."""
    config = lab.config(1)
    backend = lab.backend(config)
    component(backend, "postgres").start(lambda text: None)
    parsed = parse(written(lab, config))
    api: Any = lab.engine.api
    project = {"com.docker.compose.project": parsed["name"]}
    container = api.inspect_container(config.instance.container("postgres"))["Config"]["Labels"]
    expected = {
        "com.docker.compose.service": "postgres",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
    }
    assert (project | expected).items() <= container.items()
    assert container["com.docker.compose.config-hash"]
    (network_key,) = parsed["networks"]
    network = api.inspect_network(config.instance.network)["Labels"]
    assert (project | {"com.docker.compose.network": network_key}).items() <= network.items()
    volume = api.inspect_volume(config.instance.volume("postgres"))["Labels"]
    key = volume["com.docker.compose.volume"]
    assert project.items() <= volume.items()
    assert parsed["volumes"][key]["name"] == config.instance.volume("postgres")


def written(lab: DockerLab, config: InstanceConfig) -> str:
    return compose.render(config, placement.of(lab.engine, config.settings.nginx.network)).content


def own(labels: Mapping[str, str]) -> dict[str, str]:
    """Leave out what compose adds by itself."""
    return {key: value for key, value in labels.items() if not key.startswith("com.docker.compose.")}


def as_made(made: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce what the engine says of a container to what can be written."""
    config, host = made["Config"], made["HostConfig"]
    words = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    if postgres_first_start.SCRIPT in words:  # Compose's own containers make their database as the image does
        words = words[words.index(postgres_first_start.SCRIPT) + 2 :]
    health = config["Healthcheck"]
    return {
        "image": config["Image"],
        "words": words,
        "environment": sorted(config["Env"]),
        "ports": sorted(
            f"{binding['HostIp']}:{binding['HostPort']}:{port.removesuffix('/tcp')}"
            for port, bindings in (host["PortBindings"] or {}).items()
            for binding in bindings
        ),
        "published": sorted(
            f"{binding['HostIp']}:{binding['HostPort']}:{port.removesuffix('/tcp')}"
            for port, bindings in made["NetworkSettings"]["Ports"].items()
            for binding in bindings or ()
        ),
        "mounts": sorted(
            (
                mount["Type"],
                mount["Name"] if mount["Type"] == "volume" else mount["Source"],
                mount["Destination"],
                mount["Mode"],
            )
            for mount in made["Mounts"]
        ),
        "networks": sorted(made["NetworkSettings"]["Networks"]),
        "aliases": sorted(
            alias
            for network in made["NetworkSettings"]["Networks"].values()
            for alias in network["Aliases"] or ()
            if alias != made["Id"][:12]
        ),
        "extra_hosts": sorted(host["ExtraHosts"] or ()),
        "health": (health["Test"], health["Interval"], health["Timeout"], health["Retries"], health["StartPeriod"]),
        "shared_memory": host["ShmSize"] >> 20,
        "logging": host["LogConfig"],
        "restart": host["RestartPolicy"]["Name"],
        "labels": own(config["Labels"]),
    }


def as_written(service: Mapping[str, Any], parsed: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a service of the compose file into the same form, with what its image adds."""
    environment = dict(entry.split("=", 1) for entry in image["Config"]["Env"]) | service.get("environment", {})
    names = {key: entry["name"] for key, entry in parsed["volumes"].items()}
    networks = [parsed["networks"][key]["name"] for key in service.get("networks", ())]
    health = service["healthcheck"]
    mounts = []
    for mount in service["volumes"]:
        source, target, mode = mount.split(":")
        mounts.append(("volume" if source in names else "bind", names.get(source, source), target, mode))
    ports = sorted(service.get("ports", ()))
    return {
        "image": service["image"],
        "words": [
            *(service.get("entrypoint", image["Config"]["Entrypoint"]) or ()),
            *(service.get("command", image["Config"]["Cmd"]) or ()),
        ],
        "environment": sorted(f"{key}={value}" for key, value in environment.items()),
        "ports": ports,
        "published": ports,
        "mounts": sorted(mounts),
        "networks": networks or [service["network_mode"]],
        "aliases": [service["labels"]["io.orienter.component"]] if networks else [],
        "extra_hosts": sorted(f"{key}:{value}" for key, value in service.get("extra_hosts", {}).items()),
        "health": (
            health["test"],
            *(int(health[key].removesuffix("s")) * SECOND for key in ("interval", "timeout")),
            health["retries"],
            int(health["start_period"].removesuffix("s")) * SECOND,
        ),
        "shared_memory": int(service.get("shm_size", "64mb").removesuffix("mb")),
        "logging": {"Type": service["logging"]["driver"], "Config": service["logging"]["options"]},
        "restart": service["restart"],
        "labels": (image["Config"]["Labels"] or {}) | service["labels"],
    }
