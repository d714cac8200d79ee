"""A shell's own copy of the variables: entries that a hook reads at each prompt, without Python.

An entry lies in the state directory, below the checkout's path, and only a start makes one: what a branch commits can
neither be read as one nor make one. It has the variables that this package derives and the servers' own, never others
of `.env`, any of which could make a shell run something. With them come the files that they follow from, as `stat`
shows them: while it shows the same, the shell asks nobody. Otherwise it runs `refresh`, which reads files but runs
nothing of the checkout's, not even its tasks.py.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.identity import ownership
from orienter_tasks.identity.claims import Claims, ReadOnlyClaims
from orienter_tasks.instance.export import fish_quote
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.machine import hooks, worktree
from orienter_tasks.machine.files import is_pipe, read_small
from orienter_tasks.machine.state import private_dir, write_private
from orienter_tasks.settings import catalog
from orienter_tasks.settings.load import as_plain, load_settings
from orienter_tasks.settings.model import WHATSAPP_SWITCH
from orienter_tasks.settings.rules import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.lifecycle.context import CurrentInstance
    from orienter_tasks.settings.model import Settings

SCRIPTS = {"bash": "hook.sh", "zsh": "hook.sh", "fish": "hook.fish"}
STAT_SECONDS = 5.0
STATS = (
    (r"\.\d{9} \d+ \d+$", ("stat", "-Lc", "%n %.9Z %i %s")),  # GNU
    (r"\.\d+ \d+ \d+$", ("stat", "-Lf", "%N %Fc %i %z")),  # BSD, macOS
    (r" \d+ \d+ \d+$", ("stat", "-Lc", "%n %Z %i %s")),  # BusyBox
)
"""How a file's change, inode and size are shown: what the output must look like, and the command."""

SUFFIXES = (".yaml", ".yml", ".json", ".py")
"""Of Invoke's configuration files, in the order in which Invoke looks for them."""


class Entry(msgspec.Struct, frozen=True):
    """What `refresh` must know of a checkout's entry.

    Attributes:
        token: the claim's.
        names: the variables that the last start gave it; no later file adds one.
        plain: whether files alone say the settings, and not the host's tasks.py.
    """

    token: str
    names: tuple[str, ...]
    plain: bool


def known(shell: str) -> None:
    """Require that there is a hook for a shell."""
    if shell not in SCRIPTS:
        raise ConfigError(f"env.hook: unknown shell {shell!r}", hint=nearest(shell, [*SCRIPTS]))


def script(shell: str) -> str:
    """Return the hook of a shell, and have starts make entries from now on."""
    known(shell)
    quote = fish_quote if shell == "fish" else shlex.quote
    refresh = [sys.executable, "-m", "orienter_tasks.tasks.hooked"]
    text = Path(__file__).with_name(SCRIPTS[shell]).read_text(encoding="utf-8")
    return (
        text.replace("@ENTRIES@", quote(str(private_dir(hooks.directory()))))
        .replace("@REFRESH@", " ".join(map(quote, refresh)))
        .rstrip()
    )


def remember(ctx: RunContext, settings_in_files: Callable[[Path], object]) -> None:
    """Write the entry of a checkout whose instance a start of ours has just used."""
    copy = ctx.fresh_copy()
    with _without_inputs():
        stamp = _stamp(copy.root, copy.settings)
        current = copy.current
        names = _names(current)
        _write(current, Entry(current.claim.token, names, _is_plain(copy, settings_in_files)), stamp)


def refresh(root: Path, shell: str, settings_in_files: Callable[[Path], object]) -> str:
    """Bring the entry of a checkout up to date; return what a shell with this environment is to read over it.

    Raises:
        OrienterError: files are wrong; the entry stays as it is.
    """
    try:
        entry = msgspec.json.decode(read_small(hooks.place(root) / "@.json"), type=Entry)
    except (OSError, msgspec.DecodeError):
        return _nothing(root, shell)
    claim = next((each for each in ReadOnlyClaims().read() if each.token == entry.token), None)
    if claim is None or not ownership.owns(worktree.read(root), claim):
        return _nothing(root, shell)
    if not entry.plain or _is_code(root) or is_pipe(root / ".env"):
        return ""  # only a start can say
    raw = settings_in_files(root)

    def look() -> RunContext:
        return RunContext(root, raw, options=RunOptions(dry=True, quiet=True))

    current = look().current
    if current.claim.token != entry.token:
        return _nothing(root, shell)
    with _without_inputs():
        clean = look()
        stamp = _stamp(root, clean.settings)
        _write(clean.current, entry, stamp)
    return _assignments(current, entry.names, shell)


def _nothing(root: Path, shell: str) -> str:
    """Remove the entry of a checkout that has no instance any more; return what a shell is to read."""
    hooks.forget([root])
    return _arrays(shell, names=(), values=(), unset=())


def _names(current: CurrentInstance) -> tuple[str, ...]:
    """Name what a shell gets: nothing that only the user has written."""
    variables, inputs = current.config.variables, catalog.inputs()
    return tuple(name for name in variables.values if variables.origins[name] == "derived" or name in inputs)


def _inputs() -> list[str]:
    """Name the variables of a shell that the others follow from."""
    return ["AI_INSTANCE_ID", "NODE_ENV", WHATSAPP_SWITCH, *catalog.inputs(), *catalog.numbered()]


@contextmanager
def _without_inputs() -> Iterator[None]:
    """Look at a checkout as a shell would that has set nothing."""
    taken = {name: os.environ.pop(name) for name in _inputs() if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _is_plain(ctx: RunContext, settings_in_files: Callable[[Path], object]) -> bool:
    if _is_code(ctx.root) or catalog.registered():
        return False
    try:
        with catalog.keeping():
            return load_settings(as_plain(settings_in_files(ctx.root))) == ctx.settings
    except ConfigError:
        return False


def _is_code(root: Path) -> bool:
    """Whether reading a checkout's configuration would run it."""
    found = next((suffix for suffix in SUFFIXES if (root / f"invoke{suffix}").exists()), "")
    return found == ".py"


def _stamp(root: Path, settings: Settings) -> tuple[tuple[str, ...], str]:
    """Return the files that the variables follow from, behind the command that shows them, and what it shows."""
    configured = (root / "invoke", Path.home() / ".invoke", Path("/etc/invoke"))
    own = ownership.tokens_path(worktree.read(root), settings.project)
    files = (
        *(root / ".env", Claims().path, Path(__file__), *([own] if own is not None else [])),
        *(path.with_name(path.name + suffix) for path in configured for suffix in SUFFIXES),
    )
    command = (*_stat_command(), *map(str, files))
    return command, _shown(command)


def _stat_command() -> tuple[str, ...]:
    for pattern, command in STATS:
        if re.search(pattern, _shown((*command, __file__))):
            return command
    raise NotFoundError("env.hook needs the program stat", hint="install coreutils")


def _shown(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STAT_SECONDS, check=False)
    except OSError:
        return ""
    return done.stdout.rstrip("\n")


def _write(current: CurrentInstance, entry: Entry, stamp: tuple[Sequence[str], str]) -> None:
    """Write the entry for every shell."""
    place, (command, shown) = hooks.place(current.instance.root), stamp
    write_private(place / "@.json", msgspec.json.encode(entry))
    for shell, name in (("sh", "@.sh"), ("fish", "@.fish")):
        known = _arrays(shell, look=(*command, str(place / name)), stamp=(shown,), inputs=_inputs())
        write_private(place / name, known + _assignments(current, entry.names, shell))


def _assignments(current: CurrentInstance, names: Sequence[str], shell: str) -> str:
    variables = current.config.variables
    kept = [name for name in names if name in variables.values]
    return _arrays(shell, names=kept, values=[variables[name] for name in kept], unset=sorted(variables.withheld))


def _arrays(shell: str, **arrays: Sequence[str]) -> str:
    """Set arrays in a shell; every word is quoted."""
    if shell == "fish":
        lines = (f"set -g _orienter_{name} {' '.join(map(fish_quote, words))}" for name, words in arrays.items())
    else:
        lines = (f"_orienter_{name}=({' '.join(map(shlex.quote, words))})" for name, words in arrays.items())
    return "".join(f"{line}\n" for line in lines)
