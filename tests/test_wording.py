"""Plain English in documents and, from the next step on, the package: phrases to avoid, and what to write instead."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
ROOTS = (
    "README.md",
    "ARCHITECTURE.md",
    "docs",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "templates",
    ".env.example",
    "invoke.yaml",
    "orienter_tasks/backends",
    "orienter_tasks/infra",
    "benchmarks",
    "examples",
    "orienter_tasks/errors.py",
    *(f"orienter_tasks/{folder}" for folder in ("machine", "settings", "instance", "identity", "lifecycle", "tasks")),
    *(f"orienter_tasks/{folder}" for folder in ("processes", "stack", "output", "observe", "services", "commands")),
)
"""Files and folders that are checked."""

PHRASES = {
    r"(?P<fine>\bthere )?\b(is|are) no (?!longer|more|less|fewer|better|worse|different|way)[a-z]+": (
        "is not a backend; unknown backend 'x'; invalid duration 'x'"
    ),
    r"\bwho (answers|holds|reads|waits|runs|needs|listens)\b": "what, which or that: `who` is for people",
    r"\ball the same\b": "anyway; still; nevertheless",
    r"\bby (itself|themselves)\b": "on its own; automatically",
    r"\bstrangers?\b": "another process; another project; another user",
    r"\b(is|are|was|were) told\b": "is reported; is shown; gets a note",
    r"\btells? (of|memory|that|how|why)\b": "reports; shows; says",
    r"\bone that\b": "name the thing: a service that …",
    r"\bg(ive|ives|iving|ave) way\b": "yields; waits",
    r"\bpassed over\b": "ignored; skipped",
    r"\blooks? before (it|they|you) leaps?\b": "preflight checks: each name, port and lease must be free or ours",
    r"\bunasked\b": "to skip the prompt; without asking",
    r"\bend(s|ing)? the holder\b": "stop that process",
    r"\bnobody reads\b": "output pipe closed; not used",
}
"""What not to write, and what is natural. A space matches any whitespace; a match of the group `fine` is allowed."""

SUFFIXES = {".md", ".j2", ".yaml", ".example", ".py"}


def files(root: Path) -> list[Path]:
    """Return the texts at a file or below a folder."""
    found = [root] if root.is_file() else sorted(root.rglob("*"))
    return [path for path in found if path.suffix in SUFFIXES or path.name == ".env.example"]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Return what people read in a file, with the line it begins at: in Python strings and comments, else all of it."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, content
        return
    yield from strings(ast.parse(content))
    yield from comments(content)


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Return string constants; an f-string is one text, with `…` for each value."""
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
        yield node.lineno, "".join(parts)
        children = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    for child in children:
        yield from strings(child)


def comments(content: str) -> Iterator[tuple[int, str]]:
    """Return comments; those on consecutive lines are one text."""
    blocks: list[list[tuple[int, str]]] = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if not blocks or blocks[-1][-1][0] != line - 1:
                blocks.append([])
            blocks[-1].append((line, token.string.lstrip("#")))
    for block in blocks:
        yield block[0][0], "\n".join(text for _, text in block)


def hits(path: Path) -> Iterator[tuple[int, str, str]]:
    """Return the line, the words and the advice of every phrase to avoid in a file."""
    for begin, text in texts(path):
        for pattern, advice in PHRASES.items():
            for found in re.finditer(pattern.replace(" ", r"\s+"), text, re.IGNORECASE):
                if not found.groupdict().get("fine"):
                    yield begin + text[: found.start()].count("\n"), " ".join(found[0].split()), advice


@pytest.mark.parametrize("root", ROOTS)
def test_phrases_to_avoid(root: str) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {words!r} -> {advice}"
        for path in files(REPOSITORY / root)
        for line, words, advice in hits(path)
    ]
    assert files(REPOSITORY / root)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""X is\n    no backend."""', ["is no backend"]),
        ('raise ValueError(f"{name!r} is no program")', ["is no program"]),
        ('print("""there\n  is no console, and it is no longer tried""")', []),
        ("x = 1  # a port of\n# a stranger's\n", ["stranger"]),
        ('"it runs"\nstranger = {"a": who_holds}\n', []),
        ("""x = f"{'this is told'} and more"\n""", ["is told"]),
    ],
)
def test_strings_and_comments_of_python_are_read(text: str, expected: list[str], tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(text, encoding="utf-8")
    assert [words for _, words, _ in hits(module)] == expected
