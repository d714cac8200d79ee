"""Servers that settings add: what is read, what is refused, and what follows from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import catalog, servers
from orienter_tasks.settings.load import load_settings
from orienter_tasks.settings.model import FurtherServer
from tests.configs import make_config

PAGE = (Path(__file__).parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ONE: dict[str, Any] = {"image": "x", "port": 11211}


def refusal(infra: dict[str, Any], **further: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        load_settings({"infra": infra, **further})
    return f"{raised.value} → {raised.value.hint}"


@pytest.mark.parametrize("block", BLOCKS)
def test_the_page_shows_valid_settings(block: str) -> None:
    given = yaml.safe_load(block)["orienter"]
    settings = load_settings(given)
    assert {*given["infra"]} <= {*settings.servers}
    described = {key for name, server in given["infra"].items() if name not in catalog.PRESETS for key in server}
    assert described <= set(FurtherServer.__struct_fields__)


def test_the_page_has_every_key() -> None:
    told = set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE)) | {"ready"}
    assert told == set(FurtherServer.__struct_fields__)


def test_a_preset_takes_one_line(tmp_path: Path) -> None:
    config = make_config(tmp_path, 2, {"REDIS_PASSWORD": "a b"}, infra={"redis": {}})
    assert config.settings.servers == ["postgres", "minio", "nginx", "redis"]
    assert config.instance.ports["redis"] == 8379
    assert config.settings.docker.image("redis") == "valkey/valkey:8-alpine"
    assert config.variables["REDIS_URL"] == "redis://:a%20b@127.0.0.1:8379/0"


def test_it_can_be_changed(tmp_path: Path) -> None:
    given = {"image": "redis:7", "port": 6380, "exports": {"BROKER": "${REDIS_URL}"}}
    config = make_config(tmp_path, infra={"redis": given})
    assert (config.settings.docker.image("redis"), config.instance.ports["redis"]) == ("redis:7", 6380)
    assert config.variables["BROKER"] == config.variables["REDIS_URL"]


def test_those_that_are_there_anyway_can_be_changed_in_the_same_place(tmp_path: Path) -> None:
    postgres = {
        "image": "postgres:17",
        "program": "/pg/bin",
        "port": 5433,
        "exports": {"DIRECT_URL": "${DATABASE_URL}"},
    }
    config = make_config(tmp_path, 1, infra={"postgres": postgres, "minio": {"port": 9100}, "nginx": {}})
    assert config.settings.docker.postgres == "postgres:17"
    assert config.settings.embedded.postgres_bin == "/pg/bin"
    assert {name: config.instance.ports[name] for name in ("postgres", "minio_api", "minio_console", "nginx")} == {
        "postgres": 6433,
        "minio_api": 10100,
        "minio_console": 10001,
        "nginx": 1080,
    }
    assert config.variables["DIRECT_URL"] == config.variables["DATABASE_URL"]
    assert config.instance.infra == ["postgres", "minio", "nginx"]
    assert "DIRECT_URL" not in make_config(tmp_path).variables.values


@pytest.mark.parametrize(
    ("own", "section"),
    [
        ({"image": "a"}, {"docker": {"postgres": "b"}}),
        ({"program": "/a"}, {"embedded": {"postgres_bin": "/b"}}),
        ({"port": 5433}, {"ports": {"postgres": 5434}}),
    ],
)
def test_the_same_said_twice(own: dict[str, Any], section: dict[str, Any]) -> None:
    assert "take one of them out: they mean the same" in refusal({"postgres": own}, **section)
    ((key, value),) = own.items()
    same = {name: dict.fromkeys(keys, value) for name, keys in section.items()}
    assert load_settings({"infra": {"postgres": {key: value}}, **same})


def test_others_do_not_have_it() -> None:
    load_settings({"infra": {"redis": {}}})
    settings = load_settings({"infra": {"redis": None}, "services": {"redis": {"command": ["redis-server"]}}})
    assert settings.servers == ["postgres", "minio", "nginx"]
    assert "redis" not in catalog.names()


def test_those_of_several_settings_are_known_side_by_side() -> None:
    load_settings({"infra": {"redis": {}, "one": ONE}})
    with catalog.keeping():
        load_settings({"infra": {"one": {**ONE, "port": 11311}, "two": ONE}})
    assert {"redis", "one", "two"} <= set(catalog.names())
    assert catalog.entry_of("one").ports == {"one": 11211}


def test_ports_by_name(tmp_path: Path) -> None:
    given = {"image": "x", "port": {"smtp": 1025, "web": 1080}}
    config = make_config(tmp_path, 1, infra={"my-mail": given}, ports={"my_mail_web": 8180})
    assert (config.settings.ports["my_mail_smtp"], config.settings.ports["my_mail_web"]) == (1025, 8180)
    assert config.variables["MY_MAIL_WEB_PORT"] == "9180"
    assert "my-mail" in config.instance.infra


def test_every_derived_variable_is_known_to_be_one(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    derived = {name for name, origin in config.variables.origins.items() if origin == "derived"}
    of_servers = {name for each in catalog.BUILT_IN for name in (*each.numbered, *each.variables, *each.shields)}
    of_ports = {f"{name.upper()}_PORT" for name in config.settings.ports}
    known = {*servers.OF_INSTANCE, *servers.OF_SERVICES}
    assert derived - of_servers - of_ports == known - {"ORIENTER_BACKEND"}  # it has none yet


@pytest.mark.parametrize(
    ("infra", "expected"),
    [
        ({"redsi": {}}, "orienter.infra.redsi: it is not a preset, and has no port → did you mean 'redis'"),
        ({"mino": {}}, "orienter.infra.mino: it is not a preset, and has no port → did you mean 'minio'"),
        ({"search": {}}, "orienter.infra.search: .* has no port → add the port on which it listens; presets: redis"),
        ({"postgers": None}, "orienter.infra.postgers: unknown component → did you mean 'postgres'"),
        ({"nginx": None}, "orienter.infra.nginx: stays"),
        ({"nginx": {"data": "/x"}}, "orienter.infra.nginx.data: nginx knows that itself"),
        ({"postgres": {"prot": 1}}, "orienter.infra.postgres.prot: unknown key → did you mean 'port'"),
        ({"postgres": {"exports": {"DATABASE_URL": "x"}}}, "postgres.exports: DATABASE_URL is a variable of postgres"),
        ({"postgres": {"exports": {"S3_BUCKET": "x"}}}, "postgres.exports: S3_BUCKET is a variable of minio"),
        ({"postgres": {"exports": {"X": "${Y}"}}}, "orienter.infra.postgres.exports.X: no .* named 'Y'"),
        ({"redis": {"exports": {"REDIS_URL": "x"}}}, "redis.exports: REDIS_URL is a variable of redis"),
        ({"redis": {"imgae": "x"}}, "orienter.infra.redis.imgae: unknown key → did you mean 'image'"),
        ({"redis": {"data": "/x"}}, "orienter.infra.redis.data: redis knows that itself"),
        ({"redis": {"image": ["x", "y"]}}, "orienter.infra.redis.image: expected a text"),
        ({"redis": {"port": {"a": 1}}}, "orienter.infra.redis.port: expected a number"),
        ({"redis": {"backend": "auto"}}, "orienter.infra.redis.backend: unknown backend 'auto'"),
        ({"nginx": {"backend": ["docker"]}}, "orienter.infra.nginx.backend: unknown backend"),
        ({"x": {**ONE, "ready": {"htp": "/"}}}, "orienter.infra.x.ready.htp: unknown key → did you mean 'http'"),
        ({"x": {"port": 11211}}, "orienter.infra.x: it has neither an image nor a program"),
        ({"x": {**ONE, "port": "11211"}}, "orienter.infra.x.port: expected a number"),
        ({"x": {**ONE, "port": True}}, "orienter.infra.x.port: expected a number"),
        ({"x": {**ONE, "port": {"A": 1}}}, "orienter.infra.x.port.A: a port's name"),
        ({"X": ONE}, "orienter.infra.X: a server's name is lower-case"),
        ({"minio-front": ONE}, "orienter.infra.minio-front: minio-front is the name of something else"),
        ({"claim": ONE}, "orienter.infra.claim: claim is the name of something else"),
        ({"minio": {"image": ["x", "y"]}}, "orienter.infra.minio.image: expected a text"),
        ({"minio-api": ONE}, "orienter.infra.minio-api.port: minio_api is a port of minio"),
        ({"x": {**ONE, "data": True}}, "orienter.infra.x.data: its image needs a directory"),
        ({"x": {**ONE, "data": "data"}}, "orienter.infra.x.data: 'data' is not a directory"),
        ({"x": {"program": "x", "port": 1, "data": "/data"}}, "orienter.infra.x.data: a program works"),
        ({"x": {**ONE, "ready": {"http": "health"}}}, "orienter.infra.x.ready.http: invalid path"),
        ({"x": {**ONE, "ready": {"http": "/", "expect": "x"}}}, "orienter.infra.x.ready: it is asked by HTTP, or"),
        ({"x": {**ONE, "ready": {"port": "web"}}}, "orienter.infra.x.ready.port: it has no port named 'web'"),
        ({"x": {**ONE, "env": {"A B": "x"}}}, "orienter.infra.x: 'A B' is not a variable's name"),
        ({"x": {**ONE, "env": {"A": 1}}}, "orienter.infra.x.env.*: expected str, got int"),
        ({"x": {**ONE, "exports": {"DATABASE_URL": "x"}}}, "x.exports: DATABASE_URL is a variable of postgres"),
        ({"x": {**ONE, "exports": {"POSTGRES_USER": "x"}}}, "x.exports: POSTGRES_USER is a variable of postgres"),
        ({"x": {**ONE, "exports": {"AWS_PROFILE": "x"}}}, "x.exports: AWS_PROFILE is a variable of minio"),
        ({"x": {**ONE, "exports": {"DATA_DIR": "x"}}}, "x.exports: DATA_DIR is a variable of the instance"),
        ({"x": {**ONE, "exports": {"X_PORT": "x"}}}, "x.exports: X_PORT is a variable of port x"),
        ({"redis": {"exports": {"A": "a"}}, "x": {**ONE, "exports": {"A": "b"}}}, "A is a variable of redis"),
        ({"x": {**ONE, "exports": {"A": "${X_PROT}"}}}, "x.exports.A: no .* named 'X_PROT' → did you mean 'X_PORT'"),
        ({"x": {**ONE, "exports": {"A": "${database.user}"}}}, "x.exports.A: no .* named 'database.user'"),
        ({"x": {**ONE, "port": 5432}}, r"orienter.ports: postgres \(5432\) and x \(5432\) meet"),
        ({"x": {**ONE, "port": 7379}, "redis": {}}, r"orienter.ports: .* meet: they are 1 × 1000 apart"),
        ({"x": {**ONE, "port": 70000}}, "orienter.ports.x: base 70000 gives instance 9 port 79000"),
    ],
)
def test_what_is_refused(infra: dict[str, Any], expected: str) -> None:
    assert re.search(expected, refusal(infra))


def test_services_and_files_of_that_name_are_refused() -> None:
    service = {"web": {"command": ["true"]}}
    assert "orienter.services.web: web is a component" in refusal({"web": ONE}, services=service)
    assert "orienter.hooks: 'web'" in refusal({"web": ONE}, hooks={"start": [{"name": "web", "command": ["true"]}]})
    assert "orienter.data.paths[0]: web in DATA_DIR" in refusal({"web": ONE}, data={"paths": ["web"]})
    port = {"web": {"command": ["true"], "port": "cache"}}
    assert "orienter.services.web.port: cache is the infrastructure's own" in refusal({"cache": ONE}, services=port)


def test_services_and_hooks_may_need_them() -> None:
    given = {"services": {"web": {"command": ["true"], "needs": ["redis"]}}, "infra": {"redis": {}}}
    assert load_settings(given).services["web"].needs == ("redis",)
    assert "no component is named 'redis'" in refusal({}, services=given["services"])
