"""Our kind of Invoke task: its body gets the RunContext, and an expected error ends in one line and a code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from copy import copy
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, TypeVar, cast

from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task, call as invoke_call, task as invoke_task

from orienter_tasks.errors import ConfigError, InterruptError, OrienterError, UnexpectedError
from orienter_tasks.machine import hooks, streams
from orienter_tasks.machine.signals import SignalHandler, raise_unheard
from orienter_tasks.tasks.called import load_settings_of_called, rename

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from invoke.config import Config
    from invoke.context import Context

    from orienter_tasks.lifecycle.context import RunContext, RunOptions

Body = TypeVar("Body", bound="Callable[..., None]")

SHORT_FLAGS = {"service": ("s",)}  # Invoke's own choice would shift with every new argument
RUN_FLAGS: Mapping[str, str | bool] = {
    **dict.fromkeys(("backend", "timeout", "data"), ""),
    **dict.fromkeys(("quiet", "fresh", "detach", "force", "enable_whatsapp", "no_whatsapp", "no_slack"), False),
}
"""Flags for the whole run, also for the pre- and post-tasks of the task that has them; they make its RunOptions."""

LONGEST = 300  # characters of an unexpected exception's message on the terminal

_given: dict[str, Any] = {}
contexts: dict[int, RunContext] = {}


def _undo(error: InterruptError) -> None:
    """Undo what the run has begun: a signal came between two tasks, or within a host's own."""
    for context in contexts.values():
        context.undo()
        raise _exit(error)


_signals = SignalHandler(lambda: any(context.unfinished for context in contexts.values()), _undo)
_signals.handle_ctrl_c()
streams.prepare()


class EarlyArgument(Argument):
    """An argument whose value the whole run knows once it is parsed: pre-tasks run before their task, without it."""

    def set_value(self, value: Any, cast: bool = True) -> None:
        super().set_value(value, cast)
        _given[str(self.attr_name or self.name).replace("-", "_")] = self.value

    def __deepcopy__(self, memo: object) -> EarlyArgument:
        """Copy what changes, the value: Invoke copies the arguments of all tasks before it parses any."""
        made = copy(self)
        made._value = copy(self._value)  # noqa: SLF001 - of this class
        return made


class OrienterTask(Task[Any]):
    """A task whose body takes a RunContext; it has those flags of the whole run that its help names.

    `dry` is what Invoke's `--dry` runs instead of its body: a function of `commands/dry.py`, by name; or its body with
    these arguments, by default as they are, because it changes nothing. With `tolerant`, settings may be wrong: it only
    looks, or stops what runs. With `words`, it takes words behind two dashes.
    """

    dry: str | Mapping[str, Any]
    tolerant: bool
    words: bool

    def __deepcopy__(self, memo: object) -> OrienterTask:
        """Return the task itself, which never changes: Invoke copies the whole collection of each host."""
        return self

    def argspec(self, body: Callable[..., Any]) -> Signature:
        own = super().argspec(body)
        named = [name.replace("-", "_") for name in self.help]
        flags = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=RUN_FLAGS[name]) for name in named if name in RUN_FLAGS
        ]
        return own.replace(parameters=[*own.parameters.values(), *flags]) if flags else own

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        texts = dict(self.help)  # Invoke removes each text when it uses it
        given = super().get_arguments(ignore_unknown_help)
        self.help = texts
        return [
            EarlyArgument(
                names=(*argument.names, *SHORT_FLAGS.get(str(argument.name), ())),
                kind=argument.kind,
                default=argument.default,
                help=argument.help,
                positional=argument.positional,
                optional=argument.optional,
                incrementable=argument.incrementable,
                attr_name=argument.attr_name,
            )
            for argument in given
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body; if it fails, undo an unfinished start and exit with one line."""
        own = {name: value for name, value in kwargs.items() if name not in RUN_FLAGS}
        with _signals.task():
            try:
                context = _context(args[0])
                context.tolerant = self.tolerant
                body, own = self._dry(own) if context.options.dry else (self.body, own)
                try:
                    result = body(context, *args[1:], **own)
                    _remember_for_shells(context)
                    raise_unheard()
                except BaseException as error:
                    context.undo(error)
                    raise
                else:
                    return result
            except KeyboardInterrupt as error:
                raise _exit(error if isinstance(error, InterruptError) else InterruptError("interrupted")) from None
            except OrienterError as error:
                raise _exit(error) from error
            except Exit:
                raise
            except Exception as error:  # a bug of ours
                raise _crashed(error, args[0].config) from error

    def _dry(self, own: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
        if not isinstance(self.dry, str):
            return self.body, {**own, **self.dry}
        from orienter_tasks.commands import dry

        return getattr(dry, self.dry), dict(own)


def task(
    *,
    help: dict[str, str] | None = None,
    pre: Iterable[Any] = (),
    post: Iterable[Any] = (),
    iterable: Iterable[str] = (),
    positional: Iterable[str] = (),
    name: str | None = None,
    default: bool = False,
    dry: str | Mapping[str, Any] | None = None,
    tolerant: bool = False,
    words: bool = False,
) -> Callable[[Body], OrienterTask]:
    """Make a task of a function that takes a RunContext. Short flags are never assigned automatically.

    Arguments are flags, except those in `positional`: these take anything, even an unknown flag. The task also has
    those of `RUN_FLAGS` that `help` describes. A task that changes something needs `dry`. A `tolerant` one goes on with
    wrong settings, and one with `words` takes those behind two dashes.
    """
    made = invoke_task(
        name=name,
        help=help or {},
        pre=list(pre),
        post=list(post),
        iterable=list(iterable),
        default=default,
        auto_shortflags=False,
        positional=list(positional),
        klass=OrienterTask,
    )

    def make(body: Body) -> OrienterTask:
        task = cast("OrienterTask", made(body))
        task.dry = dry or {}
        task.tolerant, task.words = tolerant, words
        return task

    return make


def call(made: OrienterTask, **kwargs: Any) -> Any:
    """Name a task with arguments, for another's `pre` or `post`."""
    return invoke_call(cast("Any", made), **kwargs)


def given(name: str) -> bool:
    """Whether an argument is on the command line."""
    return name in _given


def seconds(text: str, flag: str) -> float | None:
    """Parse a duration; None if empty."""
    return duration(text, flag) if text else None


def duration(text: str, flag: str) -> float:
    """Parse a duration such as `90`, `30s`, `10m`, `2h` or `1d`."""
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    number = text[:-1] if factor else text
    try:
        value = float(number) * (factor or 1)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{flag}: invalid duration {text!r}", hint="write seconds, or 30s, 10m, 2h, 1d")
    return value


def count(text: str, flag: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{flag}: invalid number {text!r}")
    return int(text)


def _exit(error: OrienterError | InterruptError) -> Exit:
    from orienter_tasks.output.console import Report

    if not (isinstance(error, InterruptError) and error.expected):
        Report().error(error)
    return Exit(code=error.exit_code)


def _crashed(error: Exception, config: Config) -> Exit:
    """Print a bug as one line that names its report, or the traceback on request or where no report may be written."""
    if not os.environ.get("ORIENTER_TRACEBACK") and not config.run.dry:
        with suppress(Exception):
            return _exit(_reported(error, config))
    from traceback import format_exception

    from orienter_tasks.output.printable import printable

    with suppress(OSError):
        print(printable("".join(format_exception(error))), end="", file=sys.stderr)  # noqa: T201 - a traceback as it is
    return Exit(code=UnexpectedError.exit_code)


def _reported(error: Exception, config: Config) -> UnexpectedError:
    """Write a report of a bug. The value of a secret may be in both the environment and `.env`, each with its own."""
    from traceback import format_exception_only

    from orienter_tasks.instance.dotenv import read_dotenv
    from orienter_tasks.lifecycle.context import project_dir
    from orienter_tasks.machine.worktree import find_root
    from orienter_tasks.output.crash_report import without_secrets, write_crash_report
    from orienter_tasks.settings.load import as_plain

    settings, variables = as_plain(config.get("orienter")), dict(os.environ)
    with suppress(ConfigError):  # what cannot be read has given the program no secret
        dotenv, _ = read_dotenv(find_root(project_dir(config)) / ".env")
        variables |= {f"DOTENV_{name}": value for name, value in dotenv.items()}
    path = write_crash_report(error, settings=settings, variables=variables)
    what = without_secrets("".join(format_exception_only(error)), settings=settings, variables=variables)
    return UnexpectedError(
        f"unexpected {' '.join(what.split())[:LONGEST]}; a report for an issue is in {path}",
        hint="look at it, then paste it into an issue, or see the traceback with ORIENTER_TRACEBACK=1",
    )


def _context(c: Context) -> RunContext:
    """Return the context of a run; Invoke's configuration is the same object for all its calls."""
    from orienter_tasks.lifecycle.context import RunContext, project_dir
    from orienter_tasks.output import task_names

    task_names.rename = rename
    key = id(c.config)
    if key not in contexts:
        load_settings_of_called(c.config)
        raw = c.config.get("orienter")
        contexts[key] = RunContext(project_dir(c.config), raw, options=_options(dry=bool(c.config.run.dry)))
    return contexts[key]


def _remember_for_shells(context: RunContext) -> None:
    """Bring the entry that shells read up to date, where one has a hook and something was started or stopped."""
    if context.has_changed and hooks.directory().is_dir():
        from orienter_tasks.commands import hook
        from orienter_tasks.tasks.config_files import raw_settings_of

        try:
            hook.remember(context, raw_settings_of)
        except OrienterError as error:  # what was started or stopped stays so
            context.report.warn(f"shells with a hook have the variables of before: {error.line()}")


def _options(*, dry: bool) -> RunOptions:
    from orienter_tasks.lifecycle.context import RunOptions

    whatsapp = True if _given.get("enable_whatsapp") else False if _given.get("no_whatsapp") else None
    return RunOptions(
        backend=_given.get("backend", ""),
        timeout=seconds(_given.get("timeout", ""), "--timeout"),
        quiet=_given.get("quiet", False),
        fresh=_given.get("fresh", False),
        detach=_given.get("detach", False),
        force=_given.get("force", False),
        whatsapp=whatsapp,
        without=("slack",) if _given.get("no_slack") else (),
        dry=dry,
        data=_given.get("data", ""),
    )
