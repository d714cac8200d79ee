"""README and docs/, held against the code: tables, commands, settings, links."""

from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import pytest
from invoke.parser import Parser
from invoke.parser.context import ParserContext
from invoke.program import Program
from invoke.vendor import yaml

from orienter_tasks import errors, ns
from orienter_tasks.commands import instances, status
from orienter_tasks.commands.data import snapshot
from orienter_tasks.settings.catalog import BUILT_IN
from orienter_tasks.settings.defaults import ports as all_ports
from orienter_tasks.settings.load import load_settings
from orienter_tasks.settings.model import Hook, Section, Service, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orienter_tasks.output.tables import Column
    from orienter_tasks.settings.catalog import CatalogEntry

REPOSITORY = Path(__file__).parents[1]
NAMES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/*.md", "examples/*/README.md")
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md"))}
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(REPOSITORY): path.read_text(encoding="utf-8")
    for name in NAMES
    for path in sorted(REPOSITORY.glob(name))
}


def table(heading: str, page: str) -> dict[str, list[str]]:
    """Return the rows of the first table of a page below a line, by their first cell's first code span."""
    part = page.split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return {row[0].split("`")[1]: row for row in cells(part.splitlines()[2:])}


def cells(lines: Iterable[str]) -> list[list[str]]:
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def commands() -> Iterator[tuple[str, frozenset[str]]]:
    """Return each task as it is called, with its flags."""
    for name in sorted(ns.task_names):
        flags = {flag for argument in ns[name].get_arguments() if not argument.positional for flag in argument.names}
        yield ("inv dev" if name == "dev.start" else f"inv {name}"), frozenset(flags - {"service"})


def rows() -> dict[str, str]:
    """Return the row of each command."""
    found = cells(line for line in DOCS["commands.md"].splitlines() if line.startswith("| `inv "))
    return {" ".join(row[0].split("`")[1].split()[:2]): " ".join(row) for row in found}


@pytest.mark.parametrize("command", [command for command, _ in commands()])
def test_every_command_and_flag_is_in_the_table(command: str) -> None:
    row = rows()[command]
    missing = {flag for flag in dict(commands())[command] if f"-{flag}" not in row}
    assert not missing


def test_the_table_names_no_command_that_is_not_there() -> None:
    assert set(rows()) == {command for command, _ in commands()}


def keys(section: type[Section], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Return every key of the settings with its default."""
    for field in msgspec.structs.fields(section):
        if section is Settings and field.name in ("ports", "infra", "services", "hooks"):
            continue
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if isinstance(default, Section):
            yield from keys(type(default), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", default


@pytest.mark.parametrize(
    ("heading", "section", "left_out"),
    [
        ("# Settings", Settings, set[str]()),
        ("Each `services.NAME`", Service, {"log"}),
        ("Each of `hooks.start`", Hook, set[str]()),
    ],
)
def test_every_setting_is_in_its_table_with_its_default(
    heading: str, section: type[Section], left_out: set[str]
) -> None:
    told = {
        name: row
        for name, row in table(heading, DOCS["settings.md"]).items()
        if name not in ("ports.NAME", "infra.NAME")
    }
    found = dict(keys(section))
    assert set(told) == set(found)
    for name, default in found.items():
        if name not in left_out:
            assert told[name][1].strip("`") == shown(default), name


def shown(default: object) -> str:
    """Write a default as the tables do."""
    if default in (None, ""):
        return ""
    if default in ((), []):
        return "[]"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, (int, float)) else str(default)


def test_the_base_ports_are_named() -> None:
    text = DOCS["settings.md"].split("Base ports:", 1)[1].split("Where a process", 1)[0]
    assert {name: int(port) for name, port in re.findall(r"`(\w+)` (\d+)", text)} == all_ports()


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_component_and_its_main_variables_are_named(entry: CatalogEntry) -> None:
    assert f"`{entry.name}`" in table("Each `services.NAME`", DOCS["settings.md"])["needs"][-1]
    assert not entry.data or f"`{entry.name}-data-N`" in DOCS["backends.md"]
    addresses = [name for name, value in entry.variables.items() if "://" in value]
    ports = [f"{name.upper()}_PORT" for name in entry.ports]
    variables = DOCS["variables.md"].split("\n## ", 1)[0]
    missing = [name for name in (*ports, *entry.defaults, *entry.numbered, *addresses) if f"`{name}`" not in variables]
    assert not missing


def test_every_exit_code_is_in_the_table() -> None:
    part = DOCS["commands.md"].split("## Exit codes", 1)[1].split("\n## ", 1)[0]
    told = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", part, re.MULTILINE) for code in cell.split(",")}
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert len(codes) > 6
    assert codes <= told


def _spans(text: str) -> Iterator[str]:
    """Return the lines of a page's code blocks, and its code spans."""
    for index, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if index % 2:
            yield from part.splitlines()
        else:
            yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", part))


def _calls() -> Iterator[tuple[str, str]]:
    """Return each command line that a page shows, without the words of a program after `--`."""
    for page, text in PAGES.items():
        for span in _spans(text):
            for found in re.findall(r"(?<![\w./-])inv ((?:--\w+ )?[a-z][^|&;()>#\\…,\"\[*─]*)", span):
                if not found.endswith("."):  # a group, as in `inv cleanup.*`
                    yield str(page), re.split(r" -- | {2,}", found)[0].strip()


def _parser() -> Parser:
    return Parser(contexts=ns.to_contexts(), initial=ParserContext(args=Program().core_args()))


@pytest.mark.parametrize("call", sorted({call for _, call in _calls()}))
def test_every_command_line_is_valid(call: str) -> None:
    name, *rest = shlex.split(call.replace("stack.", ""))
    if rest:
        _parser().parse_argv([name, *rest])
    else:
        assert name in ns.task_names or name in {alias for task in ns.task_names.values() for alias in task}


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    """Return the code blocks of a language, with the page of each."""
    for page, text in PAGES.items():
        for found in re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
            yield str(page), found


@pytest.mark.parametrize(("page", "block"), [*_blocks("yaml")], ids=lambda text: text.partition("\n")[0])
def test_every_example_of_settings_is_valid(page: str, block: str) -> None:
    load_settings(yaml.safe_load(block)["orienter"])  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("page", "block"), [*_blocks("json")], ids=lambda text: text.partition("\n")[0])
def test_every_example_of_json_is_valid(page: str, block: str) -> None:
    json.loads(block)


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in link:
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        known = target.exists() and (not anchor or anchor in _anchors(target.read_text(encoding="utf-8")))
        lost += [] if known else [link]
    assert not lost


def test_every_page_is_in_the_index() -> None:
    index = README.split("## Documentation", 1)[1]
    assert set(re.findall(r"\(docs/(\w+\.md)\)", index)) == set(DOCS)


TABLES: dict[str, Sequence[Column[Any]]] = {
    "ID": instances.columns(instances.Overview((), ())),
    "COMPONENT": status.COLUMNS,
    "NAME": snapshot.columns({}),
}


def test_the_picture_shows_what_commands_print_today() -> None:
    """Else draw it again, as docs/pictures/draw.py says."""
    picture = html.unescape((REPOSITORY / "docs/pictures/start.svg").read_text(encoding="utf-8")).replace("\xa0", " ")
    lines: dict[str, str] = {}
    for number, text in re.findall(r'<text[^>]*clip-path="url\(#start-line-(\d+)\)"[^>]*>([^<]*)</text>', picture):
        lines[number] = lines.get(number, "") + text
    heads = [line.split() for line in lines.values() if line.split()[:2] == ["id", "worktree"]]
    known = [column.name for column in TABLES["ID"]]
    assert [[name for name in known if name in head] for head in heads] == heads != []
    assert [name for name in known if name not in heads[0]] == ["logs", "idle"]


def test_tables_in_docs_have_the_columns_that_commands_print() -> None:
    shown = 0
    for page, text in PAGES.items():
        for line in _spans(text):
            head = line.split()
            if len(head) > 3 and head[0] in TABLES and line == line.upper():
                known = [column.name.upper() for column in TABLES[head[0]]]
                assert [name for name in known if name in head] == head, f"{page}: {line}"
                shown += 1
    assert shown > 3


def test_readme_is_short() -> None:
    assert len(README.splitlines()) < 250
