"""Our tasks below another name, with settings of their own: these count, and hints name what can be called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests import slot
from tests.integration.small import BASES, SmallHost, complaint, web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.integration.checkouts import Checkout

TASKS = """from invoke import Collection, task

import orienter_tasks

@task
def dev(c):
    print("the host's own")

ns = Collection(dev)
for name, config in {settings!r}.items():
    ns.add_collection(Collection.from_module(orienter_tasks, name=name, config={{"orienter": config}}))
"""
NAMED = {"project": slot.project("named"), "ports": BASES}


def nested(host: SmallHost, **settings: Mapping[str, Any]) -> Checkout:
    """Give a host's main checkout our tasks below these names, with these settings, and no invoke.yaml."""
    (host.main.path / "tasks.py").write_text(TASKS.format(settings=settings))
    (host.main.path / "invoke.yaml").unlink()
    return host.main


@pytest.fixture
def host(tmp_path: Path) -> SmallHost:
    return SmallHost(tmp_path, "embedded", tmp_path)


def test_the_settings_of_the_called_task(host: SmallHost) -> None:
    main = nested(host, stack=NAMED)
    shown = main.inv("stack.env.show", "--json").json
    assert shown["project"] == NAMED["project"]
    exported = main.inv("stack.env.export", "--format", "json").json  # has a pre-task
    assert exported["POSTGRES_PORT"] == str(BASES["postgres"])
    assert exported["COMPOSE_PROJECT_NAME"] == shown["variables"]["COMPOSE_PROJECT_NAME"]


def test_hints_name_what_can_be_called(host: SmallHost) -> None:
    main = nested(host, stack=NAMED)
    assert "start it with: inv stack.infra.up" in complaint(main.inv("stack.services.start", code=3))
    (main.path / ".env").unlink()
    findings = main.inv("stack.doctor", "--json", code=None).json["findings"]
    assert "inv stack.env.init" in [found["remedy"] for found in findings]
    assert main.inv("dev").out == "the host's own\n"


def test_two_settings_in_one_command(host: SmallHost) -> None:
    main = nested(host, one=NAMED, two={**NAMED, "project": slot.project("other")})
    line = complaint(main.inv("one.env.export", "two.env.export", code=2))
    assert "one.env.export and two.env.export have different settings" in line
    assert not (main.path / ".dev-data").exists()
    main.inv("one.env.export", "one.env.show")


@pytest.mark.embedded
def test_a_start_below_another_name(tmp_path: Path, clusters: Path) -> None:
    host = SmallHost(tmp_path, "embedded", clusters)
    tasks, written = (host.main.path / "tasks.py").read_text(), (host.main.path / "invoke.yaml").read_text()
    main = nested(host, stack={**host.settings, "services": {**host.settings["services"], "web": web()}})
    try:
        main.inv("stack.dev", "--detach")
        document = main.inv("stack.dev.status", "--json").json
        assert (document["state"], document["project"]) == ("running", host.project)
        assert document["ports"]["nginx"] == BASES["nginx"]
        with pytest.raises(HTTPError) as missing:
            urlopen(f"http://127.0.0.1:{BASES['nginx']}/", timeout=10)
        assert missing.value.read().endswith(b"why: inv stack.dev.status\n")
    finally:
        (main.path / "tasks.py").write_text(tasks)
        (main.path / "invoke.yaml").write_text(written)
        host.clean_up()
