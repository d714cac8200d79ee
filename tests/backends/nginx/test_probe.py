"""Whose nginx answers: this checkout's, another's, or quite another server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.backends.nginx import health
from orienter_tasks.stack.component import NotReadyError
from tests.backends.nginx.upstream import Upstream

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.nginx.lab import Nginx


@pytest.mark.embedded
def test_a_probe_gives_the_answer_of_its_own_nginx(running: Nginx) -> None:
    assert health.probe(running.config)["token"] == health.health_token(running.config.instance)


@pytest.mark.embedded
def test_a_probe_names_another_instance(running: Nginx) -> None:
    instance = running.config.instance
    with pytest.raises(NotReadyError, match=r"answered by instance 3 of orienter, not instance 4 \(checkout\)"):
        health.probe(replace(running.config, instance=replace(instance, id=4)))
    with pytest.raises(NotReadyError, match="answered by instance 3 of orienter, not instance 3"):
        health.probe(replace(running.config, instance=replace(instance, project="other")))
    with pytest.raises(NotReadyError, match="instance 3 of another checkout"):
        health.probe(replace(running.config, instance=replace(instance, root=Path("/elsewhere"))))


@pytest.mark.embedded
def test_a_probe_names_another_server(config: InstanceConfig) -> None:
    with Upstream("stranger", config.instance.ports["nginx"]).running(), pytest.raises(NotReadyError) as caught:
        health.probe(config)
    assert "answers /health with 200" in str(caught.value)
    assert '"name": "stranger"' in str(caught.value)


def test_a_probe_says_when_nobody_answers(config: InstanceConfig) -> None:
    with pytest.raises(NotReadyError, match=f"http://127.0.0.1:{config.instance.ports['nginx']}/health"):
        health.probe(config)


@pytest.mark.parametrize("body", [b"[]", b'"token"', b"null", b"\xff", b"", b'{"token": 1', b'{"status": "ok"}'])
def test_a_probe_survives_any_answer(config: InstanceConfig, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(health, "http_answer", lambda *_: (200, body))
    with pytest.raises(NotReadyError, match="is not the nginx of"):
        health.probe(config)


def test_a_reload_is_over_when_no_former_worker_answers_any_more(
    config: InstanceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["old", "new", "old", "new"]
    seen: list[tuple[float, str]] = []

    def probe(_: InstanceConfig) -> dict[str, str]:
        seen.append((time.monotonic(), answers[min(len(seen), 3)]))
        return {"revision": seen[-1][1]}

    monkeypatch.setattr(health, "probe", probe)
    health.await_revision(config, "new")
    last = max(at for at, revision in seen if revision == "old")
    assert seen[-1][0] - last >= health.SETTLED_SECONDS
