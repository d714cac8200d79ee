"""One instance on both backends: some of its servers in Docker, the others native."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orienter_tasks.identity.claims import Claims
from tests import slot
from tests.commands.selftest.test_integration import CHECKS
from tests.infra.test_described import CACHE
from tests.integration.checkouts import IMAGES
from tests.integration.small import complaint, states, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost, SmallHost

pytestmark = [pytest.mark.docker, pytest.mark.embedded]
START = ("dev", "--detach", "--quiet")
ALL = ("postgres", "minio", "nginx")
NATIVE = {"only postgres in Docker": ("minio", "nginx"), "only postgres native": ("postgres",)}
SERVERS = (*ALL, "redis", "cache")
REDIS = {"image": f"{IMAGES}/redis:local"}
OTHER = {"docker": "embedded", "embedded": "docker"}
OBJECTS = """\
{% extends "nginx-local.conf.j2" %}
{% block server %}
    location /objects/ {
        proxy_pass http://{{ upstream }}:{{ ports.minio_api }}/;
    }
{% endblock %}
"""


def apart(native: Sequence[str], other: str = "embedded") -> dict[str, Any]:
    """Settings under which these servers have a backend of their own; the others are in Docker, as tests ask for."""
    return {name: {"backend": other} for name in native}


def placed(native: Sequence[str]) -> dict[str, str]:
    return {name: "embedded" if name in native else "docker" for name in ALL}


def hints(checkout: Checkout, *words: str, code: int) -> str:
    return complaint(checkout.inv(*words, code=code))


@pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
def test_one_instance(make_host: MakeHost, native: tuple[str, ...]) -> None:
    host = make_host("docker", infra=apart(native), nginx={"template": "objects.conf.j2"})
    main, wanted = host.main, placed(native)
    (main.path / "templates").mkdir()
    (main.path / "templates" / "objects.conf.j2").write_text(OBJECTS)
    main.inv(*START)

    told = main.inv("dev.status", "--json").json
    assert (told["state"], told["backend"], told["backends"]) == ("running", "mixed", wanted)
    kinds = {name: "process" if backend == "embedded" else "container" for name, backend in wanted.items()}
    assert {part["name"]: part["kind"] for part in told["components"]} == {**kinds, "web": "process"}
    (row,) = main.inv("instances", "--json").json["instances"]
    assert (row["backend"], row["backends"], row["state"]) == ("mixed", wanted, "running")
    (claim,) = Claims().read()
    assert claim.placed == f"docker {' '.join(f'{name}:embedded' for name in sorted(native))}"

    works(main, native)
    refuses_to_move(host, main, wanted)
    survives(main, native)


def works(main: Checkout, native: Sequence[str]) -> None:
    """Require that everything reaches its servers, and says where they are."""
    assert main.answers()
    with pytest.raises(urllib.error.HTTPError) as refused:  # by the S3 store, through nginx
        urllib.request.urlopen(f"http://127.0.0.1:{main.variables['NGINX_PORT']}/objects/", timeout=10)
    assert b"</Code>" in refused.value.read(), "the store's own words"

    assert main.inv("infra.psql", "--", "-Atc", "CREATE TABLE kept (n int); SELECT 7").out == "CREATE TABLE\n7\n"
    main.inv("infra.s3", "cp", "--", "invoke.yaml", "s3:kept")
    assert "kept" in main.inv("infra.s3", "ls").out
    used = {part["name"]: part["kind"] for part in main.inv("infra.stats", "--json").json["components"]}
    assert {name: used[name] for name in ALL} == {name: "process" if name in native else "container" for name in ALL}
    for name in ALL:
        main.inv("infra.logs", "-s", name, "--no-follow")
    for task in ("render", "check", "reload"):
        main.inv(f"nginx.{task}")
    composed = main.inv("infra.compose").out
    assert yaml.safe_load(composed)["services"].keys() == {*ALL} - {*native}
    assert f"# Left out, as they are not in Docker: {', '.join(native)}.\n" in composed
    document = main.inv("infra.verify", "--json").json
    assert document["isolated"]
    data = document["instances"][0]["data"]
    assert {*data.values()} >= {"postgres", "minio"}
    assert sum(where.startswith("/") for where, name in data.items() if name in ("postgres", "minio")) == len(
        {"postgres", "minio"} & {*native}
    )
    said = main.inv("doctor", code=None).out
    assert f"docker, embedded: {', '.join(sorted(native))}: this checkout's instance was started there before" in said
    assert "postgres answers" not in said
    assert "PostgreSQL answers on" in said
    assert "the S3 store answers on" in said


def refuses_to_move(host: SmallHost, main: Checkout, wanted: dict[str, str]) -> None:
    """Require that no server changes its backend while it has data or runs."""
    for name in ("postgres", "minio"):
        host.configure(main, infra={name: {"backend": OTHER[wanted[name]]}})
        refused = hints(main, "infra.up", code=4)
        assert f"{name} of instance 0" in refused
        assert f"on the {wanted[name]} backend" in refused
        assert f"set orienter.infra.{name}.backend: {wanted[name]}, or delete that data" in refused
        host.configure(main, infra={name: {"backend": wanted[name]}})
    host.configure(main, infra={"nginx": {"backend": OTHER[wanted["nginx"]]}})
    assert "stop it first: inv infra.down" in hints(main, "infra.up", code=4)
    host.configure(main, infra={"nginx": {"backend": wanted["nginx"]}})
    assert states(main) == dict.fromkeys((*ALL, "web"), True)


def survives(main: Checkout, native: Sequence[str]) -> None:
    """Require that a stop keeps the data and leaves nothing else, and that the data goes where it is."""
    blind = within(main, {"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    told = blind.inv("dev.status", "--json", code=None).json
    assert (told["state"], {part["name"] for part in told["components"]}) == ("unknown", {*native, "web"})
    assert "no Docker engine answers" in hints(blind, "dev.stop", code=5)
    assert {name for name, runs in states(main).items() if runs} == {*ALL} - {*native}
    main.inv("dev.stop")
    assert states(main) == {}
    main.inv("infra.up")
    Claims().path.unlink()  # what runs, and what has data, still says which backend each has
    assert "postgres: stopped" in main.inv("dev.stop").err
    assert states(main) == {}
    main.inv("infra.up")
    assert {name for name, backend in Claims().read()[0].backends.others.items() if backend == "embedded"} == {*native}
    assert main.inv("infra.psql", "--", "-Atc", "SELECT count(*) FROM kept").out == "0\n"
    assert "kept" in main.inv("infra.s3", "ls").out
    removed = main.inv("infra.down", "--volumes", "--yes").err
    assert removed.count("removed ") == 2
    assert "has no data" in hints(main, "data.snapshot", "nothing", code=3)


@pytest.mark.parametrize("native", [("minio", "nginx", "redis"), ("postgres", "cache")], ids=["most", "few"])
def test_isolation(make_host: MakeHost, native: tuple[str, ...]) -> None:
    """Two throwaway instances of a host with further servers, on both backends."""
    infra = {"redis": REDIS, "cache": CACHE}
    given = {name: {**infra.get(name, {}), "backend": "embedded"} for name in native}
    main = make_host("docker", infra={**infra, **given}, ports=slot.bases((*slot.NAMES, "redis", "cache"))).main
    answer = main.inv("test.integration", "--json").json
    assert answer["ok"], answer
    said = {one["check"]: one["detail"] for one in answer["checks"]}
    assert f"on docker, embedded: {', '.join(name for name in SERVERS if name in native)} in " in said[CHECKS[0]]
    assert {*CHECKS, "a key is seen by its own only"} <= said.keys()
    assert main.inv("test.run", "--", "sh", "-c", "echo $ORIENTER_BACKEND; exit 3", code=3).out == "docker\n"
