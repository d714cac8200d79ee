"""A foreground run looks after services."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orienter_tasks.commands.attach import Attachment
from orienter_tasks.services import lease
from orienter_tasks.services.service import ServiceComponent
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path


class ToldError(Exception):
    """Ends a foreground run."""


def test_a_service_whose_lease_another_instance_has_taken_is_not_started_again(tmp_path: Path) -> None:
    bot = {"command": ["sh", "-c", "exit 3"], "lease": "bot", "on_conflict": "skip", "on_exit": "restart"}
    config = make_config(tmp_path / "mine", services={"bot": bot})
    service = ServiceComponent(config, "bot", config.settings.services["bot"], needs=(), exported={})
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if "not started again" in text:
            raise ToldError

    assert service.start(lambda _: None)
    while lease.holder("bot") is not None:
        time.sleep(0.01)
    other = replace(config.instance, id=3, root=tmp_path / "other")
    lease.take("bot", other, "bot")
    backend: Any = SimpleNamespace(status=list, components=list)
    with pytest.raises(ToldError):
        Attachment(config, backend, [service], tell).run()
    assert told[0] == "bot exited with code 3; starting it again in 0.5 s (1 of 5)"
    assert told[1].startswith(f"bot is not started again: bot runs in one instance at a time: instance 3 ({other.root}")
    service.stop(1.0)
