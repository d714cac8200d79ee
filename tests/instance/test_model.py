"""Ports, names and directories, exactly as the port table says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.instance.model import component_of_port, make_instance, port_plan
from orienter_tasks.settings.load import load_settings

if TYPE_CHECKING:
    from orienter_tasks.settings.model import Settings

NAMES = ("nginx", "whatsapp", "dashboard", "opencode", "vite", "postgres", "minio_api", "minio_console")
TABLE = {
    0: (80, 4097, 4098, 4099, 5173, 5432, 9000, 9001),
    1: (1080, 5097, 5098, 5099, 6173, 6432, 10000, 10001),
    2: (2080, 6097, 6098, 6099, 7173, 7432, 11000, 11001),
    3: (3080, 7097, 7098, 7099, 8173, 8432, 12000, 12001),
    4: (4080, 8097, 8098, 8099, 9173, 9432, 13000, 13001),
    5: (5080, 9097, 9098, 9099, 10173, 10432, 14000, 14001),
    6: (6080, 10097, 10098, 10099, 11173, 11432, 15000, 15001),
    7: (7080, 11097, 11098, 11099, 12173, 12432, 16000, 16001),
    8: (8080, 12097, 12098, 12099, 13173, 13432, 17000, 17001),
    9: (9080, 13097, 13098, 13099, 14173, 14432, 18000, 18001),
}
ROOT = Path("/home/me/repo")


@pytest.mark.parametrize("number", TABLE)
def test_the_port_table(settings: Settings, number: int) -> None:
    assert port_plan(settings, number) == dict(zip(NAMES, TABLE[number], strict=True))


def test_no_two_ports_of_the_table_meet(settings: Settings) -> None:
    highest = load_settings({"instances": {"max": 56}})
    every = [port for number in range(57) for port in port_plan(highest, number).values()]
    assert len(set(every)) == len(every)
    assert max(every) <= 65535
    assert port_plan(highest, 9) == port_plan(settings, 9)


@pytest.mark.parametrize("number", TABLE)
def test_names(settings: Settings, number: int) -> None:
    it = make_instance(settings, number, ROOT)
    assert it.container("postgres") == f"orienter-postgres-{number}"
    assert it.container("nginx") == f"orienter-nginx-{number}"
    assert it.volume("postgres") == f"postgres-data-{number}"
    assert it.volume("minio") == f"minio-data-{number}"
    assert it.network == f"orienter-network-{number}"
    assert it.compose_project == f"orienter-instance-{number}"
    assert it.data_dir == ROOT / f".dev-data/instance-{number}"
    assert it.log_dir == ROOT / f"logs/instance-{number}"
    assert it.pid_dir == ROOT / f".dev-pids/instance-{number}"
    assert it.labels == {
        "io.orienter.project": "orienter",
        "io.orienter.instance": str(number),
        "io.orienter.root": str(ROOT),
    }


def test_another_project_has_its_name_in_front_of_everything() -> None:
    it = make_instance(load_settings({"project": "shop"}), 2, ROOT)
    assert it.container("postgres") == "shop-postgres-2"
    assert it.volume("postgres") == "shop-postgres-data-2"
    assert it.volume("minio") == "shop-minio-data-2"
    assert it.network == "shop-network-2"
    assert it.compose_project == "shop-instance-2"
    assert it.labels["io.orienter.project"] == "shop"


def test_a_moved_port_is_followed(settings: Settings) -> None:
    it = make_instance(settings, 0, ROOT, {"nginx": 8080})
    assert it.ports == port_plan(settings, 0) | {"nginx": 8080}
    assert it.url == "http://localhost:8080"


def test_url(settings: Settings) -> None:
    main, other = make_instance(settings, 0, ROOT), make_instance(settings, 3, ROOT)
    assert (main.url, main.host_url) == ("http://localhost", "http://orienter-0.localhost")
    assert (other.url, other.host_url) == ("http://localhost:3080", "http://orienter-3.localhost:3080")


@pytest.mark.parametrize(
    ("template", "host"), [("", "localhost"), ("{project}.dev{id}.test", "orienter.dev3.test"), ("d{id}", "d3")]
)
def test_the_host_name_is_a_setting(template: str, host: str) -> None:
    it = make_instance(load_settings({"nginx": {"hostname": template}}), 3, ROOT)
    assert (it.url, it.host_url) == ("http://localhost:3080", f"http://{host}:3080")


PROJECTS = ["a-b", "a_b", "a--b", "a-b-", "a_b_", "a-_b", "xn--a", "xn-a", "xn-", "xn", "a" * 40, "a" + "_a" * 19 + "-"]


def test_every_project_has_a_dns_label_of_its_own() -> None:
    names = {project: load_settings({"project": project}).hostname(56) for project in PROJECTS}
    assert names["a-b"] == "a-b-56.localhost"
    assert names["a_b"].startswith("a-b-")
    assert len({*names.values()}) == len(PROJECTS)
    for name in names.values():
        assert re.fullmatch(r"[a-z]([a-z0-9]|-(?!-)){0,61}[a-z0-9]\.localhost", name), name


def test_a_port_of_the_hosts_own() -> None:
    settings = load_settings({"ports": {"gateway": 4100}})
    assert port_plan(settings, 4)["gateway"] == 8100
    assert component_of_port(settings, "gateway") == ""


@pytest.mark.parametrize(
    ("port", "component"),
    [
        ("nginx", "nginx"),
        ("postgres", "postgres"),
        ("minio_api", "minio"),
        ("minio_console", "minio"),
        ("vite", "frontend"),
        ("opencode", "opencode"),
    ],
)
def test_who_listens_on_a_port(settings: Settings, port: str, component: str) -> None:
    assert component_of_port(settings, port) == component


def test_people_read_id_and_worktree(settings: Settings) -> None:
    assert str(make_instance(settings, 4, ROOT / "feature")) == "instance 4 (feature)"
    assert make_instance(settings, 0, Path("/")).worktree == "/"
