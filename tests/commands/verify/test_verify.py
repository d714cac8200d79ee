"""`infra.verify`: what it calls shared, and that it sees what two real instances really share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from orienter_tasks.commands.verify import native
from orienter_tasks.commands.verify.rules import judge
from orienter_tasks.commands.verify.snapshot import DataLocation, Evidence, Network, Workload
from orienter_tasks.infra.component import ServerContents
from orienter_tasks.instance.backends import Backends
from tests.configs import make_config, make_instance
from tests.configurations import OWN_PORTS, make_own, prepared, settled
from tests.integration.checkouts import Checkout
from tests.integration.small import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.output.checks import Check

PORTS = {"nginx": 80, "vite": 5173, "postgres": 5432, "minio_api": 9000}


def holding(
    databases: Sequence[str], buckets: Sequence[str] = (), key: str = "PostgreSQL server, 1 started now"
) -> dict[str, ServerContents]:
    """Describe what two servers hold."""
    built_in = frozenset({"postgres", "template1"})
    return {
        "databases": ServerContents(tuple(databases), "drop {name} in {root}", built_in, key),
        "buckets": ServerContents(tuple(buckets), "look into {name} at {root}"),
    }


def seen(number: int, **changes: Any) -> Evidence:
    """Evidence of an instance that shares nothing."""
    root = Path(f"/home/me/{number}")
    instance = replace(make_instance(root, number), ports={name: base + 1000 * number for name, base in PORTS.items()})
    network = f"orienter-network-{number}"
    evidence = Evidence(
        instance=instance,
        backends=Backends("docker"),
        own={"databases": (f"whatsapp_bot_{number}", "_"), "buckets": (f"orienter-data-{number}", "-")},
        contents=holding(
            ("postgres", "template1", f"whatsapp_bot_{number}"),
            (f"orienter-data-{number}",),
            key=f"PostgreSQL server, 77 started 2026-01-0{number + 1}",
        ),
        networks=(Network(f"id{number}", network, own=True, members=(f"orienter-postgres-{number}",)),),
        locations=(DataLocation("postgres", f"postgres-data-{number}", f"volume postgres-data-{number}", own=True),),
        listening=tuple(instance.ports.values()),
        workloads=(Workload(f"pid{number}", "dashboard", f"pid {number}"),),
        written={"1:2" if number == 0 else f"1:{number + 2}": "web writes /home/me/x.db"},
    )
    return replace(evidence, **changes)


def broken(evidence: Sequence[Evidence]) -> dict[str, Check]:
    return {check.topic: check for check in judge(evidence) if check.verdict == "problem"}


def test_instances_that_share_nothing_pass_although_one_template_made_their_clusters() -> None:
    found = judge([seen(0), seen(1), seen(2)])
    assert {check.verdict for check in found} == {"ok"}
    assert sum(len(check.instances) == 3 for check in found) == 7
    assert [check.instances for check in found[:6]] == [(0,)] * 6


def stranger_on_the_network(one: Evidence) -> tuple[Network, ...]:
    network = one.networks[0]
    return (replace(network, members=(*network.members, "web"), outsiders=("web",)),)


@pytest.mark.parametrize(
    ("topic", "changes", "named"),
    [
        ("databases", {"contents": holding(("whatsapp_bot_0", "whatsapp_bot_1"))}, "whatsapp_bot_0"),
        ("buckets", {"contents": holding((), ("orienter-data-0", "orienter-data-1"))}, "orienter-data-0"),
        ("networks", {"networks": stranger_on_the_network(seen(1))}, "web"),
        ("networks", {"networks": (Network("x", "elsewhere", own=False, members=("c",)),)}, "elsewhere"),
        (
            "data",
            {"locations": (DataLocation("postgres", "postgres-data-9", "volume 9", own=False),)},
            "postgres-data-9",
        ),
        ("ports", {"taken": {6173: "pid 9 (vite)"}}, "6173 is held by pid 9"),
        (
            "processes",
            {"workloads": (Workload("7", "web", "pid 7", ("POSTGRES_DB=whatsapp_bot_0",)),)},
            "whatsapp_bot_0",
        ),
        ("between: servers", {"contents": seen(0).contents}, "the same PostgreSQL server"),
        ("between: data", {"locations": seen(0).locations}, "postgres-data-0"),
        ("between: networks", {"networks": seen(0).networks}, "orienter-network-0"),
        ("between: ports", {"instance": replace(seen(1).instance, ports={"nginx": 80})}, "80"),
        ("between: processes", {"workloads": seen(0).workloads}, "pid 0"),
        ("between: files", {"written": {"1:2": "web writes /home/me/x.db"}}, "web writes /home/me/x.db"),
        ("between: connections", {"calls": {5432: "pid 7 (node)"}}, "pid 7 (node) of 1 is connected to postgres of 0"),
    ],
)
def test_whatever_is_shared_is_named(topic: str, changes: dict[str, Any], named: str) -> None:
    found = broken([seen(0), seen(1, **changes)])
    assert topic in found, found
    assert named in found[topic].text
    assert found[topic].remedy


def test_a_directory_within_another_instances_is_shared(tmp_path: Path) -> None:
    outer, inner = tmp_path / "data", tmp_path / "data" / "deep"
    inner.mkdir(parents=True)
    beside = tmp_path / "data-2"
    locations = {path: (DataLocation("minio", str(path), str(path), own=True),) for path in (outer, inner, beside)}
    assert "between: data" in broken([seen(0, locations=locations[outer]), seen(1, locations=locations[inner])])
    assert not broken([seen(0, locations=locations[outer]), seen(1, locations=locations[beside])])


def test_a_database_of_the_users_own_is_no_fault() -> None:
    names = ("postgres", "whatsapp_bot_1", "whatsapp_bot_1_test", "scratch")
    assert not broken([seen(0), seen(1, contents=holding(names))])


def test_what_could_not_be_seen_is_not_proved() -> None:
    found = {
        check.topic: check
        for check in judge(
            [seen(0), seen(1, contents={}, unseen={"databases": "no login"}, absent={"buckets": "it does not run"})]
        )
    }
    assert found["databases"].verdict == "unseen"
    assert found["between: servers"].verdict == "unseen"
    assert found["between: ports"].verdict == "ok"


def test_one_alone_has_nobody_to_share_with() -> None:
    found = judge([seen(3)])
    assert {check.verdict for check in found} == {"ok", "absent"}
    assert all(check.verdict == "absent" for check in found if check.topic.startswith("between"))


def test_what_runs_since_before_a_checkout_was_moved(tmp_path: Path) -> None:
    former, root = tmp_path / "former", tmp_path / "now"
    data = root / ".dev-data" / "instance-3" / "postgres"
    data.mkdir(parents=True)
    config = make_config(root, 3, former_roots=(str(former),))
    carried = {**config.variables.values, "ORIENTER_COMPONENT": "web"}
    assert native._wrong(carried, "web", config) == ()
    assert native._wrong({**carried, "AI_INSTANCE_ROOT": str(former)}, "web", config) == ()
    elsewhere = str(tmp_path / "elsewhere")
    assert native._wrong({**carried, "AI_INSTANCE_ROOT": elsewhere}, "web", config) == (
        f"AI_INSTANCE_ROOT={elsewhere}",
    )
    del carried["POSTGRES_DB"]
    assert native._wrong(carried, "web", config) == ("POSTGRES_DB missing",)
    assert native._wrong(carried, "postgres", config) == ()
    former_data = former / ".dev-data" / "instance-3" / "postgres"
    instance = config.instance
    assert native.location("postgres", str(data), instance).own
    assert native.location("postgres", str(former_data), instance).own
    assert not native.location("postgres", str(data.parents[1] / "instance-4"), instance).own


# real instances from here on


class Pair:
    """The main checkout and a worktree of one host, both running."""

    def __init__(self, directory: Path, backend: str) -> None:
        self.host = make_own(directory, backend)
        self.main = self.host.main
        self.other = self.host.worktree(directory / "claude-worktrees" / "orienter" / "feature-a-1")

    def start(self) -> None:
        for checkout in (self.main, self.other):
            checkout.inv("infra.up")

    def verify(self, code: int = 0) -> dict[str, Any]:
        return dict(self.main.inv("infra.verify", "--json", code=code).json)

    def shared(self) -> dict[str, str]:
        """Return topic and detail of what is called shared."""
        return {check["topic"]: check["detail"] for check in self.verify(1)["checks"] if check["verdict"] == "shared"}


@pytest.fixture(scope="class")
def pair(tmp_path_factory: pytest.TempPathFactory, clusters: Path) -> Iterator[Pair]:
    yield from _pair(tmp_path_factory.mktemp("pair"), clusters, "embedded")


@pytest.fixture(scope="class")
def docker_pair(tmp_path_factory: pytest.TempPathFactory, clusters: Path) -> Iterator[Pair]:
    yield from _pair(tmp_path_factory.mktemp("pair"), clusters, "docker")


def _pair(directory: Path, clusters: Path, backend: str) -> Iterator[Pair]:
    with prepared(directory / "state", clusters):
        made = Pair(directory / "home", backend)
        try:
            made.start()
            yield made
        finally:
            made.host.clean_up()


@pytest.mark.embedded
class TestEmbedded:
    def test_a_proof(self, pair: Pair) -> None:
        document = pair.verify()
        assert document["isolated"] is True
        assert [one["id"] for one in document["instances"]] == [0, 5]
        first, second = document["instances"]
        assert set(first["databases"]) == {"postgres", "template0", "template1", "whatsapp_bot_0"}
        assert second["buckets"] == ["orienter-data-5"]
        assert set(first["data"]).isdisjoint(second["data"])
        assert set(first["ports"]) == {OWN_PORTS[name] for name in ("nginx", "postgres", "minio_api")}
        assert {part["component"] for part in first["processes"]} >= {"postgres", "minio", "nginx"}
        assert {check["verdict"] for check in document["checks"]} == {"ok", "absent"}
        text = pair.other.inv("infra.verify").out
        assert "✓ 0 databases" in text
        assert "✗" not in text

    def test_it_changes_nothing(self, pair: Pair) -> None:
        state = Path(pair.main.environ["ORIENTER_STATE_DIR"]) / "claims.json"
        before = state.read_bytes()
        pair.verify()
        assert state.read_bytes() == before

    def test_another_instances_database(self, pair: Pair) -> None:
        sql(pair.other, 'CREATE DATABASE "whatsapp_bot_0"')
        assert pair.shared() == {"databases": "has whatsapp_bot_0 of another instance"}
        answer = pair.main.inv("infra.verify", code=1)
        assert "databases of instance 5" in answer.err
        assert """DROP DATABASE "whatsapp_bot_0\"""" in answer.err
        sql(pair.other, 'DROP DATABASE "whatsapp_bot_0"')
        pair.verify()

    def test_a_file_in_the_home_that_both_write(self, pair: Pair, tmp_path: Path) -> None:
        writes = "import sys, time; kept = [open(name, 'a') for name in sys.argv[1:]]; time.sleep(600)"
        command = [sys.executable, "-c", writes, "${AI_INSTANCE_ROOT}/own", str(tmp_path / ".cache" / "x")]
        (tmp_path / ".cache").mkdir()
        both = (pair.main, pair.other)
        cached = [Checkout(each.path, {**each.environ, "XDG_CACHE_HOME": str(tmp_path / ".cache")}) for each in both]
        for further, common in ((["sys"], False), ([str(tmp_path / "x.db")], True)):
            for each in both:
                pair.host.configure(each, services={"home": {"command": [*command, *further]}})
                each.inv("services.start", "-s", "home")
            try:
                answer = cached[0].inv("infra.verify", "--json", code=int(common)).json
                shared = {check["topic"]: check["detail"] for check in answer["checks"] if check["verdict"] == "shared"}
                told = f"0 and 5: home writes {tmp_path / 'x.db'}"
                assert shared == ({"files": told} if common else {})
            finally:
                for each in both:
                    each.inv("services.stop", "-s", "home")
                    pair.host.configure(each, services={"home": None})

    def test_a_service_on_another_instances_database_and_port(self, pair: Pair) -> None:
        main = pair.main.variables
        leech = (
            "import http.server, os, socket\n"
            f"held = socket.create_connection(('127.0.0.1', {main['POSTGRES_PORT']}))\n"
            "place = (os.environ['SERVICE_HOST'], int(os.environ['DASHBOARD_PORT']))\n"
            "http.server.HTTPServer(place, http.server.SimpleHTTPRequestHandler).serve_forever()\n"
        )
        service = {
            "command": [sys.executable, "-c", leech],
            "port": "dashboard",
            "ready": {"http": "/"},
            "env": {"POSTGRES_DB": main["POSTGRES_DB"]},
        }
        pair.host.configure(pair.other, services={"dashboard": service})
        pair.other.inv("services.start", "-s", "dashboard")
        try:
            shared = pair.shared()
            assert "POSTGRES_DB=whatsapp_bot_0" in shared["processes"]
            assert "connected to postgres of 0" in shared["connections"]
        finally:
            pair.other.inv("services.stop")
        pair.verify()

    def test_two_stores_in_one_directory(self, pair: Pair) -> None:
        pair.other.inv("infra.down")
        own = pair.other.works_in("minio") / "data"
        aside = own.with_name("aside")
        own.rename(aside)
        own.symlink_to(pair.main.works_in("minio") / "data", target_is_directory=True)
        pair.other.inv("infra.up")
        try:
            assert {"buckets", "data"} <= set(pair.shared())
        finally:
            pair.other.inv("infra.down")
            own.unlink()
            aside.rename(own)
            taken = pair.main.works_in("minio") / "data" / "orienter-data-5"
            if taken.is_dir():
                taken.rmdir()
            pair.other.inv("infra.up")
        # rclone remembers directories for 2 s
        wait_for(lambda: pair.main.inv("infra.verify", code=None).code == 0, "two stores are apart again")

    def test_a_login_that_is_refused_proves_nothing(self, pair: Pair) -> None:
        path = pair.other.path / ".env"
        before = path.read_text()
        settled(pair.other, POSTGRES_PASSWORD="another")
        try:
            document = pair.verify(1)
            assert document["isolated"] is False
            verdicts = {check["topic"]: check["verdict"] for check in document["checks"]}
            assert verdicts["databases"] == "unseen"
            assert "isolation is not proved" in pair.main.inv("infra.verify", code=1).err
        finally:
            path.write_text(before)
        pair.verify()

    def test_another_checkout_is_judged_by_its_own_settings(self, pair: Pair) -> None:
        pair.other.inv("infra.down")
        path = pair.other.path / ".env"
        before = path.read_text()
        path.write_text("".join(f"{line}\n" for line in before.splitlines() if not line.startswith("POSTGRES_DB")))
        pair.host.configure(pair.other, database={"name": "elsewhere"})
        pair.other.inv("infra.up")
        try:
            second = pair.verify()["instances"][1]
            assert second["database"] == "elsewhere_5"
        finally:
            pair.other.inv("infra.down")
            path.write_text(before)
            pair.host.configure(pair.other, database={"name": "whatsapp_bot"})
            pair.other.inv("infra.up")

    def test_half_an_instance(self, pair: Pair) -> None:
        pair.other.inv("infra.down")
        document = pair.verify()
        assert [one["id"] for one in document["instances"]] == [0]
        assert {check["verdict"] for check in document["checks"] if check["between"]} == {"absent"}
        pair.other.inv("infra.up")


def test_nothing_runs(tmp_path: Path) -> None:
    host = make_own(tmp_path / "home", "embedded")
    answer = host.main.inv("infra.verify", "--json", code=3)
    assert answer.out == ""
    assert "is running\nhint: start one with: inv dev" in answer.err


@pytest.mark.docker
class TestDocker:
    def test_a_proof(self, docker_pair: Pair) -> None:
        document = docker_pair.verify()
        assert document["isolated"] is True
        project = docker_pair.host.project
        for one in document["instances"]:
            number = one["id"]
            members = [f"{project}-minio-{number}", f"{project}-postgres-{number}"]
            assert one["networks"] == {f"{project}-network-{number}": members}
            assert one["data"][f"{project}-postgres-data-{number}"] == "postgres"
            assert one["databases"][-1] == f"whatsapp_bot_{number}"

    def test_a_container_on_another_instances_network(self, docker_pair: Pair) -> None:
        import docker

        project = docker_pair.host.project
        client = docker.from_env()
        try:
            network = client.networks.get(f"{project}-network-5")
            network.connect(f"{project}-postgres-0")
            shared = docker_pair.shared()
            assert set(shared) == {"networks"}
            answer = docker_pair.main.inv("infra.verify", code=1)
            assert f"docker network disconnect {project}-network-5 {project}-postgres-0" in answer.err
            network.disconnect(f"{project}-postgres-0")
        finally:
            client.close()
        docker_pair.verify()

    def test_an_engine_that_is_away_proves_nothing(self, docker_pair: Pair) -> None:
        answer = docker_pair.main.inv("infra.verify", "--json", code=1, DOCKER_HOST="unix:///nowhere/docker.sock")
        assert answer.json["isolated"] is False
        assert "isolation is not proved: containers" in answer.err

    def test_a_container_of_another_instances_database(self, docker_pair: Pair) -> None:
        docker_pair.other.inv("infra.down")
        settled(docker_pair.other, POSTGRES_DB="other")
        docker_pair.other.inv("infra.up")
        settled(docker_pair.other, POSTGRES_DB="whatsapp_bot")
        shared = docker_pair.shared()
        assert "POSTGRES_DB=other_5" in shared["processes"]
        docker_pair.other.inv("infra.down")
        docker_pair.other.inv("infra.up")
        docker_pair.verify()


def sql(checkout: Checkout, statement: str) -> None:
    """Run a statement as the instance's user."""
    from pg8000 import native

    variables = checkout.variables
    connection = native.Connection(
        variables["POSTGRES_USER"],
        host="127.0.0.1",
        port=int(variables["POSTGRES_PORT"]),
        database=variables["POSTGRES_DB"],
        password=variables["POSTGRES_PASSWORD"],
    )
    try:
        connection.run(statement)
    finally:
        connection.close()
