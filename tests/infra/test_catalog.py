"""What is registered is in the catalog, under names of its own; what it does not have is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from msgspec.structs import replace

from orienter_tasks.backends.docker.placement import ON_HOST
from orienter_tasks.infra import all as infra, compose
from orienter_tasks.settings import catalog
from tests.configs import make_config
from tests.infra.echo import ENTRY, Echo
from tests.integration.small import ORIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig

BUILT_IN = [entry.name for entry in catalog.BUILT_IN]
BARE = replace(ENTRY, data=False, secrets=())


class Bare(Echo):
    """An echo server that keeps nothing and asks for nothing."""

    def container(self, config: InstanceConfig, placed: Callable[[], Placement]) -> ContainerSpec:
        return replace(super().container(config, placed), mounts=(), environment={})


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    monkeypatch.setattr(infra, "_makers", dict(infra._makers))
    yield
    infra.component.cache_clear()


def test_a_component_comes_after_the_built_in_ones() -> None:
    infra.register(ENTRY, Echo)
    infra.register(ENTRY, Echo)
    assert catalog.names() == [*BUILT_IN, "echo"]
    assert catalog.component_of_port("echo") == "echo"
    assert isinstance(infra.component("echo"), Echo)


@pytest.mark.parametrize("taken", [{"ports": {"minio_console": 9001}}, {"further_processes": ("minio-front",)}])
def test_names_of_another_component_are_refused(taken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="of echo is the name of another component's port or process"):
        infra.register(replace(ENTRY, **taken), Echo)
    assert catalog.names() == BUILT_IN


def test_a_container_without_data_and_secrets_leaves_no_empty_keys(tmp_path: Path) -> None:
    for name in BUILT_IN:
        del catalog._entries[name]
    infra.register(BARE, Bare)
    config = make_config(tmp_path, 1, services=dict.fromkeys(ORIENT))
    parsed = yaml.safe_load(compose.render(config, ON_HOST).content)
    assert list(parsed["services"]) == ["echo"]
    assert not {"volumes", "environment", "extra_hosts"} & parsed["services"]["echo"].keys()
    assert "volumes" not in parsed


def test_an_instance_that_was_claimed_before_has_no_such_component(tmp_path: Path) -> None:
    before = make_config(tmp_path, 1).instance
    infra.register(ENTRY, Echo)
    assert before.infra == BUILT_IN
    after = make_config(tmp_path, 1)
    assert after.instance.infra == [*BUILT_IN, "echo"]
    assert after.variables["ECHO_URL"] == "echo://:open%20sesame@127.0.0.1:8007/valley_1"
