"""What is rendered: tokens, routes and names, without any nginx but to accept it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.backends.nginx.configuration import MAIN_TEMPLATE, check, plan
from orienter_tasks.backends.nginx.health import health_token
from orienter_tasks.backends.protocol import NginxFacts
from orienter_tasks.errors import CheckError, NotFoundError
from tests.backends.nginx.lab import Nginx, binaries, on_free_ports, write_template

if TYPE_CHECKING:
    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.conftest import MakeInstance

FACTS = NginxFacts("127.0.0.1:3080", "127.0.0.1", "/c", "/run/nginx", "", "", "/noted")


def test_a_token_belongs_to_a_root_and_an_id(make_instance: MakeInstance, tmp_path: Path) -> None:
    instances = [make_instance(1), make_instance(2), make_instance(1, tmp_path / "other")]
    tokens = [health_token(instance) for instance in instances]
    assert len(set(tokens)) == 3
    assert all(len(token) == 12 and int(token, 16) >= 0 for token in tokens)
    assert health_token(instances[0]) == tokens[0]


def test_a_token_is_made_of_any_path(make_instance: MakeInstance) -> None:
    odd = [replace(make_instance(1), root=Path(os.fsdecode(name))) for name in (b"/a\xff\xfe", b"/a\xff\xfd", b"/a\n")]
    assert len({health_token(instance) for instance in odd}) == 3


def test_a_plan_writes_nothing_and_is_the_same_twice(config: InstanceConfig, tmp_path: Path) -> None:
    first = plan(config, FACTS, tmp_path / "conf")
    assert first == plan(config, FACTS, tmp_path / "conf")
    assert [file.path for file in first] == [tmp_path / "conf/nginx.conf", tmp_path / "conf/nginx-local.conf"]
    assert {file.mode for file in first} == {0o644}
    assert not (tmp_path / "conf").exists()


def test_a_hosts_own_nginx_conf_is_left_out_of_it(config: InstanceConfig) -> None:
    ours = plan(config, FACTS, Path("/c"))
    theirs = write_template(config, "# for production: {{ upstreams }}\n", "nginx.conf.j2")
    assert plan(config, FACTS, Path("/c")) == ours
    theirs.rename(theirs.with_name(MAIN_TEMPLATE))
    with pytest.raises(CheckError, match="upstreams"):
        plan(config, FACTS, Path("/c"))


def test_what_is_rendered_tells_its_revision(config: InstanceConfig) -> None:
    contents = [plan(config, facts, Path("/c"))[1].content for facts in (FACTS, replace(FACTS, runtime="/other"))]
    revisions = [content.partition('"revision":"')[2][:12] for content in contents]
    assert len(set(revisions)) == 2
    assert all(int(revision, 16) >= 0 for revision in revisions)


def test_the_workers_user_is_named_only_where_there_is_one(config: InstanceConfig) -> None:
    assert "\nuser nobody nogroup;\n" in plan(config, replace(FACTS, user="nobody nogroup"), Path("/c"))[0].content
    assert "\nuser" not in plan(config, FACTS, Path("/c"))[0].content


def test_nginx_listens_and_looks_where_the_backend_says(config: InstanceConfig) -> None:
    facts = replace(FACTS, listen="80", upstream="host.docker.internal")
    content = plan(config, facts, Path("/c"))[1].content
    assert content.count("listen ") == 2
    assert "    listen 80 default_server;\n" in content
    assert "    listen 80;\n" in content
    assert f"proxy_pass http://host.docker.internal:{config.instance.ports['vite']};" in content
    assert "127.0.0.1" not in content


@pytest.mark.parametrize(
    ("dropped", "absent"),
    [
        ("whatsapp", ["/qr", "/pairing-code", "@no_whatsapp"]),
        ("opencode", ["opencode", "auth_request", "@login"]),
        ("dashboard", ["/api/", "/dashboard/", "opencode_uri", "location /opencode/", "auth_request"]),
        ("vite", ["@no_vite"]),
    ],
)
@pytest.mark.embedded
def test_a_dropped_port_has_no_route(tmp_path: Path, dropped: str, absent: list[str]) -> None:
    services: dict[str, object] = {name: {"needs": []} for name in ("dashboard", "opencode", "whatsapp", "slack")}
    services[{"vite": "frontend"}.get(dropped, dropped)] = None
    config = on_free_ports(tmp_path / "checkout", ports={dropped: None}, services=services)
    content = plan(config, FACTS, Path("/c"))[1].content
    assert [text for text in absent if text in content] == []
    for binary in binaries().values():
        check(config, Nginx(config, binary, tmp_path / "run"))


def test_the_login_page_is_the_hosts(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path / "checkout", nginx={"login": '/sign in?to="x"'})
    assert 'return 302 "/sign in?to=\\"x\\"";' in plan(config, FACTS, Path("/c"))[1].content


def test_a_login_page_that_nginx_would_take_for_a_variable_is_refused(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path / "checkout", nginx={"login": "/sign-in/$host"})
    with pytest.raises(CheckError, match="cannot be written"):
        plan(config, FACTS, Path("/c"))


@pytest.mark.parametrize("hostname", ["", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.d{{id}}"])
@pytest.mark.embedded
def test_a_name_is_as_long_as_the_dns_allows(tmp_path: Path, hostname: str) -> None:
    config = on_free_ports(
        tmp_path / "checkout", nginx={"hostname": hostname, "hosts": [f"{'d' * 63}.{'e' * 63}.test"]}
    )
    names = plan(config, FACTS, Path("/c"))[1].content.partition('server_name ""')[2].partition(";")[0].split()
    assert names[:2] == [
        "localhost",
        f".{config.instance.hostname}" if hostname else '"~^127\\.[0-9]+\\.[0-9]+\\.[0-9]+$"',
    ]
    for binary in binaries().values():
        check(config, Nginx(config, binary, tmp_path / "run"))


def test_an_unconfigured_service_has_its_ports_name(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path / "checkout", services={"whatsapp": None})
    assert '"whatsapp of instance 3 $fault on port' in plan(config, FACTS, Path("/c"))[1].content


def test_a_template_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    config = on_free_ports(tmp_path / "checkout", nginx={"template": "absent.conf.j2"})
    with pytest.raises(NotFoundError, match=r"absent\.conf\.j2") as caught:
        plan(config, FACTS, Path("/c"))
    assert caught.value.exit_code == 3
