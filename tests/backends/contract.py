"""What every backend must do, proven on the real thing: a backend's tests subclass `Contract` and give its fixtures."""

from __future__ import annotations

import io
import socket
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.backends.nginx.configuration import LOCAL, apply, candidate_dir, plan, write_candidate
from orienter_tasks.backends.nginx.health import health_token, probe
from orienter_tasks.errors import CheckError
from orienter_tasks.processes.listeners import listeners
from orienter_tasks.stack.component import LogRequest, NotReadyError, State
from orienter_tasks.stack.runner import Runner, stop_all
from tests.configs import with_dotenv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from orienter_tasks.backends.nginx.configuration import NginxBackend
    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.stack.component import Component, ComponentStatus, Event

COMPONENTS = ("postgres", "minio", "nginx")
PORT_NAMES = ("nginx", "postgres", "minio_api", "minio_console", "dashboard", "vite", "opencode", "whatsapp")
GRACE = 10.0


def component(backend: Backend, name: str) -> Component:
    """Return one of a backend's components."""
    return next(each for each in backend.components() if each.name == name)


def status_of(backend: Backend, name: str) -> ComponentStatus:
    """Return what one component is doing."""
    return next(each for each in backend.status() if each.name == name)


def up(backend: Backend, config: InstanceConfig, names: Sequence[str] = COMPONENTS) -> list[str]:
    """Start components as `inv infra.up` does; return the names of those that this call started."""
    if "nginx" in names:
        apply(config, backend)
    events: list[Event] = []
    runner = Runner(events.append)
    runner.add(component(backend, name) for name in names)
    try:
        runner.wait()
    except BaseException:
        runner.abort(GRACE)
        raise
    ready = {event.component: event.detail for event in events if event.state is State.READY}
    return sorted(name for name, detail in ready.items() if detail != "already running")


def down(backend: Backend) -> None:
    """Stop all components; nothing may go wrong."""
    assert stop_all(backend.components(), GRACE, lambda event: None) == []


@contextmanager
def login(config: InstanceConfig, *, password: str | None = None) -> Iterator[Any]:
    """Log in to the instance's database as a service would."""
    from pg8000 import native

    variables = config.variables
    # a socket of our own: pg8000 would leave its one open when the server goes away
    with socket.create_connection(("127.0.0.1", config.instance.ports["postgres"]), timeout=10) as sock:
        connection = native.Connection(
            variables["POSTGRES_USER"],
            sock=sock,
            database=variables["POSTGRES_DB"],
            password=variables["POSTGRES_PASSWORD"] if password is None else password,
        )
        try:
            yield connection
        finally:
            connection.close()


def sql(config: InstanceConfig, statement: str) -> Any:
    """Run one statement in the instance's database."""
    with login(config) as connection:
        return connection.run(statement)


@contextmanager
def s3(config: InstanceConfig, *, region: str | None = "us-east-1", secret: str = "") -> Iterator[Any]:
    """Give a MinIO client with the instance's credentials."""
    import urllib3
    from minio import Minio

    with urllib3.PoolManager(timeout=10, retries=False) as pool:
        yield Minio(
            f"127.0.0.1:{config.instance.ports['minio_api']}",
            access_key=config.variables["AWS_ACCESS_KEY_ID"],
            secret_key=secret or config.variables["AWS_SECRET_ACCESS_KEY"],
            region=region,
            secure=False,
            http_client=pool,
        )


def put(config: InstanceConfig, key: str, content: bytes) -> None:
    """Store an object in the instance's bucket."""
    with s3(config) as client:
        client.put_object(config.variables["S3_BUCKET"], key, io.BytesIO(content), len(content))


def get(config: InstanceConfig, key: str) -> bytes:
    """Fetch an object from the instance's bucket."""
    with s3(config) as client, closing(client.get_object(config.variables["S3_BUCKET"], key)) as answer:
        return bytes(answer.read())


def listens(port: int) -> bool:
    """Say whether somebody accepts connections on a loopback port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def written_candidate(config: InstanceConfig, backend: NginxBackend) -> Path:
    """Write nginx's configuration aside, unchecked; return its directory."""
    directory = candidate_dir(config.instance)
    write_candidate(config, plan(config, backend.nginx_facts(), directory))
    return directory


def infra_ports(config: InstanceConfig) -> dict[str, int]:
    """Return the ports that the infrastructure must listen on."""
    return {name: config.instance.ports[name] for name in ("nginx", "postgres", "minio_api")}


class Contract(ABC):
    """The tests; `config`, `other_site` and `new_backend` are the subclass's fixtures.

    `new_backend(config)` makes a backend that knows nothing of former ones, and stops everything at the test's end.
    """

    @abstractmethod
    def kill(self, config: InstanceConfig, name: str) -> None:
        """End a component's main process with SIGKILL, behind the backend's back."""

    def test_starts_once_answers_on_loopback_only_and_stops(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        backend = new_backend(config)
        before = time.time()
        assert [each.name for each in backend.components()] == list(COMPONENTS)
        assert list(backend.name_conflicts()) == []

        assert up(backend, config) == sorted(COMPONENTS)

        assert sql(config, "SELECT 1") == [[1]]
        put(config, "a/first.txt", b"one")
        assert get(config, "a/first.txt") == b"one"
        assert probe(config)["instance"] == config.instance.id
        assert {each.name for each in backend.status() if each.running} == set(COMPONENTS)
        started = [each.started_at for each in backend.status()]
        assert all(moment is not None and before - 2 < moment < time.time() + 2 for moment in started), started
        held = backend.bound_ports()
        wanted = set(infra_ports(config).values())
        assert {held.get(port) for port in wanted} == set(COMPONENTS)
        addresses = {each.address for each in listeners(wanted)}
        assert addresses <= {"127.0.0.1", "::1"}, addresses
        assert all(listens(port) for port in wanted)
        assert list(backend.name_conflicts()) == []

        assert up(new_backend(config), config) == [], "a second start has nothing to do"

        down(new_backend(config))
        assert not any(each.running for each in backend.status())
        assert all(each.started_at is None for each in backend.status())
        assert not any(listens(port) for port in config.instance.ports.values())
        assert dict(backend.bound_ports()) == {}
        down(backend)

    def test_data_outlives_a_restart_and_not_its_removal(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        backend = new_backend(config)
        assert list(backend.data_volumes()) == []
        up(backend, config)
        sql(config, "CREATE TABLE kept AS SELECT 42 AS answer")
        put(config, "kept", b"bytes")
        generations = dict(backend.generations(["postgres", "minio"]))
        assert all(generations.values())
        down(backend)

        again = new_backend(config)
        up(again, config)
        assert sql(config, "SELECT answer FROM kept") == [[42]]
        assert get(config, "kept") == b"bytes"
        assert again.generations(["postgres", "minio"]) == generations
        held = list(again.data_volumes())
        assert len(held) == 2
        down(again)

        assert sorted(again.remove_data()) == sorted(volume.name for volume in held)
        assert list(again.data_volumes()) == []
        assert list(again.remove_data()) == []

        up(again, config)
        assert sql(config, "SELECT to_regclass('kept')") == [[None]]
        renewed = again.generations(["postgres", "minio"])
        assert all(renewed[name] not in ("", before) for name, before in generations.items())
        with s3(config) as client:
            assert list(client.list_objects(config.variables["S3_BUCKET"], recursive=True)) == []

    def test_a_killed_component_is_started_again(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        up(new_backend(config), config)
        sql(config, "CREATE TABLE committed AS SELECT 7 AS n")
        put(config, "stored", b"before")

        for name in COMPONENTS:
            self.kill(config, name)

            assert up(new_backend(config), config) == [name]
            assert sql(config, "SELECT n FROM committed") == [[7]]
            assert get(config, "stored") == b"before"
            assert probe(config)["instance"] == config.instance.id

    def test_a_probe_of_what_died_tells_how(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        backend = new_backend(config)
        up(backend, config, ["postgres"])

        self.kill(config, "postgres")

        with pytest.raises(CheckError, match="postgres") as caught:
            component(backend, "postgres").probe()
        assert any("ready to accept connections" in line for line in caught.value.details)
        assert status_of(backend, "postgres").running is False

    def test_two_instances_started_at_once_do_not_meet(
        self, config: InstanceConfig, other_site: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        failures: list[BaseException] = []

        def start(one: InstanceConfig) -> None:
            try:
                up(new_backend(one), one)
            except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=start, args=(one,)) for one in (config, other_site)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

        for one in (config, other_site):
            sql(one, "CREATE TABLE mine (id int)")
            sql(one, f"INSERT INTO mine VALUES ({one.instance.id})")
            put(one, "mine", str(one.instance.id).encode())
        for one in (config, other_site):
            assert sql(one, "SELECT id FROM mine") == [[one.instance.id]]
            assert get(one, "mine") == str(one.instance.id).encode()
            assert probe(one)["token"] == health_token(one.instance)

        backend = new_backend(other_site)
        down(backend)
        assert sql(config, "SELECT id FROM mine") == [[config.instance.id]]
        backend.remove_data()
        assert get(config, "mine") == str(config.instance.id).encode()

    def test_wrong_and_changed_credentials_are_refused(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        from minio.error import MinioException
        from pg8000.exceptions import DatabaseError

        backend = new_backend(config)
        up(backend, config, ["postgres", "minio"])

        for password in ("wrong", ""):
            with pytest.raises(DatabaseError, match="28P01"), login(config, password=password):
                pass
        with s3(config, secret="wrong-secret") as client, pytest.raises(MinioException, match="SignatureDoesNotMatch"):
            client.list_buckets()
        put(config, "private", b"secret")
        address = f"http://127.0.0.1:{config.instance.ports['minio_api']}/{config.variables['S3_BUCKET']}/private"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)
        caught.value.close()

        down(backend)
        changed = with_dotenv(config, {"POSTGRES_PASSWORD": "another-Secret"})
        with pytest.raises(CheckError, match="refuses user") as refused:  # told, not waited for
            up(new_backend(changed), config, ["postgres"])
        assert "another-Secret" not in "\n".join([refused.value.line(), *refused.value.details])

    def test_logs_can_be_read_and_followed(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        backend = new_backend(config)
        postgres = component(backend, "postgres")
        assert list(postgres.logs(LogRequest(lines=5))) == []
        up(backend, config, ["postgres"])
        assert len(list(postgres.logs(LogRequest(lines=2)))) == 2
        assert list(postgres.logs(LogRequest(lines=50, since=time.time() + 60))) == []

        told = threading.Event()
        heard: list[str] = []
        listener = threading.Thread(target=lambda: heard.extend(postgres.logs(LogRequest(lines=0, follow=told))))
        listener.start()
        time.sleep(0.3)
        sql(config, "DO $$ BEGIN RAISE LOG 'marked by the test'; END $$")
        time.sleep(0.5)
        told.set()
        listener.join(2)
        assert not listener.is_alive(), "the event ends the stream"
        assert any("marked by the test" in line for line in heard), heard
        assert not any("ready to accept connections" in line for line in heard), "nothing old was asked for"

    def test_nginx_tests_and_reloads_configurations(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        backend = new_backend(config)
        assert backend.reload_nginx() is False
        directory = written_candidate(config, backend)
        assert backend.check_nginx(directory) == ""
        (directory / LOCAL).write_text("server { nonsense; }\n", encoding="utf-8")
        assert 'unknown directive "nonsense"' in backend.check_nginx(directory)

        up(backend, config, ["nginx"])
        template = config.instance.root / "templates" / "nginx-local.conf.j2"
        template.parent.mkdir()
        template.write_text(
            "server { listen {{ listen }};\n"
            "location = /own { return 200 'the host own'; }\n"
            'location = /health { return 200 \'{"project": "{{ project }}", "instance": {{ instance_id }}, '
            '"token": "{{ token }}", "revision": "{{ revision }}"}\'; } }\n',
            encoding="utf-8",
        )

        assert apply(config, backend) is True

        with urllib.request.urlopen(f"http://127.0.0.1:{config.instance.ports['nginx']}/own") as answer:
            assert answer.read() == b"the host own"

    def test_what_was_never_started_can_be_probed_and_stopped(
        self, config: InstanceConfig, new_backend: Callable[[InstanceConfig], Backend]
    ) -> None:
        for each in new_backend(config).components():
            with pytest.raises((NotReadyError, CheckError)):
                each.probe()
            each.stop(0.5)
