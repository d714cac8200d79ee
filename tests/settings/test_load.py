"""Every fault in invoke.yaml is told in one line that names the key, and the nearest right one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings.defaults import SERVICES, ports
from orienter_tasks.settings.load import as_plain, backend_name, load_settings
from orienter_tasks.settings.model import Service, Settings
from orienter_tasks.settings.rules import check_ports

NOTHING: dict[str, Any] = {}


def refusal(raw: object) -> str:
    """Return the line with which settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load_settings(raw)
    line = caught.value.line()
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line


def service(**keys: object) -> dict[str, Any]:
    return {"services": {"dashboard": keys}}


def hook(**keys: object) -> dict[str, Any]:
    return {"hooks": {"before_services": [{"name": "migrate", "command": ["true"], **keys}]}}


def paths(*values: object) -> dict[str, Any]:
    return {"data": {"paths": [*values]}}


def start(**keys: object) -> dict[str, Any]:
    return {"hooks": {"start": [{"name": "seed", "command": ["true"], **keys}]}}


@pytest.mark.parametrize("raw", [None, {}, {"services": None}, {"ports": {}, "hooks": None}])
def test_saying_nothing_gives_the_defaults(raw: object) -> None:
    settings = load_settings(raw)
    assert settings.project == "orienter"
    assert settings.ports == ports()
    assert list(settings.services) == list(SERVICES)
    assert settings.all_hooks == []
    assert settings.instances.max == 9


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (5, "orienter:"),
        ([], "orienter:"),
        ("text", "orienter:"),
        ({1: {}}, "orienter:"),
        ({"project": 5}, "orienter.project:"),
        ({"project": None}, "orienter.project:"),
        ({"project": "Bad Name"}, "orienter.project:"),
        ({"project": "../up"}, "orienter.project:"),
        ({"project": "x" * 41}, "orienter.project:"),
        ({"project": "ok\n"}, "orienter.project:"),
        ({"backend": 5}, "orienter.backend:"),
        ({"backend": ["auto"]}, "orienter.backend:"),
        ({"backend": "podman"}, "orienter.backend:"),
        ({"instances": 9}, "orienter.instances:"),
        ({"instances": {"max": "9"}}, "orienter.instances.max:"),
        ({"instances": {"max": True}}, "orienter.instances.max:"),
        ({"instances": {"max": 2.5}}, "orienter.instances.max:"),
        ({"instances": {"max": -1}}, "orienter.instances.max:"),
        ({"instances": {"max": 57}}, "orienter.instances.max:"),
        ({"ports": []}, "orienter.ports:"),
        ({"ports": {"vite": "5173"}}, "orienter.ports.vite:"),
        ({"ports": {"vite": 5173.0}}, "orienter.ports.vite:"),
        ({"ports": {"vite": True}}, "orienter.ports.vite:"),
        ({"ports": {"postgres": None}}, "orienter.ports.postgres:"),
        ({"ports": {"Gate-way": 4100}}, "orienter.ports.Gate-way:"),
        ({"ports": {7: 4100}}, "orienter.ports:"),
        ({"database": "postgres"}, "orienter.database:"),
        ({"database": {"name": 5}}, "orienter.database.name:"),
        ({"database": {"name": "a; DROP"}}, "orienter.database.name:"),
        ({"database": {"name": "x" * 52}}, "orienter.database.name:"),
        ({"database": {"password": ""}}, "orienter.database:"),
        ({"database": {"extensions": ["a; DROP"]}}, "orienter.database.extensions:"),
        ({"database": {"extensions": "pgcrypto"}}, "orienter.database.extensions:"),
        ({"storage": {"bucket": "UPPER"}}, "orienter.storage.bucket:"),
        ({"storage": {"user": ""}}, "orienter.storage:"),
        ({"docker": {"log_max_file": "3"}}, "orienter.docker.log_max_file:"),
        ({"embedded": {"nginx": ["nginx"]}}, "orienter.embedded.nginx:"),
        ({"nginx": {"network": 5}}, "orienter.nginx.network:"),
        *(
            ({"nginx": {"hosts": [host]}}, "orienter.nginx.hosts:")
            for host in ("", "a b", "a;", "*", "http://a", "a:80")
        ),
        *(
            ({"nginx": {"hostname": name}}, "orienter.nginx.hostname:")
            for name in (
                "dev.localhost",
                "{id}",
                "dev.{id}",
                "{ID}-{id}.localhost",
                "A-{id}.localhost",
                "a_{id}.localhost",
            )
        ),
        *(
            ({"nginx": {"hostname": name}}, "orienter.nginx.hostname:")
            for name in ("a {id}", "a{id};", "*.a{id}", ".a{id}", "a{id}.", "-a{id}", "a..a{id}", "a" * 64 + ".a{id}")
        ),
        ({"timeouts": {"stop": "10"}}, "orienter.timeouts.stop:"),
        ({"timeouts": {"stop": 0}}, "orienter.timeouts.stop:"),
        ({"timeouts": {"infra": float("nan")}}, "orienter.timeouts.infra:"),
        ({"timeouts": {"lock": float("inf")}}, "orienter.timeouts.lock:"),
        *(
            ({"logs": {"max_size": size}}, "orienter.logs.max_size:")
            for size in ("", "0", "50x", "1.5m", "-1m", "m", 5)
        ),
        *(({"logs": {"keep": keep}}, "orienter.logs.keep:") for keep in (-1, 101, "1")),
        ({"services": ["dashboard"]}, "orienter.services:"),
        ({"services": {"dashboard": "pnpm dev"}}, "orienter.services.dashboard:"),
        ({"services": {"Upper": {}}}, "orienter.services.Upper:"),
        ({"services": {"a/b": {}}}, "orienter.services.a/b:"),
        ({"services": {"new": {}}}, "orienter.services.new.command:"),
        ({"services": {"minio": {"command": ["x"]}}}, "orienter.services.minio:"),
        (service(command="pnpm dev"), "orienter.services.dashboard.command:"),
        (service(command=[]), "orienter.services.dashboard.command:"),
        (service(command=["serve", 80]), "orienter.services.dashboard.command:"),
        (service(needs="postgres"), "orienter.services.dashboard.needs:"),
        (service(needs=[5]), "orienter.services.dashboard.needs[0]:"),
        (service(env=["A=1"]), "orienter.services.dashboard.env:"),
        (service(env={"PORT": 3000}), "orienter.services.dashboard.env.PORT:"),
        (service(env={"A=B": "x"}), "orienter.services.dashboard.env.A=B:"),
        (service(env={5: "x"}), "orienter.services.dashboard.env:"),
        (service(ready="/health"), "orienter.services.dashboard.ready:"),
        (service(ready={0: None}), "orienter.services.dashboard.ready:"),
        (service(ready={"http": 5}), "orienter.services.dashboard.ready.http:"),
        (service(ready={"http": "health"}), "orienter.services.dashboard.ready.http:"),
        (service(ready={"http": "/a b"}), "orienter.services.dashboard.ready.http:"),
        (service(ready={"http": "/é"}), "orienter.services.dashboard.ready.http:"),
        (service(ready={"timeout": -1}), "orienter.services.dashboard.ready.timeout:"),
        (service(port=""), "orienter.services.dashboard.ready.http:"),
        (service(port="postgres"), "orienter.services.dashboard.port:"),
        (service(on_exit=5), "orienter.services.dashboard.on_exit:"),
        ({"hooks": []}, "orienter.hooks:"),
        ({"hooks": {"before_services": {"name": "x"}}}, "orienter.hooks.before_services:"),
        ({"hooks": {"before_services": ["make"]}}, "orienter.hooks.before_services[0]:"),
        ({"hooks": {"before_services": [{"command": ["x"]}]}}, "orienter.hooks.before_services[0]:"),
        (hook(command="make"), "orienter.hooks.before_services[0].command:"),
        (hook(timeout="5"), "orienter.hooks.before_services[0].timeout:"),
        (hook(timeout=0), "orienter.hooks (migrate).timeout:"),
        (hook(env={"A": None}), "orienter.hooks.before_services[0].env.A:"),
        (hook(exports="yes"), "orienter.hooks.before_services[0].exports:"),
        (hook(services="dashboard"), "orienter.hooks.before_services[0].services:"),
        (hook(services=["nobody"]), "orienter.hooks (migrate): no service or hook is named 'nobody'"),
        (hook(exports=True, creates="x"), "orienter.hooks (migrate): a hook that exports has to run at every start"),
        (hook(name="dashboard"), "orienter.hooks: 'dashboard'"),
        (hook(name="a b"), "orienter.hooks: 'a b'"),
        ({"hooks": {"start": {"name": "x"}}}, "orienter.hooks.start:"),
        (start(command="make"), "orienter.hooks.start[0].command:"),
        (start(once="day"), "orienter.hooks.start[0].once:"),
        (start(needs=["nobody"]), "orienter.hooks (seed): no component is named 'nobody'"),
        (start(before=["nobody"]), "orienter.hooks (seed): no service or hook is named 'nobody'"),
        (start(before=["postgres"]), "orienter.hooks (seed): no service or hook is named 'postgres'"),
        (start(services=[]), "orienter.hooks.start[0].services:"),
        (start(sources=[5]), "orienter.hooks.start[0].sources[0]:"),
        (start(exports=True, once="data"), "orienter.hooks (seed): a hook that exports has to run at every start"),
        (start(creates="x", once="data"), "orienter.hooks (seed): `creates` and `once: data`"),
        (service(on_conflict="wait"), "orienter.services.dashboard.on_conflict:"),
        (paths("app.db", "/app.db"), "orienter.data.paths[1]: '/app.db' is not a path below DATA_DIR"),
        (paths("../app.db"), "orienter.data.paths[0]: '../app.db' is not a path below DATA_DIR"),
        (paths("db/./x"), "orienter.data.paths[0]: 'db/./x' is not a path below DATA_DIR"),
        (paths(""), "orienter.data.paths[0]: '' is not a path below DATA_DIR"),
        (paths("db/**"), "orienter.data.paths[0]: 'db/**' has '**'"),
        (paths("nginx/nginx.conf"), "orienter.data.paths[0]: nginx in DATA_DIR is not the host's own"),
        (paths("claim"), "orienter.data.paths[0]: claim in DATA_DIR is not the host's own"),
        (paths(5), "orienter.data.paths[0]: expected str, got int"),
        ({"data": {"paths": "app.db"}}, "orienter.data.paths: expected array, got str"),
        (
            {"services": {"api": {"command": ["x"], "port": "dashboard"}}},
            "orienter.services.api.port: dashboard is the port of dashboard, and two services cannot",
        ),
    ],
)
def test_what_is_wrong_is_named(raw: object, key: str) -> None:
    assert refusal(raw).startswith(key)


@pytest.mark.parametrize(
    ("raw", "wrong", "right"),
    [
        ({"prject": "x"}, "orienter.prject:", "'project'"),
        ({"instances": {"maxx": 3}}, "orienter.instances.maxx:", "'max'"),
        ({"database": {"nme": "x"}}, "orienter.database.nme:", "'name'"),
        ({"storage": {"buckt": "x"}}, "orienter.storage.buckt:", "'bucket'"),
        ({"docker": {"postgers": "x"}}, "orienter.docker.postgers:", "'postgres'"),
        ({"embedded": {"rclon": "x"}}, "orienter.embedded.rclon:", "'rclone'"),
        ({"nginx": {"netwrok": "auto"}}, "orienter.nginx.netwrok:", "'network'"),
        ({"nginx": {"network": "hst"}}, "orienter.nginx.network:", "'host'"),
        ({"timeouts": {"sotp": 3}}, "orienter.timeouts.sotp:", "'stop'"),
        (service(comand=["x"]), "orienter.services.dashboard.comand:", "'command'"),
        (service(ready={"htp": "/"}), "orienter.services.dashboard.ready.htp:", "'http'"),
        (service(needs=["postgers"]), "orienter.services.dashboard.needs:", "'postgres'"),
        (service(port="dashbord"), "orienter.services.dashboard.port:", "'dashboard'"),
        (service(on_exit="restrat"), "orienter.services.dashboard.on_exit:", "'restart'"),
        ({"services": {"new": {"comand": ["x"]}}}, "orienter.services.new.comand:", "'command'"),
        ({"hooks": {"before_service": []}}, "orienter.hooks.before_service:", "'before_services'"),
        (hook(optionl=True), "orienter.hooks.before_services[0].optionl:", "'optional'"),
        (start(need=["postgres"]), "orienter.hooks.start[0].need:", "'needs'"),
        (start(needs=["dashbord"]), "orienter.hooks (seed):", "'dashboard'"),
        (service(needs=["migrat"]) | hook(), "orienter.services.dashboard.needs:", "'migrate'"),
    ],
)
def test_a_misspelling_is_told_the_right_word(raw: object, wrong: str, right: str) -> None:
    line = refusal(raw)
    assert line.startswith(wrong)
    assert f"did you mean {right}?" in line


def test_a_word_that_is_near_to_nothing_gets_the_list() -> None:
    assert refusal({"nginx": {"zzz": 1}}).endswith("known: template, network, login, hostname, hosts")


def test_a_hostile_word_stays_within_its_message() -> None:
    line = refusal(service(on_exit="q' - at `$.needs` \n x"))
    assert line.startswith("orienter.services.dashboard.on_exit: invalid enum value")


def test_two_hooks_of_one_name() -> None:
    twice = {"name": "migrate", "command": ["true"]}
    assert "'migrate' is taken" in refusal({"hooks": {"before_services": [twice, twice]}})
    assert "'migrate' is taken" in refusal({"hooks": {"before_services": [twice], "start": [twice]}})


@pytest.mark.parametrize(("base", "meets"), [(4099, 0), (3099, 1), (13099, 9), (5099, 1)])
def test_bases_that_meet_for_some_two_ids(base: int, meets: int) -> None:
    line = refusal({"ports": {"gateway": base}})
    assert f"opencode (4099) and gateway ({base}) meet: they are {meets} × 1000 apart" in line


def test_bases_that_meet_only_beyond_the_highest_id() -> None:
    assert load_settings({"ports": {"gateway": 14099}}).ports["gateway"] == 14099
    assert "meet" in refusal({"ports": {"gateway": 14099}, "instances": {"max": 10}})
    assert load_settings({"ports": {"gateway": 5099}, "instances": {"max": 0}}).ports["gateway"] == 5099


@pytest.mark.parametrize(("base", "highest", "fits"), [(65535, 0, True), (65536, 0, False), (9535, 56, True)])
def test_ports_end_at_65535(base: int, highest: int, fits: bool) -> None:
    raw = {"ports": {"gateway": base}, "instances": {"max": highest}}
    if fits:
        assert load_settings(raw).ports["gateway"] == base
    else:
        assert "orienter.ports.gateway:" in refusal(raw)


@pytest.mark.parametrize("base", [0, -1, 57000])
def test_a_base_without_a_port_for_every_id(base: int) -> None:
    assert refusal({"ports": {"gateway": base}}).startswith("orienter.ports.gateway:")


@given(
    ports=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 70_000), max_size=6),
    highest=st.integers(0, 56),
)
def test_the_port_plan_is_accepted_exactly_when_no_two_ports_meet(ports: dict[str, int], highest: int) -> None:
    plan = [base + number * 1000 for base in ports.values() for number in range(highest + 1)]
    sound = len(set(plan)) == len(plan) and all(port <= 65535 for port in plan)
    try:
        check_ports(ports, highest)
    except ConfigError:
        assert not sound
    else:
        assert sound


def test_needs_in_a_circle() -> None:
    line = refusal({"services": {"dashboard": {"needs": ["opencode"]}, "opencode": {"needs": ["dashboard"]}}})
    assert line == "orienter.services: needs go in a circle: dashboard → opencode → dashboard"
    assert "slack → slack" in refusal({"services": {"slack": {"needs": ["slack"]}}})


def many(count: int, **needs: list[str]) -> dict[str, Any]:
    """Services of which each needs all before it, and others; the ways from the last to the first double with each."""
    names = [f"s{number}" for number in range(count)]
    services = {name: {"command": ["x"], "needs": names[:number]} for number, name in enumerate(names)}
    return {"services": services | {name: {"command": ["x"], "needs": named} for name, named in needs.items()}}


def test_needs_are_not_followed_along_every_way() -> None:
    # 2**98 ways: who walked each would never come back
    assert load_settings(many(100)).services["s99"].needs[-1] == "s98"
    assert refusal(many(100, s0=["s99"])).endswith("circle: s0 → s99 → s0")


def test_a_circle_that_is_met_on_the_way_is_named_without_the_way() -> None:
    raw = many(0, way=["x"], x=["y"], y=["z", "postgres"], z=["x"])
    assert refusal(raw).endswith("circle: x → y → z → x")


def test_needs_may_meet_again() -> None:
    same = {"command": ["x"]}
    raw = {"services": {"a": same, "b": {**same, "needs": ["a"]}, "c": {**same, "needs": ["a"]}}}
    raw["services"]["d"] = {**same, "needs": ["b", "c", "nginx"]}
    assert load_settings(raw).services["d"].needs == ("b", "c", "nginx")


def test_a_service_is_dropped_with_null() -> None:
    settings = load_settings({"services": {"slack": None, "never-there": None}})
    assert "slack" not in settings.services
    assert len(settings.services) == len(SERVICES) - 1


def test_dropping_what_another_needs_is_told() -> None:
    raw = {"services": {"dashboard": None, "opencode": {"needs": ["dashboard"]}}}
    assert refusal(raw).startswith("orienter.services.opencode.needs: no component")


def test_a_port_is_dropped_with_null() -> None:
    settings = load_settings({"ports": {"whatsapp": None}, "services": {"whatsapp": None}})
    assert "whatsapp" not in settings.ports
    assert refusal({"ports": {"whatsapp": None}}).startswith("orienter.services.whatsapp.port:")


def test_a_service_is_changed_key_by_key() -> None:
    changed = {"env": {"EXTRA": "1"}, "ready": {"timeout": 5}, "needs": []}
    before = load_settings(None).services["whatsapp"]
    after = load_settings({"services": {"whatsapp": changed}}).services["whatsapp"]
    assert after.env == {"DASHBOARD_ENABLED": "false", "EXTRA": "1"}
    assert (after.ready.http, after.ready.timeout) == ("/health", 5.0)
    assert after.needs == ()
    assert (after.command, after.port, after.lease) == (before.command, before.port, before.lease)


def test_loading_twice_leaves_the_defaults_alone() -> None:
    before = load_settings(None)
    load_settings({"services": {"whatsapp": {"env": {"EXTRA": "1"}}}, "ports": {"gateway": 4100}})
    assert load_settings(None) == before


def test_slack_yields_and_whatsapp_does_not() -> None:
    services = load_settings(None).services
    found = {name: (it.lease, it.on_conflict) for name, it in services.items() if it.lease}
    assert found == {"whatsapp": ("whatsapp", "refuse"), "slack": ("slack", "skip")}


def test_a_whole_service_of_the_hosts_own() -> None:
    raw = {
        "command": ["serve", "${GATEWAY_PORT}"],
        "port": "gateway",
        "ready": {"http": "/ok?x=1"},
        "needs": ["nginx"],
        "cwd": "apps/gateway",
        "env": {"A": "b"},
        "requires_env": ["TOKEN"],
        "enabled_by": "GATEWAY_ENABLED",
        "lease": "gateway",
        "on_conflict": "skip",
        "copy_once": {"${DATA_DIR}/a": "~/a"},
        "log": "gateway.log",
        "on_exit": "restart",
        "exposed": True,
    }
    settings = load_settings({"ports": {"gateway": 4100}, "services": {"gateway": raw}})
    it = settings.services["gateway"]
    assert set(raw) == set(Service.__struct_fields__)
    assert it.command == ("serve", "${GATEWAY_PORT}")
    assert (it.port, it.ready.http, it.needs, it.on_exit) == ("gateway", "/ok?x=1", ("nginx",), "restart")


def test_proxies_become_plain() -> None:
    class Proxy:
        def items(self) -> list[tuple[str, object]]:
            return [("ports", {"gateway": 4100}), ("list", ("a", {"b": ["c"]}))]

    assert as_plain(Proxy()) == {"ports": {"gateway": 4100}, "list": ["a", {"b": ["c"]}]}


@pytest.mark.parametrize("name", ["auto", "docker", "embedded"])
def test_backends(name: str) -> None:
    assert load_settings({"backend": name}).backend == name
    assert backend_name(name, "here") == name


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just(["true"])
KEYS = st.text(max_size=8) | st.integers() | st.sampled_from(sorted(Service.__struct_fields__))
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SECTIONS = st.sampled_from(sorted(Settings.__struct_fields__))


def refused(raw: object) -> str | None:
    """Load settings; return the line with which they are refused, None when they are not."""
    try:
        settings = load_settings(raw)
    except ConfigError as error:
        return error.line()
    assert isinstance(settings, Settings)
    return None


@given(raw=JSON | st.dictionaries(SECTIONS, JSON, max_size=5))
def test_whatever_is_written_nothing_but_a_configuration_error_is_raised(raw: object) -> None:
    line = refused(raw)
    assert line is None or (line.startswith("orienter") and len(line.splitlines()) == 1)


@given(
    changes=st.dictionaries(
        st.sampled_from(["dashboard", "whatsapp", "slack", "new"]),
        st.dictionaries(st.sampled_from(sorted(Service.__struct_fields__)), JSON, max_size=4),
        max_size=3,
    )
)
def test_whatever_a_service_says_nothing_but_a_configuration_error_is_raised(changes: object) -> None:
    line = refused({"services": changes})
    assert line is None or line.startswith("orienter.services")


@pytest.mark.parametrize(("text", "size"), [("7", 7), ("500k", 512_000), ("50m", 52_428_800), ("2g", 2_147_483_648)])
def test_a_size_is_written_as_for_docker(text: str, size: int) -> None:
    assert load_settings({"logs": {"max_size": text}}).logs.max_bytes == size
