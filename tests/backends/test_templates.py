"""Templates: whose wins, what a faulty one is told, and values that stay one value in nginx and in YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, strategies
from invoke.vendor import yaml

from orienter_tasks.backends import templates
from orienter_tasks.backends.nginx import configuration as nginx
from orienter_tasks.errors import CheckError, NotFoundError
from tests.backends.nginx.lab import Nginx, binaries, on_free_ports
from tests.backends.nginx.upstream import get

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGET = Path("/nowhere/at/all")
AWKWARD = ['"', "\\", "'", ";", "{}", "#", "${x}", "a b", " ", "\\n", "%", "ü☃", "\\\\", "*", "|", "yes", "-"]
PRINTABLE = strategies.text(strategies.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Cf"]), max_size=40)


def write(root: Path, name: str, content: str) -> Path:
    path = root / "templates" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def render(root: Path, content: str, values: Mapping[str, object] | None = None) -> str:
    write(root, "test.j2", content)
    return templates.render(root, "test.j2", TARGET, values or {}).content


def read_yaml(text: str) -> Any:
    return yaml.safe_load(text)  # type: ignore[no-untyped-call]


def test_a_render_returns_what_is_to_be_written_and_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "test.j2", "port {{ port }}\n")
    rendered = templates.render(tmp_path, "test.j2", TARGET, {"port": 5432})
    assert rendered == templates.Rendered(TARGET, "port 5432\n", 0o644, ("test.j2",))
    assert not TARGET.exists()


def test_the_hosts_own_template_wins_over_the_shipped_one(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path)
    known = nginx.values(config, Nginx(config, Path("nginx"), tmp_path / "run").nginx_facts())
    assert "location = /health" in templates.render(tmp_path, "nginx-local.conf.j2", TARGET, known).content
    write(tmp_path, "nginx-local.conf.j2", "mine, of {{ instance_id }}")
    assert templates.render(tmp_path, "nginx-local.conf.j2", TARGET, known).content == "mine, of 3"


def test_a_host_may_share_pieces_between_its_templates(tmp_path: Path) -> None:
    write(tmp_path, "piece.j2", "listen {{ port }};")
    assert render(tmp_path, 'server { {% include "piece.j2" %} }', {"port": 1}) == "server { listen 1; }"


def test_values_are_written_as_they_are_and_lines_stay_lines(tmp_path: Path) -> None:
    assert render(tmp_path, "{{ value }}\n", {"value": '<a href="x">&</a>'}) == '<a href="x">&</a>\n'
    assert render(tmp_path, "a\n  {% if true %}\n  b\n  {% endif %}\nc\n") == "a\n  b\nc\n"


def test_a_missing_template_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no template absent\.j2") as caught:
        templates.render(tmp_path, "absent.j2", TARGET, {})
    assert caught.value.exit_code == 3
    assert str(tmp_path / "templates") in caught.value.hint


def test_a_missing_piece_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no template piece\.j2"):
        render(tmp_path, '{% include "piece.j2" %}')


def test_an_undefined_name_is_an_error_that_tells_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"test\.j2 .*'prot' is undefined") as caught:
        render(tmp_path, "{{ prot }}", {"port": 1, "host": "a"})
    assert caught.value.hint == "it may use: host, port"


@pytest.mark.parametrize("content", ["{{ port.number.digits }}", "{{ names['c'] }}", "{% if prot %}x{% endif %}"])
def test_whatever_is_undefined_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(CheckError):
        render(tmp_path, content, {"port": 1, "names": {"a": "b"}})


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(CheckError) as caught:
        render(tmp_path, "one\n{% if %}\n")
    assert str(caught.value).startswith(f"{tmp_path}/templates/test.j2, line 2: ")


def test_a_syntax_error_in_a_piece_names_the_piece(tmp_path: Path) -> None:
    write(tmp_path, "piece.j2", "\n\n{{ }}")
    with pytest.raises(CheckError, match=r"piece\.j2, line 3"):
        render(tmp_path, '{% include "piece.j2" %}')


@pytest.mark.parametrize("content", ["{{ 1 // 0 }}", "{{ 1 + 'a' }}", "{{ '%d' % 'a' }}", "{{ 'a$b' | nginx_quote }}"])
def test_an_expression_that_fails_is_an_error_that_names_the_template(tmp_path: Path, content: str) -> None:
    with pytest.raises(CheckError, match=r"test\.j2 does not render"):
        render(tmp_path, content)


@pytest.mark.parametrize("value", ["$x", "a\nb", "a\0b", "\x1b[0m", "a\tb"])
def test_what_nginx_cannot_be_told_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        templates.nginx_quote(value)


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\tb"])
def test_a_path_may_have_a_dollar_but_no_control_character(value: str) -> None:
    assert templates.nginx_path("/a$b") == '"/a$b"'
    with pytest.raises(ValueError, match="cannot be written"):
        templates.nginx_path(value)


@given(PRINTABLE)
@example('"\\"\\\\')
@example("{{ x }} ; # }")
def test_nginx_quoting_can_be_undone(text: str) -> None:
    if "$" in text:
        return
    quoted = templates.nginx_quote(text)
    assert (quoted[0], quoted[-1]) == ('"', '"')
    assert quoted[1:-1].replace('\\"', "\0").count('"') == 0
    assert quoted[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\") == text


@pytest.mark.embedded
def test_the_real_nginx_reads_what_was_quoted(tmp_path: Path) -> None:
    values = [value for value in [*AWKWARD, "".join(AWKWARD)] if "$" not in value]
    config = on_free_ports(tmp_path / "checkout")
    lines = "".join(
        f"    location = /{index} {{ return 200 {{{{ {json.dumps(value)} | nginx_quote }}}}; }}\n"
        for index, value in enumerate(values)
    )
    write(
        config.instance.root,
        "nginx-local.conf.j2",
        "server {\n    listen {{ listen }};\n" + lines + "    location = /health { return 200 "
        """'{"project":"{{ project }}","instance":{{ instance_id }},"token":"{{ token }}"}'; }\n}\n""",
    )
    for binary in binaries().values():
        server = Nginx(config, binary, tmp_path / "run")
        nginx.apply(config, server)
        with server.running():
            answers = [get(config.instance.ports["nginx"], f"/{index}")[2].decode() for index in range(len(values))]
        assert answers == values


@given(PRINTABLE)
@example("yes")
@example("a: b # c")
@example("- 'x'")
@example("${HOME} $$")
@example("")
def test_yaml_reads_what_was_quoted_as_one_text(text: str) -> None:
    read = read_yaml(f"key: {templates.yaml_quote(text)}\nother: 1\n")
    assert read["other"] == 1
    assert read["key"].replace("$$", "$") == text


@given(strategies.integers() | strategies.booleans())
def test_yaml_reads_a_quoted_number_as_a_text(value: int) -> None:
    assert read_yaml(templates.yaml_quote(value)) == str(value)
