"""README's tables, held against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks import errors, ns
from orienter_tasks.settings.catalog import BUILT_IN
from orienter_tasks.settings.defaults import ports as all_ports
from orienter_tasks.settings.model import Hook, Section, Service, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.settings.catalog import CatalogEntry

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table below a line, by their first cell's first code span."""
    part = README.split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in part.splitlines()[2:]]
    return {row[0].split("`")[1]: row for row in rows}


def commands() -> Iterator[tuple[str, frozenset[str]]]:
    """Return each task as it is called, with its flags."""
    for name in sorted(ns.task_names):
        flags = {flag for argument in ns[name].get_arguments() if not argument.positional for flag in argument.names}
        yield ("inv dev" if name == "dev.start" else f"inv {name}"), frozenset(flags - {"service"})


def rows() -> dict[str, str]:
    """Return README's row of each command, without what stands behind the command's name."""
    return {" ".join(name.split()[:2]): " ".join(row) for name, row in table("## Commands").items()}


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
        ("## Settings", Settings, set[str]()),
        ("Each `services.NAME`", Service, {"log"}),
        ("Each of `hooks.start`", Hook, set[str]()),
    ],
)
def test_every_setting_is_in_its_table_with_its_default(
    heading: str, section: type[Section], left_out: set[str]
) -> None:
    told = {name: row for name, row in table(heading).items() if name not in ("ports.NAME", "infra.NAME")}
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
    text = README.split("Base ports:", 1)[1].split("Where a process", 1)[0]
    assert {name: int(port) for name, port in re.findall(r"`(\w+)` (\d+)", text)} == all_ports()


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_component_and_its_main_variables_are_named(entry: CatalogEntry) -> None:
    assert f"`{entry.name}`" in table("Each `services.NAME`")["needs"][-1]
    assert not entry.data or f"`{entry.name}-data-N`" in README
    addresses = [name for name, value in entry.variables.items() if "://" in value]
    ports = [f"{name.upper()}_PORT" for name in entry.ports]
    variables = README.split("\n## Variables\n", 1)[1].split("\n### ", 1)[0]
    missing = [name for name in (*ports, *entry.defaults, *entry.numbered, *addresses) if f"`{name}`" not in variables]
    assert not missing


def test_every_exit_code_is_in_the_table() -> None:
    part = README.split("### Exit codes", 1)[1].split("\n## ", 1)[0]
    told = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", part, re.MULTILINE) for code in cell.split(",")}
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert len(codes) > 6
    assert codes <= told
