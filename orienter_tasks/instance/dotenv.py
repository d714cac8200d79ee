"""A checkout's `.env`: read, made when there is none, and completed on request without changing what is there.

A new one comes from the main checkout's, from `.env.example`, or is made of generated secrets.
"""

from __future__ import annotations

import io
import os
import re
import stat
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from orienter_tasks.errors import ConfigError
from orienter_tasks.instance.port_references import corrected, references
from orienter_tasks.instance.variables import is_secret
from orienter_tasks.machine.files import is_pipe, read_pipe, read_small
from orienter_tasks.machine.state import hand_over, write_private
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.machine.worktree import Worktree

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNMENT = r"^(?P<head>\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*)(?P<value>.*?)(?P<tail>\s*)$"
_PLACEHOLDER = r"(?i)(change|replace|your|placeholder|example|generate|secret[-_ ]?here|todo|fixme|xxx|<.*>|\.\.\.)"


_NOTHING_ELSE = (
    r"(?i)(change|replace)[-_ ]?(me|this)|your[-_ a-z]*|placeholder|secret[-_ ]?here|todo|fixme|x{3,}|<[^<>]*>|\.\.\."
)
PIPE_SECONDS = 2.0
OWN = ("AI_INSTANCE_ID", "AI_INSTANCE_ROOT")
"""Variables that no other checkout's `.env` has to say."""


class NewEnvFile(Struct, frozen=True):
    """A `.env` to be written.

    `source` says where it came from, `generated` which secrets were made up, `renumbered` which ports were corrected.
    """

    content: str
    source: str
    generated: tuple[str, ...] = ()
    renumbered: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.source]
        parts += [f"with generated {', '.join(self.generated)}"] if self.generated else []
        parts += [f"with this instance's ports in {', '.join(self.renumbered)}"] if self.renumbered else []
        return ", ".join(parts)


def read_dotenv(path: Path, *, pipe: bool = False) -> tuple[dict[str, str], list[int]]:
    """Read a `.env` file: its variables, and the numbers of lines that have none. A missing file is empty.

    A named pipe, such as a password manager's, is read only on request (`pipe`): its owner may have to agree each time.

    Raises:
        ConfigError: it cannot be read.
    """
    if not path.exists() or path.is_dir() or (not pipe and is_pipe(path)):  # some call their Python environment `.env`
        return {}, []
    from dotenv import parser

    values: dict[str, str] = {}
    broken: list[int] = []
    for binding in parser.parse_stream(io.StringIO(_read(path), newline=None)):
        if binding.key is None and not binding.error:
            continue  # a comment, or nothing
        if binding.error or binding.value is None or not re.fullmatch(_VARIABLE, binding.key or ""):
            text = binding.original.string
            broken.append(binding.original.line + text[: len(text) - len(text.lstrip())].count("\n"))
        else:
            values[str(binding.key)] = binding.value
    return values, broken


def plan(
    tree: Worktree, ports: Callable[[], Mapping[int, int]], passwords: Callable[[], Sequence[str]]
) -> NewEnvFile | None:
    """Return what a checkout's `.env` should hold; None if it has one.

    `ports` gives those that the file it is made from may name, and this instance's in their place; `passwords` those of
    its servers.
    """
    if os.path.lexists(tree.root / ".env"):
        return None
    main, example = tree.main_root / ".env", tree.root / ".env.example"
    if tree.linked and main.is_file():
        kept = [line for line in _read(main).splitlines() if _name(line) not in OWN]
        return _renumbered(NewEnvFile("\n".join(kept) + "\n", f"a copy of {main}"), ports)
    if example.is_file():
        return _renumbered(from_example(_read(example)), ports)
    generated = passwords()
    lines = [f"{name}={_new_secret()}" for name in generated]
    return NewEnvFile("\n".join(lines) + "\n", "new", generated=tuple(generated))


def from_example(text: str) -> NewEnvFile:
    """Copy an example, with its placeholder secrets replaced by generated ones."""
    lines, generated = [], []
    for line in text.splitlines():
        match = re.match(_ASSIGNMENT, line)
        if match and needs_secret(match["name"], match["value"]):
            generated.append(match["name"])
            line = f"{match['head']}{_new_secret()}"  # noqa: PLW2901 - the line as it will be
        lines.append(line)
    return NewEnvFile("\n".join(lines) + "\n", "made from .env.example", generated=tuple(generated))


def needs_secret(name: str, value: str) -> bool:
    """Whether a variable of an example is a secret that is left a placeholder.

    An empty token of another service (such as Slack's) stays empty: it means that the service is not used.
    """
    bare = value.strip().strip("\"'")
    if not is_secret(name):
        return False
    return bool(re.search(_PLACEHOLDER, bare)) or (not bare and name in catalog.secrets())


def placeholders(dotenv: Mapping[str, str], example: Mapping[str, str]) -> list[str]:
    """Name the secrets of a `.env` that are certainly not real: the example's, or nothing but a placeholder."""
    return [
        name
        for name, value in dotenv.items()
        if value
        and needs_secret(name, value)
        and (example.get(name) == value or re.fullmatch(_NOTHING_ELSE, value.strip()))
    ]


def completion(
    tree: Worktree, ports: Callable[[], Mapping[int, int]], settled: Callable[[], Collection[str]]
) -> NewEnvFile | None:
    """Return an existing `.env` with the keys of `.env.example` that it lacks, and secrets in place of placeholders.

    Nothing else is changed, nor any of the variables that `settled` names: those with which data has been made. None if
    nothing is to be done.
    """
    path, example = tree.root / ".env", tree.root / ".env.example"
    if not path.is_file():
        return None
    text = _read(path)
    wanted = _bindings(_read(example)) if example.is_file() else []
    present = {name: value for name, value, _ in _bindings(text) if name}
    left = set(placeholders(present, {name: value for name, value, _ in wanted if name}))
    missing = {name: line.strip() for name, _, line in wanted if name and name not in {*present, *OWN}}
    kept = settled() if left or missing else ()
    left, missing = left - {*kept}, {name: line for name, line in missing.items() if name not in kept}
    if not left and not missing:
        return None
    unreal = {(name, present[name]) for name in left}
    generated, parts = list[str](), list[str]()
    for name, value, part in _bindings(text):
        new = _with_value(part, value, _new_secret()) if (name, value) in unreal else part
        generated += [name] if new != part else []
        parts.append(new)
    added = _renumbered(from_example("\n".join(missing.values())), ports) if missing else NewEnvFile("", "")
    end = "\r\n" if "\r\n" in text else "\n"
    gap = end if parts and added.content and not parts[-1].endswith(("\n", "\r")) else ""
    return NewEnvFile(
        "".join([*parts, gap, added.content.replace("\n", end)]),
        f"added {', '.join(missing)} of .env.example" if missing else "completed",
        generated=(*generated, *added.generated),
        renumbered=added.renumbered,
    )


def create(
    tree: Worktree, ports: Callable[[], Mapping[int, int]], passwords: Callable[[], Sequence[str]]
) -> NewEnvFile | None:
    """Write a checkout's `.env` (mode 0600) if it has none; return what was written."""
    new = plan(tree, ports, passwords)
    if new is None:
        return None
    path = tree.root / ".env"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return None  # another start was faster
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", hint="make the folder writable, or write .env yourself"
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(new.content)
    hand_over(path)
    return new


def complete(
    tree: Worktree, ports: Callable[[], Mapping[int, int]], settled: Callable[[], Collection[str]]
) -> NewEnvFile | None:
    """Complete a checkout's `.env` in place, through a link too; return what was written."""
    new = completion(tree, ports, settled)
    if new is not None:
        path = (tree.root / ".env").resolve()
        write_private(path, new.content, stat.S_IMODE(path.stat().st_mode))
    return new


def _renumbered(new: NewEnvFile, ports: Callable[[], Mapping[int, int]]) -> NewEnvFile:
    """Correct the ports that the values of a new file name."""
    found = _bindings(new.content)
    if not any(True for name, value, _ in found if name for _ in references(name, value)):
        return new
    own, parts, changed = ports(), list[str](), list[str]()
    for name, value, part in found:
        right = corrected(name, value, own) if name else value
        parts.append(_with_value(part, value, right) if right != value else part)
        if parts[-1] != part:
            named = {each.port for each in references(name, value) if own.get(each.port, each.port) != each.port}
            changed.append(f"{name} ({', '.join(f'{port} is now {own[port]}' for port in sorted(named))})")
    return msgspec.structs.replace(new, content="".join(parts), renumbered=tuple(changed))


def _bindings(text: str) -> list[tuple[str, str, str]]:
    """Split the text of a `.env` into parts that make it up: name, value, and the text; without a name: the rest."""
    from dotenv import parser

    mark = "\ufeff" if text.startswith("\ufeff") else ""  # the parser drops it
    return [
        *([("", "", mark)] if mark else []),
        *(
            (binding.key or "", binding.value or "", binding.original.string)
            if not binding.error and binding.value is not None and re.fullmatch(_VARIABLE, binding.key or "")
            else ("", "", binding.original.string)
            for binding in parser.parse_stream(io.StringIO(text.removeprefix(mark), newline=""))
        ),
    ]


def _with_value(part: str, old: str, new: str) -> str:
    """Put another value into an assignment; as it is where its value is written with escapes."""
    head, sign, written = part.partition("=")
    return f"{head}{sign}{written.replace(old, new, 1)}"


def _read(path: Path) -> str:
    try:
        return (read_pipe(path, PIPE_SECONDS) if is_pipe(path) else read_small(path)).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path}: {reason}", hint="make it a text file that you may read") from error


def _name(line: str) -> str:
    match = re.match(_ASSIGNMENT, line)
    return match["name"] if match else ""


def _new_secret() -> str:
    import secrets  # seldom needed, and each command reads `.env`

    return secrets.token_urlsafe(24)
