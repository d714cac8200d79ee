"""The embedded backend keeps the contract of all backends."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.stack.component import LogRequest
from tests.backends.contract import Contract, component, down, sql, up
from tests.backends.embedded.lab import kill

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.embedded.lab import EmbeddedLab

pytestmark = pytest.mark.embedded


class TestEmbedded(Contract):
    """Against native processes."""

    def kill(self, config: InstanceConfig, name: str) -> None:
        kill(config, name)

    def test_a_stream_goes_on_over_a_restart(self, lab: EmbeddedLab) -> None:
        """The previous run's log is renamed, and the next one's is followed."""
        config = lab.config()
        backend = lab.backend(config)
        up(backend, config, ["postgres"])
        told = threading.Event()
        heard: list[str] = []
        log = component(backend, "postgres").logs(LogRequest(lines=0, follow=told))
        listener = threading.Thread(target=lambda: heard.extend(log))
        listener.start()
        time.sleep(0.3)
        sql(config, "DO $$ BEGIN RAISE LOG 'before the restart'; END $$")
        down(backend)
        up(lab.backend(config), config, ["postgres"])
        sql(config, "DO $$ BEGIN RAISE LOG 'after the restart'; END $$")
        time.sleep(0.3)
        told.set()
        listener.join(5)
        assert not listener.is_alive()
        text = "\n".join(heard)
        assert text.index("before the restart") < text.index("shutting down") < text.index("after the restart")
