"""The preset redis, which a host adds with one line: a real server on both backends."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orienter_tasks.backends.clients.redis import RedisSession, RefusedError, connected
from orienter_tasks.backends.embedded import programs
from orienter_tasks.infra.redis_portable import KeyEntry, entries, write
from orienter_tasks.settings.load import load_settings
from tests import slot
from tests.configurations import prepared
from tests.integration.checkouts import IMAGES
from tests.integration.left import nothing_left
from tests.integration.small import SmallHost, complaint, kill, pid_of, states, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.integration.checkouts import Checkout

PORTS = slot.bases((*slot.NAMES, "redis"))
INFRA: dict[str, dict[str, Any]] = {"embedded": {}, "docker": {"image": f"{IMAGES}/redis:local"}}
ALL = dict.fromkeys(("postgres", "minio", "nginx", "redis"), True)
ODD = "a \"quoted\" # $HOME 'word'"


def ask(checkout: Checkout, *words: str) -> Any:
    with logged_in(checkout) as session:
        return session.ask(*words)


@contextlib.contextmanager
def logged_in(checkout: Checkout) -> Iterator[RedisSession]:
    """Use the server as a service would."""
    variables = checkout.variables
    with connected(int(variables["REDIS_PORT"]), variables["REDIS_PASSWORD"]) as session:
        yield session


CONTENT: tuple[tuple[str | bytes, ...], ...] = (
    ("SET", "text", "h\u00e9llo"),
    ("SET", b"\xff\x00\r\n", b"\x00\xff"),
    ("SET", "ends", "x", "PXAT", "4102444800123"),
    ("RPUSH", "list", *map(str, range(1200))),
    ("SADD", "set", *map(str, range(1200))),
    ("ZADD", "zset", "1.5", "a", "-inf", "b"),
    ("HSET", "hash", *(f"{kind}{number}" for number in range(1200) for kind in "kv")),
    ("XADD", "stream", "5-1", "a", "1", "b", "2"),
    ("XADD", "stream", "5-2", "c", "3"),
    ("XADD", "stream", "9-9", "gone", "1"),
    ("XDEL", "stream", "9-9"),
    ("XGROUP", "CREATE", "stream", "readers", "5-1"),
    ("PFADD", "log", "a", "b"),
    ("SELECT", "3"),
    ("SET", "in three", "x"),
)


def fill(checkout: Checkout) -> None:
    with logged_in(checkout) as session:
        session.ask("FLUSHALL")
        for words in CONTENT:
            session.ask(*words)


def content(checkout: Checkout) -> Mapping[tuple[int, bytes], object]:
    """Everything that its server has."""
    with logged_in(checkout) as session:
        return whole(entries(session))


def whole(found: Iterable[KeyEntry]) -> Mapping[tuple[int, bytes], object]:
    """Put the entries of each key together, and what is in sets and hashes in order."""
    keys: dict[tuple[int, bytes], list[KeyEntry]] = {}
    for entry in found:
        keys.setdefault((entry.database, entry.key), []).append(entry)
    return {key: _joined(parts) for key, parts in keys.items()}


def _joined(parts: list[KeyEntry]) -> object:
    assert [part.first for part in parts] == [True, *[False] * (len(parts) - 1)]
    items = [item for part in parts for item in part.items]
    if parts[0].kind == "hash":
        items = [item for pair in sorted(zip(items[::2], items[1::2], strict=True)) for item in pair]
    if parts[0].kind == "set":
        items.sort()
    return items, parts[0].expires, list(dict.fromkeys(part.kind for part in parts))


@contextlib.contextmanager
def newer_server(directory: Path) -> Iterator[int]:
    """Run the wheel's server without an instance."""
    port = slot.port()
    (directory / "conf").write_text("requirepass secret\n")
    program = programs.redis(load_settings({"infra": {"redis": {}}}))
    words = [str(program), "conf", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(words, cwd=directory, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(port), "an answer")
            yield port
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        with connected(port, "secret") as session:
            return session.ask("PING") == b"PONG"
    except (OSError, RefusedError):
        return False


@pytest.fixture(scope="module", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in INFRA])
def main(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clusters: Path
) -> Iterator[Checkout]:
    """The main checkout of a host with redis, whose infrastructure is up; its password is an odd one."""
    directory = tmp_path_factory.mktemp("redis")
    with prepared(directory / "state", clusters):
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
        with pytest.raises(RefusedError, match="WRONGPASS"), connected(PORTS["redis"], "development"):
            pass

    def test_logs_stats_compose_and_doctor(self, main: Checkout) -> None:
        assert "Ready to accept connections" in main.inv("infra.logs", "-s", "redis", "--no-follow").out
        parts = {part["name"]: part for part in main.inv("infra.stats", "--json").json["components"]}
        memory = parts["redis"]["memory_bytes"]
        assert memory is None or memory < 12 << 20  # rootless Podman may not know
        told = main.inv("doctor", code=None).out
        assert f"redis answers on {PORTS['redis']}" in told
        service = yaml.safe_load(main.inv("infra.compose").out)["services"]["redis"]
        assert service["ports"] == [f"127.0.0.1:{PORTS['redis']}:6379"]

    def test_verify_looks_into_it(self, main: Checkout) -> None:
        document = main.inv("infra.verify", "--json").json
        assert document["instances"][0]["keyspaces"] == ["db0 (keys=1)"]
        where = {each: name for name, each in document["instances"][0]["data"].items()}["redis"]
        assert where.endswith(("redis-data-0/data/data", "redis-data-0"))
        assert ("keyspaces", "ok") in {(check["topic"], check["verdict"]) for check in document["checks"]}

    def test_two_others_do_not_see_each_others_keys(self, main: Checkout) -> None:
        checks = main.inv("test.integration", "--json").json["checks"]
        assert ("a key is seen by its own only", True) in {(check["check"], check["ok"]) for check in checks}
        assert ask(main, "GET", "key") == b"value"

    def test_a_restart_keeps_its_keys(self, main: Checkout) -> None:
        main.inv("dev.restart", "-s", "redis")
        assert ask(main, "GET", "key") == b"value"
        assert main.inv("infra.up").code == 0

    def test_a_snapshot_is_of_what_it_was(self, main: Checkout) -> None:
        fill(main)
        was = content(main)
        main.inv("data.snapshot", "running")
        ask(main, "FLUSHALL")
        ask(main, "SET", "key", "other")
        main.inv("data.restore", "running", "--yes", "--no-backup")
        assert content(main) == was
        main.inv("infra.down")
        main.inv("data.snapshot", "stopped")
        main.inv("infra.up")
        ask(main, "FLUSHALL")
        main.inv("data.restore", "stopped", "--yes", "--no-backup")
        assert content(main) == was
        (made,) = [each for each in main.inv("data.list", "--json").json["snapshots"] if each["name"] == "stopped"]
        assert {part["component"]: part["server"][:4] for part in made["parts"]}["redis"] == "RDB "

    def test_an_export_is_imported(self, main: Checkout, tmp_path: Path) -> None:
        was, file = content(main), str(tmp_path / "data.tar")
        assert "redis: functions" in main.inv("data.export", file).err
        ask(main, "FLUSHALL")
        main.inv("data.import", file, "--yes", "--no-backup")
        assert content(main) == was

    def test_what_a_newer_server_has_travels(self, main: Checkout, tmp_path: Path) -> None:
        with newer_server(tmp_path) as port:
            with connected(port, "secret") as source:
                for words in CONTENT:
                    source.ask(*words)
                found = list(entries(source))
            with logged_in(main) as target:
                target.ask("FLUSHALL")
                for entry in [*found, *found]:  # a key that is read twice is there once
                    write(target, entry)
        assert content(main) == whole(found)
        assert len(whole(found)) == 10

    def test_data_stays_until_it_is_removed(self, main: Checkout) -> None:
        main.inv("infra.down")
        nothing_left([main])
        main.inv("infra.up")
        assert ask(main, "EXISTS", "list") == 1
        assert "redis-data-0" in main.inv("infra.down", "--volumes", "--yes").err
        main.inv("infra.up")
        assert ask(main, "EXISTS", "list") == 0


@pytest.mark.embedded
def test_a_killed_server_loses_nothing(tmp_path: Path, clusters: Path) -> None:
    ports = slot.bases((*slot.NAMES, "redis"), thousand=15)  # the others' instance may still be there
    host = SmallHost(tmp_path / "x", "embedded", clusters, ports=ports, infra={"redis": {}}, services={"web": None})
    try:
        host.main.inv("infra.up")
        with logged_in(host.main) as session:
            for number in range(100):
                session.ask("RPUSH", "list", number)
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
