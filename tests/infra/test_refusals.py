"""Servers that the chosen backend cannot run are named before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import BackendError, ConfigError
from orienter_tasks.infra import choice
from orienter_tasks.instance.backends import Backends
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = {"program": ["orienter-no-such-program", "--serve"], "port": 11211}
IMAGE = {"image": "x", "port": 11311}


def test_docker_needs_an_image(tmp_path: Path) -> None:
    config = make_config(tmp_path, infra={"one": PROGRAM})
    assert not choice.available("docker", config.settings, config.settings.servers)
    with pytest.raises(ConfigError, match="uses Docker, and one has no image") as raised:
        choice.require(Backends("docker"), config.settings, config.instance)
    assert "add orienter.infra.one.image" in raised.value.hint


@pytest.mark.parametrize(
    ("infra", "name", "hint"),
    [
        ({"one": PROGRAM}, "one", "install orienter-no-such-program, or change orienter.infra.one.program"),
        ({"two": IMAGE}, "two", "add orienter.infra.two.program"),
    ],
)
def test_embedded_needs_a_program(tmp_path: Path, infra: dict[str, object], name: str, hint: str) -> None:
    config = make_config(tmp_path, infra=infra)
    assert not choice.available("embedded", config.settings, config.settings.servers)
    with pytest.raises(BackendError, match=f"found no program for .*{name}") as raised:
        choice.require(Backends("embedded"), config.settings, config.instance)
    assert hint in raised.value.hint
