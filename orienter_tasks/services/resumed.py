"""A service that is started again just as it ran: with its former command and environment, not today's settings."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConflictError, OrienterError, TimedOutError
from orienter_tasks.processes import census, table
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.record import COMPONENT_MARKER, load
from orienter_tasks.services.service import ServiceComponent
from orienter_tasks.settings.model import Service
from orienter_tasks.stack.component import NotReadyError, SkippedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.processes.record import Record

POLL_SECONDS = 0.05


class ResumedService(ServiceComponent):
    """A service as its record and its environment say; only what shows that it is ready is as the settings say."""

    def __init__(self, config: InstanceConfig, record: Record, environment: Mapping[str, str]) -> None:
        service = config.settings.services.get(record.component) or Service(command=record.command)
        super().__init__(config, record.component, service, needs=record.needs, exported=environment)
        self.record = record
        self._environment = environment
        self._starting = threading.Lock()

    def resume(self, *, ready: bool) -> OrienterError | None:
        """Start it, unless it runs, and wait until it is ready, if wanted; return what went wrong.

        It may be called again while an earlier call has not come to its end.
        """
        try:
            with self._starting:
                self.start(lambda _: None)
            deadline = time.monotonic() + self.timeout
            while ready:
                try:
                    self.probe()
                    break
                except NotReadyError as error:
                    if time.monotonic() > deadline:
                        raise TimedOutError(f"{self.name} is not ready after {self.timeout:g} s: {error}") from error
                    time.sleep(POLL_SECONDS)
        except SkippedError as reason:
            return CheckError(f"{self.name} of {self._config.instance} is not started again: {reason}")
        except OrienterError as error:
            return error
        return None

    def _program(self) -> Program:
        record = self.record
        return Program(
            component=self.name,
            command=record.command,
            cwd=Path(record.cwd),
            env=self._environment,
            log=Path(record.log),
            logs=self._config.settings.logs,
            stop_signal=record.stop_signal,
            group=record.group,
            needs=record.needs,
            port=record.port,
            with_shim=True,
        )


def resumed(config: InstanceConfig, name: str) -> ResumedService:
    """Return a running service as what can be started again.

    Raises:
        ConflictError: nothing says how it was started.
    """
    record = load(config.instance, name)
    pids = [record.pid] if record is not None and record.alive() else census.take().pids(config.instance, name)
    environment = next((found for pid in pids if COMPONENT_MARKER in (found := table.environment(pid))), {})
    if record is None or not environment:
        raise ConflictError(
            f"{name} of {config.instance} runs, and nothing says how it could be started again",
            hint=f"stop it first: inv services.stop -s {name}",
        )
    return ResumedService(config, record, environment)
