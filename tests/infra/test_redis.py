"""The preset redis, which a host adds with one line: a real server on both backends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orienter_tasks.backends.clients.redis import RefusedError, connected
from tests import slot
from tests.configurations import prepare
from tests.integration.checkouts import IMAGES
from tests.integration.left import nothing_left
from tests.integration.small import SmallHost, complaint, kill, pid_of, states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.checkouts import Checkout

PORTS = slot.bases((*slot.NAMES, "redis"))
INFRA: dict[str, dict[str, Any]] = {"embedded": {}, "docker": {"image": f"{IMAGES}/redis:local"}}
ALL = dict.fromkeys(("postgres", "minio", "nginx", "redis"), True)
ODD = "a \"quoted\" # $HOME 'word'"


def ask(checkout: Checkout, *words: str, password: str | None = None) -> Any:
    variables = checkout.variables
    own = variables["REDIS_PASSWORD"] if password is None else password
    with connected(int(variables["REDIS_PORT"]), own) as session:
        return session.ask(*words)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in INFRA])
def main(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clusters: Path
) -> Iterator[Checkout]:
    """The main checkout of a host with redis, whose infrastructure is up; its password is an odd one."""
    directory = tmp_path_factory.mktemp("redis")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in prepare(directory / "state", clusters):
            if value is None:
                patch.delenv(name)
            else:
                patch.setenv(name, value)
        given = {"redis": {**INFRA[request.param], "exports": {"BROKER_URL": "${REDIS_URL}"}}}
        host = SmallHost(directory / "x", request.param, clusters, ports=PORTS, infra=given, services={"web": None})
        try:
            (host.main.path / ".env").write_text(f"REDIS_PASSWORD='{ODD}'\n".replace("'word'", "word"))
            host.main.inv("infra.up")
            yield host.main
        finally:
            host.clean_up()


class TestOneInstance:
    """One after the other, on one running instance."""

    def test_it_is_started_and_seen(self, main: Checkout) -> None:
        assert states(main) == ALL
        assert ask(main, "SET", "key", "value") == b"OK"
        (instance,) = main.inv("instances", "--json").json["instances"]
        assert (instance["state"], instance["ports"]["redis"]) == ("running", PORTS["redis"])
        assert f"redis     localhost:{PORTS['redis']}\n" in main.inv("dev.announce").out

    def test_its_variables(self, main: Checkout) -> None:
        shown = main.inv("env.show", "--json")
        assert main.variables["REDIS_PASSWORD"] not in shown.out
        assert shown.json["variables"]["REDIS_HOST"] == "127.0.0.1"
        quoted = "a%20%22quoted%22%20%23%20%24HOME%20word"
        assert main.variables["REDIS_URL"] == f"redis://:{quoted}@127.0.0.1:{PORTS['redis']}/0"
        assert main.variables["BROKER_URL"] == main.variables["REDIS_URL"]

    def test_nobody_gets_in_without_the_password(self, main: Checkout) -> None:
        with pytest.raises(RefusedError, match="WRONGPASS"):
            ask(main, "PING", password="development")

    def test_logs_stats_compose_and_doctor(self, main: Checkout) -> None:
        assert "Ready to accept connections" in main.inv("infra.logs", "-s", "redis", "--no-follow").out
        parts = {part["name"]: part for part in main.inv("infra.stats", "--json").json["components"]}
        assert parts["redis"]["memory_bytes"] < 12 << 20
        told = main.inv("doctor", code=None).out
        assert f"redis answers on {PORTS['redis']}" in told
        service = yaml.safe_load(main.inv("infra.compose").out)["services"]["redis"]
        assert service["ports"] == [f"127.0.0.1:{PORTS['redis']}:6379"]

    def test_verify_looks_into_it(self, main: Checkout) -> None:
        document = main.inv("infra.verify", "--json").json
        assert document["instances"][0]["keyspaces"] == ["db0 (keys=1)"]
        assert ("keyspaces", "ok") in {(check["topic"], check["verdict"]) for check in document["checks"]}

    def test_a_restart_keeps_its_keys(self, main: Checkout) -> None:
        main.inv("dev.restart", "-s", "redis")
        assert ask(main, "GET", "key") == b"value"
        assert main.inv("infra.up").code == 0

    def test_data_stays_until_it_is_removed(self, main: Checkout) -> None:
        main.inv("infra.down")
        nothing_left([main])
        main.inv("infra.up")
        assert ask(main, "GET", "key") == b"value"
        assert "redis-data-0" in main.inv("infra.down", "--volumes", "--yes").err
        main.inv("infra.up")
        assert ask(main, "GET", "key") is None


@pytest.mark.embedded
def test_a_killed_server_loses_nothing(tmp_path: Path, clusters: Path) -> None:
    ports = slot.bases((*slot.NAMES, "redis"), thousand=15)  # the others' instance may still be there
    host = SmallHost(tmp_path / "x", "embedded", clusters, ports=ports, infra={"redis": {}}, services={"web": None})
    try:
        host.main.inv("infra.up")
        for number in range(100):
            ask(host.main, "RPUSH", "list", str(number))
        kill(pid_of(host.main, "redis"))
        host.main.inv("infra.up")
        assert ask(host.main, "LLEN", "list") == 100
        file = host.main.path / "invoke.yaml"
        settings = json.loads(file.read_text())
        settings["orienter"]["infra"]["redis"] = {"program": "/nowhere/redis"}
        file.write_text(json.dumps(settings))
        assert "orienter.infra.redis.program: /nowhere/redis is not a program" in complaint(
            host.main.inv("dev", code=2)
        )
    finally:
        host.clean_up()
