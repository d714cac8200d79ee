"""`test.templates`: it passes for both configurations, and finds templates that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.backends.docker import placement
from orienter_tasks.commands.selftest import templates
from orienter_tasks.commands.selftest.compose_diff import compare
from orienter_tasks.errors import CheckError
from orienter_tasks.infra import compose
from orienter_tasks.instance.backends import Backends
from orienter_tasks.tasks.config_files import parse_yaml as parse
from tests.commands.selftest.conftest import ROOT
from tests.configurations import SHOP_TEMPLATE
from tests.integration.checkouts import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orienter_tasks.commands.selftest.host import HostConfig


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the other configuration's template."""
    made = tmp_path / ROOT
    (made / "templates").mkdir(parents=True, exist_ok=True)
    (made / "templates" / "shop.conf.j2").write_text(SHOP_TEMPLATE)
    return made


def test_the_templates_render_for_every_id(root: Path, host_config: HostConfig) -> None:
    assert f"for {host_config.settings.instances.max + 1} ids" in templates.nginx_renders(host_config)
    assert f"for {host_config.settings.instances.max + 1} ids" in templates.compose_agrees(host_config, parse)
    assert not (root / ".dev-data").exists()


@pytest.mark.embedded
def test_nginx_takes_them(root: Path, host_config: HostConfig) -> None:
    outcomes = list(templates.checks(host_config, embedded, parse))
    assert [outcome.text for outcome in outcomes if outcome.verdict != "ok"] == []
    assert [path.name for path in (root / ".dev-data").iterdir()] == [".gitignore"]


@pytest.mark.docker
def test_nginx_in_a_container_takes_them(root: Path) -> None:
    from orienter_tasks.commands.selftest.host import HostConfig
    from orienter_tasks.settings.load import load_settings
    from tests.configurations import shop

    small, backends = {**shop(), "instances": {"max": 2}}, Backends("docker")
    assert "for 3 ids, on docker" in templates.nginx_accepts(HostConfig(load_settings(small), {}, root), backends)
    bridged = {**small, "nginx": {"template": "shop.conf.j2", "network": "bridge"}}
    assert "for 3 ids" in templates.nginx_accepts(HostConfig(load_settings(bridged), {}, root), backends)
    import docker

    client = docker.from_env()
    try:
        left = client.api.containers(all=True, filters={"label": "io.orienter.project"})
        mine = [one for one in left if str(root) in one["Labels"]["io.orienter.root"]]
        networks = client.api.networks(filters={"label": "io.orienter.project"})
        mine += [one for one in networks if str(root) in one["Labels"]["io.orienter.root"]]
    finally:
        client.close()
    assert mine == []


def embedded() -> Backends:
    return Backends("embedded")


def own_template(root: Path, text: str) -> None:
    (root / "templates" / "nginx-local.conf.j2").write_text(text)
    (root / "templates" / "shop.conf.j2").write_text(text)


def test_a_template_that_does_not_render(root: Path, host_config: HostConfig) -> None:
    own_template(root, "server { listen {{ lissen }}; }")
    with pytest.raises(CheckError, match="'lissen' is undefined"):
        templates.nginx_renders(host_config)


def test_a_template_that_renders_for_some_ids_only(root: Path, host_config: HostConfig) -> None:
    own_template(root, "{{ 7 // (instance_id - 3) }} {{ token }}")
    with pytest.raises(CheckError, match="does not render"):
        templates.nginx_renders(host_config)


def test_a_template_that_does_not_say_who_it_is(root: Path, host_config: HostConfig) -> None:
    own_template(root, "server { listen {{ listen }}; }")
    with pytest.raises(CheckError, match="does not answer /health with its token"):
        templates.nginx_renders(host_config)


@pytest.mark.embedded
def test_a_template_that_nginx_refuses(root: Path, host_config: HostConfig) -> None:
    own_template(root, "server { listen {{ listen }}; # {{ token }}\n lissen; }")
    outcomes = {outcome.topic: outcome for outcome in templates.checks(host_config, embedded, parse)}
    refused = outcomes.pop("nginx accepts them")
    assert refused.verdict == "problem"
    assert 'unknown directive "lissen"' in refused.text
    assert all(outcome.verdict == "ok" for outcome in outcomes.values())
    assert [path.name for path in (root / ".dev-data").iterdir()] == [".gitignore"]


def test_a_compose_template_that_is_no_yaml(root: Path, host_config: HostConfig) -> None:
    (root / "templates" / compose.TEMPLATE).write_text("services: [")
    with pytest.raises(CheckError, match="of instance 0, on the machine's network, is not valid YAML"):
        templates.compose_agrees(host_config, parse)
    (root / "templates" / compose.TEMPLATE).write_text("just words")
    with pytest.raises(CheckError, match="is not a mapping"):
        templates.compose_agrees(host_config, parse)


def publish_everywhere(document: dict[str, Any]) -> None:
    document["services"]["postgres"]["ports"] = ["5432:5432"]


def another_volume(document: dict[str, Any]) -> None:
    document["volumes"]["postgres-data"]["name"] = "postgres-data-0"


def another_network(document: dict[str, Any]) -> None:
    document["networks"]["infra"]["name"] = "everybody's"


def no_label(document: dict[str, Any]) -> None:
    del document["services"]["minio"]["labels"]["io.orienter.root"]


def another_password(document: dict[str, Any]) -> None:
    document["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] = "hunter2"


def one_more(document: dict[str, Any]) -> None:
    document["services"]["redis"] = {"image": "redis"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (publish_everywhere, "services.postgres.ports[0]"),
        (another_volume, "volumes.postgres-data.name"),
        (another_network, "networks.infra.name"),
        (no_label, "services.minio.labels.io.orienter.root"),
        (another_password, "services.postgres.environment.POSTGRES_PASSWORD"),
        (one_more, "services.redis"),
    ],
)
def test_a_compose_file_that_says_something_else(
    root: Path, host_config: HostConfig, change: Callable[[dict[str, Any]], None], key: str
) -> None:
    config = host_config.instance(3)
    document = parse(compose.render(config, placement.ON_HOST).content)
    compare(document, config, placement.ON_HOST, "it")
    change(document)
    with pytest.raises(CheckError) as found:
        compare(document, config, placement.ON_HOST, "it")
    assert key in str(found.value)
    assert "hunter2" not in str(found.value)


def test_no_backend_is_a_failed_check(root: Path, host_config: HostConfig) -> None:
    from orienter_tasks.errors import BackendError

    def none() -> Backends:
        raise BackendError("no engine answers", hint="start it")

    outcomes = {outcome.topic: outcome for outcome in templates.checks(host_config, none, parse)}
    assert outcomes["nginx accepts them"].text == "no engine answers"
    assert outcomes["nginx accepts them"].remedy == "start it"


def test_this_repositorys_own_templates_are_found() -> None:
    assert (REPOSITORY / "templates" / compose.TEMPLATE).is_file()
    with pytest.raises(ValueError, match="while parsing"):
        parse("[")
    assert parse("a: [1]") == {"a": [1]}
