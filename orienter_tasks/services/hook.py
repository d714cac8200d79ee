"""A hook as a component: a command that runs to its end."""

from __future__ import annotations

import glob
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConfigError, OrienterError, TimedOutError
from orienter_tasks.identity import volumes
from orienter_tasks.instance.variables import expand
from orienter_tasks.processes.program import Program
from orienter_tasks.processes.record import forget
from orienter_tasks.processes.spawn import describe_exit, spawn
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.services.service import environment, invocation
from orienter_tasks.stack.component import LogRequest, tail
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.processes.spawn import Handle
    from orienter_tasks.settings.model import Hook
    from orienter_tasks.stack.component import Note

POLL_SECONDS = 0.01
TAIL_LINES = 15
MOST_BYTES = 2**20
LONGEST_VARIABLE = 2**17  # MAX_ARG_STRLEN of Linux: no program could be started with it


class HookComponent:
    """One hook.

    Args:
        needs: what must be ready before it runs.
        exported: the variables of the hooks that it waits for; filled while they run.
        printed: gets those that it exports itself, for what waits for it.
        generations: returns those of the volumes for whose data `once: data` runs it.
    """

    def __init__(
        self,
        config: InstanceConfig,
        hook: Hook,
        *,
        needs: Sequence[str],
        exported: Mapping[str, str],
        printed: MutableMapping[str, str],
        generations: Callable[[], Mapping[str, str]],
    ) -> None:
        self.name = hook.name
        self.needs = needs
        self.timeout = hook.timeout
        self.outcome = "done"
        self._config = config
        self._hook = hook
        self._exported = exported
        self.printed = printed
        self._generations = generations

    @property
    def exports(self) -> bool:
        """Whether those that wait for it need what it prints."""
        return self._hook.exports

    @property
    def log(self) -> Path:
        return self._config.instance.log_dir / f"{self.name}-hook.log"

    def start(self, note: Note) -> bool:
        """Run it to its end, unless it has nothing to do."""
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
        else:
            if self._hook.once == "data":
                volumes.mark_done(self._config.instance, self.name, self._generations())
        return False

    def probe(self) -> None:
        """A hook that has ended is ready."""

    def stop(self, grace: float) -> None:
        """End it where it still runs."""
        stop_component(self._config.instance, self.name, grace)

    def logs(self, request: LogRequest) -> Iterator[str]:
        return read(self.log, request)

    def _up_to_date(self) -> bool:
        if self._hook.once == "data":
            return volumes.is_done(self._config.instance, self.name, self._generations())
        made = [self._matches(pattern, "creates") for pattern in _listed(self._hook.creates)]
        if not made or not all(made):
            return False
        oldest = min(_written_at(path) for paths in made for path in paths)
        sources = (path for pattern in _listed(self._hook.sources) for path in self._matches(pattern, "sources"))
        return all(_written_at(path) <= oldest for path in sources)

    def _matches(self, pattern: str, name: str) -> list[Path]:
        """Return what a path or a pattern of the settings stands for."""
        key, values = f"hook {self.name}, {name}", environment(self._config, self._exported)
        root = self._config.instance.root
        path = root / expand(pattern, values, key)
        if path.exists():
            return [path]
        escaped = expand(pattern, {name: glob.escape(value) for name, value in values.items()}, key)
        if escaped.startswith("/"):
            escaped, root = escaped.lstrip("/"), Path("/")
        try:
            return list(root.glob(escaped))
        except ValueError as error:
            hint = "** stands alone between two slashes, as in src/**/*.ts"
            raise ConfigError(f"{key}: {pattern!r} is not a pattern: {error}", hint=hint) from error

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
        from orienter_tasks.instance.export import NotAssignmentError, parse

        who = f"hook {self.name} of {self._config.instance}"
        try:
            printed = dict(parse(text))
        except NotAssignmentError as error:
            hint = "print lines NAME=value, quoted as for a shell: export NAME='two words'"
            raise CheckError(f"{who}: {error} of what it prints does not set a variable", hint=hint) from error
        for key, value in printed.items():
            if len(os.fsencode(f"{key}={value}")) >= LONGEST_VARIABLE:
                what = f"{who} exports {key}, which is too long for a variable"
                raise CheckError(what, hint=f"at most {LONGEST_VARIABLE // 2**10} kB; let it write a file instead")
        fixed = sorted(filter(self._config.variables.is_fixed, printed))
        if fixed:
            self.outcome = f"done; ignored: {', '.join(fixed)}"
        self.printed.update((key, value) for key, value in printed.items() if key not in fixed)

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


def _listed(patterns: str | Sequence[str]) -> Sequence[str]:
    return [patterns] if isinstance(patterns, str) else patterns


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
