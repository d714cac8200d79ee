"""Jinja2 templates: the host's `templates/` first, then the package's. An undefined variable is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import CheckError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PACKAGE = Path(__file__).parents[1]


class Rendered(msgspec.Struct, frozen=True):
    """A file to be written; `templates` are the names of those that were looked for to make it."""

    path: Path
    content: str
    mode: int = 0o644
    templates: tuple[str, ...] = ()


def directories(root: Path) -> list[Path]:
    """Return the search path: the host's templates, the wheel's, and this repository's."""
    return [root / "templates", PACKAGE / "templates", PACKAGE.parent / "templates"]


def render(root: Path, name: str, target: Path, values: Mapping[str, object]) -> Rendered:
    import jinja2

    looked_for: list[str] = []

    class Loader(jinja2.FileSystemLoader):
        def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
            looked_for.append(template)
            return super().get_source(environment, template)

    environment = jinja2.Environment(
        loader=Loader([str(path) for path in directories(root)]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - nginx and YAML files have their own quoting filters
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["nginx_quote"] = nginx_quote
    environment.filters["nginx_path"] = nginx_path
    environment.filters["nginx_pattern"] = nginx_pattern
    environment.filters["yaml_quote"] = yaml_quote
    try:
        content = environment.get_template(name).render(values)
        return Rendered(target, content, templates=tuple(looked_for))
    except jinja2.TemplateNotFound as error:
        raise NotFoundError(f"there is no template {error.name}", hint=f"put it into {directories(root)[0]}") from error
    except jinja2.TemplateSyntaxError as error:
        raise CheckError(f"{error.filename or name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        known = ", ".join(sorted(values))
        raise CheckError(f"template {name} does not render: {error.message}", hint=f"it may use: {known}") from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise CheckError(f"template {name} does not render: {error}") from error


def contents(root: Path, names: Iterable[str]) -> list[bytes]:
    """Return what templates of these names have in them, and this module, whose filters they use."""
    found = (next((path / name for path in directories(root) if (path / name).is_file()), None) for name in names)
    return [path.read_bytes() if path is not None else b"" for path in (*found, Path(__file__))]


def nginx_path(value: object) -> str:
    """Quote a path for directives of nginx without variables, such as `pid`, where `$` is an ordinary character."""
    text = str(value)
    if any(ord(char) < ord(" ") for char in text):
        raise ValueError(f"{text!r} cannot be written into an nginx configuration")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx_pattern(value: object) -> str:
    """Quote a path for `include`, which takes it for a pattern."""
    text = str(value)
    if any(char in text for char in "*?["):  # else nginx takes it as it is
        text = re.sub(r"[*?[\\]", lambda found: f"\\{found[0]}", text)
    return nginx_path(text)


def nginx_quote(value: object) -> str:
    """Quote a value for nginx, which cannot escape `$`."""
    if "$" in str(value):
        raise ValueError(f"{str(value)!r} cannot be written into an nginx configuration")
    return nginx_path(value)


def yaml_quote(value: object) -> str:
    """Quote a value for YAML as a JSON string (a subset of YAML 1.2), with `$` doubled for compose.

    Line breaks and non-printable characters of YAML (1.2, sections 5.1 and 5.4) that JSON does not escape are escaped.
    """
    import json

    quoted = json.dumps(str(value), ensure_ascii=False)
    return "".join(char if _printable(char) else _yaml_escape(char) for char in quoted).replace("$", "$$")


def _printable(char: str) -> bool:
    number = ord(char)
    if 0x7F <= number <= 0x9F or number in (0x2028, 0x2029, 0xFEFF):  # noqa: PLR2004 - DEL, C1 with NEL, LS, PS, BOM
        return False
    return not (0xD800 <= number <= 0xDFFF or number & 0xFFFE == 0xFFFE)  # noqa: PLR2004 - surrogates, non-characters


def _yaml_escape(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - the first plane
