from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.docker import survey
from orienter_tasks.backends.docker.spec import component_labels
from tests.backends.docker.lab import PROJECT
from tests.integration.checkouts import IMAGES
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from tests.backends.docker.lab import DockerLab

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.250000000Z", 1.25),
        ("1970-01-01T02:00:01.123456789+02:00", 1.123456789),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_the_engines_times(text: str | None, seconds: float | None) -> None:
    assert survey.moment(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("status", "started"),
    [
        ("Up Less than a second", 10 * DAY - 2),
        ("Up 1 second", 10 * DAY - 2),
        ("Up About a minute (healthy)", 10 * DAY - 120),
        ("Up 5 minutes (health: starting)", 10 * DAY - 360),
        ("Up About an hour", 10 * DAY - 7200),
        ("Up 3 days", 6 * DAY),
        ("Up 4 weeks", 0.0),  # rounded, and it cannot have started before it was made
        ("Up for ever", 0.0),
    ],
)
def test_a_container_that_was_started_again_is_younger_than_it_was_made(status: str, started: float) -> None:
    assert survey.started(0.0, status, 10 * DAY) == started


@pytest.mark.docker
def test_everything_with_our_label_is_read_in_three_calls(lab: DockerLab) -> None:
    config, other = lab.config(1), lab.config(2)
    api = lab.engine.api
    for one in (config, other):
        instance = one.instance
        made = api.create_container(
            f"{IMAGES}/nginx:local",
            name=instance.container("postgres"),
            labels={**instance.labels, "io.orienter.component": "postgres"},
            host_config=api.create_host_config(port_bindings={80: ("127.0.0.1", instance.ports["postgres"])}),
            ports=[80],
        )
        api.create_volume(instance.volume("postgres"), labels=component_labels(instance, "postgres"))
        api.create_network(instance.network, labels=instance.labels, check_duplicate=True)
        if one is config:
            api.start(made["Id"])
    # half a label is none of ours
    api.create_volume(f"{PROJECT}-odd", labels={"io.orienter.project": PROJECT, "io.orienter.root": str(lab.directory)})

    calls = lab.count_calls()
    found = survey.read(lab.engine, project=PROJECT)
    assert calls() == 3 + (2 if lab.engine.facts.product == "Podman" else 0)  # which lists containers without ports
    mine = [one for one in found if one.root.startswith(str(lab.directory))]
    assert sorted((one.kind, one.instance, one.component, one.state) for one in mine) == [
        ("container", 1, "postgres", "running"),
        ("container", 2, "postgres", "created"),
        ("network", 1, "", ""),
        ("network", 2, "", ""),
        ("volume", 1, "postgres", ""),
        ("volume", 2, "postgres", ""),
    ]
    running = next(one for one in mine if one.running)
    assert running.name == config.instance.container("postgres")
    assert running.ports == (config.instance.ports["postgres"],)
    assert running.started_at == pytest.approx(time.time(), abs=5)
    assert {one.instance for one in survey.read(lab.engine, project=PROJECT, instance="2")} == {2}
    assert PROJECT in survey.publisher(lab.engine, config.instance.ports["postgres"])
    assert survey.publisher(lab.engine, 1) == ""


@pytest.mark.docker
def test_what_somebody_runs_in_a_container_is_not_its_health_check(lab: DockerLab) -> None:
    api, own = lab.engine.api, lab.config(1).instance.labels
    health = {"test": ["CMD", "sleep", "50"], "interval": 10**9, "timeout": 60 * 10**9}
    made = api.create_container(f"{IMAGES}/nginx:local", ["sleep", "60"], labels=own, healthcheck=health)["Id"]
    api.start(made)
    wait_for(lambda: api.inspect_container(made)["ExecIDs"], "a health check")
    assert survey.programs_in(lab.engine, made) == []
    api.exec_start(api.exec_create(made, ["sleep", "55"])["Id"], detach=True)
    wait_for(lambda: survey.programs_in(lab.engine, made) == ["sleep"], "a program")
