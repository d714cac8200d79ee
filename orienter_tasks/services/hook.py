"""A hook as a component: a command that runs to its end once the infrastructure is ready, before the services."""

from __future__ import annotations

import glob
import io
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConfigError, OrienterError, TimedOutError
from orienter_tasks.instance.variables import expand
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.record import forget
from orienter_tasks.processes.spawn import describe_exit, spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.services.service import invocation
from orienter_tasks.stack.component import LogRequest, tail
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.processes.spawn import Handle
    from orienter_tasks.settings.model import Hook
    from orienter_tasks.stack.component import Note

POLL_SECONDS = 0.01
TAIL_LINES = 15
MOST_BYTES = 2**20
LONGEST_VARIABLE = 2**17  # MAX_ARG_STRLEN of Linux: no program could be started with it


class HookComponent:
    """One hook; the variables that it prints go into `exported`, for the services that start after it."""

    def __init__(
        self, config: InstanceConfig, hook: Hook, *, needs: Sequence[str], exported: MutableMapping[str, str]
    ) -> None:
        self.name = hook.name
        self.needs = needs
        self.timeout = hook.timeout
        self.outcome = "done"
        self._config = config
        self._hook = hook
        self._exported = exported

    @property
    def exports(self) -> bool:
        """Whether services need what it prints."""
        return self._hook.exports

    @property
    def log(self) -> Path:
        return self._config.instance.log_dir / f"{self.name}-hook.log"

    def start(self, note: Note) -> bool:
        """Run it to its end, unless its result is there and newer than its sources."""
        if self._up_to_date():
            self.outcome = "nothing to do"
            return False
        try:
            self._run(note)
        except BaseException as error:
            stop_component(self._config.instance, self.name, 1.0)
            if not self._hook.optional or not isinstance(error, OrienterError):
                raise
            self.outcome = f"failed, but is optional: {error}"
            note(self.outcome)
        return False

    def probe(self) -> None:
        """A hook that has ended is ready."""

    def stop(self, grace: float) -> None:
        """End it where it still runs."""
        stop_component(self._config.instance, self.name, grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        return read(self.log, request)

    def _up_to_date(self) -> bool:
        if not self._hook.creates:
            return False
        root = self._config.instance.root
        values = self._config.variables.values
        result = root / expand(self._hook.creates, values, f"hook {self.name}, creates")
        if not result.exists():
            return False
        if not self._hook.sources:
            return True
        made = _written_at(result)
        return all(_written_at(path) <= made for path in self._sources())

    def _sources(self) -> list[Path]:
        key = f"hook {self.name}, sources"
        values = {name: glob.escape(value) for name, value in self._config.variables.values.items()}
        pattern, root = expand(self._hook.sources, values, key), self._config.instance.root
        if pattern.startswith("/"):
            pattern, root = pattern.lstrip("/"), Path("/")
        try:
            return list(root.glob(pattern))
        except ValueError as error:
            hint = "** stands alone between two slashes, as in src/**/*.ts"
            raise ConfigError(f"{key}: {self._hook.sources!r} is not a pattern: {error}", hint=hint) from error

    def _run(self, note: Note) -> None:
        instance = self._config.instance
        stop_component(instance, self.name, 1.0)  # what a crashed run left
        handle = spawn(instance, self._program())
        output = _Output(handle.child) if self._hook.exports else None
        code = self._await_end(handle, note)
        forget(instance, self.name)
        if code != 0:
            raise CheckError(
                f"hook {self.name} of {instance} {describe_exit(code)}",
                hint=f"its log: {self.log}",
                details=tail(self, TAIL_LINES),
            )
        if output is not None:
            text = output.text()
            if output.too_long:
                what = f"hook {self.name} of {instance} prints more than {MOST_BYTES // 2**20} MB"
                raise CheckError(what, hint="with `exports`, let it print lines NAME=value alone")
            self._take_exports(text)

    def _await_end(self, handle: Handle, note: Note) -> int:
        begun = time.monotonic()
        while (code := handle.exit_code()) is None:
            seconds = time.monotonic() - begun
            if seconds > self._hook.timeout:
                raise TimedOutError(
                    f"hook {self.name} of {self._config.instance} did not end in {self._hook.timeout:g} s",
                    hint="raise its `timeout` in invoke.yaml",
                    details=tail(self, TAIL_LINES),
                )
            note("")
            time.sleep(POLL_SECONDS)
        return code

    def _take_exports(self, text: str) -> None:
        from dotenv import dotenv_values

        for key, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items():
            if len(os.fsencode(f"{key}={value}")) >= LONGEST_VARIABLE:
                what = f"hook {self.name} of {self._config.instance} exports {key}, which is too long for a variable"
                raise CheckError(what, hint=f"at most {LONGEST_VARIABLE // 2**10} kB; let it write a file instead")
            if value is not None and key not in self._config.variables.values:
                self._exported[key] = value

    def _program(self) -> Program:
        key, named = f"hook {self.name}, ", f"hook {self.name} of {self._config.instance}, "
        command, cwd, env = invocation(self._config, self._hook, self._exported, key=key, named=named)
        return Program(
            component=self.name,
            command=command,
            cwd=cwd,
            env=env,
            log=self.log,
            logs=self._config.settings.logs,
            stdout=subprocess.PIPE if self._hook.exports else None,
        )


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed just now, or a link to nowhere
        return 0.0


class _Output:
    """Reads what a child prints while it runs, so that it never blocks on a full pipe; it is kept out of the log."""

    def __init__(self, child: subprocess.Popen[bytes] | None) -> None:
        import threading

        self.too_long = False
        self._parts: list[bytes] = []
        self._child = child
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return all of it, once the child has ended."""
        self._thread.join(timeout=5.0)
        return b"".join(self._parts).decode("utf-8", "replace")

    def _read(self) -> None:
        if self._child is not None and self._child.stdout is not None:
            with self._child.stdout as stream:
                self._parts.append(stream.read(MOST_BYTES))
                while stream.read(65536):
                    self.too_long = True
