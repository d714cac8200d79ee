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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks import nginx, ports, validation
from orienter_tasks.backends.backend import Site
from orienter_tasks.environment import derive
from orienter_tasks.errors import CheckError
from orienter_tasks.instance import make_instance
from orienter_tasks.stack.component import LogRequest, NotReadyError, State
from orienter_tasks.stack.runner import Runner, stop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.backend import Backend, Standing
    from orienter_tasks.stack.component import Component, Event

COMPONENTS = ("postgres", "minio", "nginx")
PORT_NAMES = ("nginx", "postgres", "minio_api", "minio_console", "dashboard", "vite", "opencode", "whatsapp")
GRACE = 10.0


def make_site(
    root: Path,
    first_port: int,
    instance_id: int = 0,
    *,
    dotenv: Mapping[str, str] | None = None,
    **orienter: Any,
) -> Site:
    """Build a site whose root exists and whose port bases follow each other from `first_port` on."""
    root.mkdir(parents=True, exist_ok=True)
    bases = {name: first_port + offset for offset, name in enumerate(PORT_NAMES)}
    settings = validation.load({"ports": bases, **orienter})
    instance = make_instance(settings, instance_id, root.resolve())
    return Site(instance, settings, derive(instance, settings, dotenv or {}, {}))


def component(backend: Backend, name: str) -> Component:
    """Return one of a backend's components."""
    return next(each for each in backend.components() if each.name == name)


def standing(backend: Backend, name: str) -> Standing:
    """Return what one component is doing."""
    return next(each for each in backend.standings() if each.component == name)


def up(backend: Backend, site: Site, names: Sequence[str] = COMPONENTS) -> list[str]:
    """Start components as `inv infra.up` does; return the names of those that this call started."""
    if "nginx" in names:
        nginx.apply(site, backend)
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
def login(site: Site, *, password: str | None = None) -> Iterator[Any]:
    """Log in to the instance's database as a service would."""
    from pg8000 import native

    variables = site.variables
    # a socket of our own: pg8000 would leave its one open when the server goes away
    with socket.create_connection(("127.0.0.1", site.instance.ports["postgres"]), timeout=10) as sock:
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


def sql(site: Site, statement: str) -> Any:
    """Run one statement in the instance's database."""
    with login(site) as connection:
        return connection.run(statement)


@contextmanager
def s3(site: Site, *, region: str | None = "us-east-1", secret: str = "") -> Iterator[Any]:
    """Give a MinIO client with the instance's credentials."""
    import urllib3
    from minio import Minio

    with urllib3.PoolManager(timeout=10, retries=False) as pool:
        yield Minio(
            f"127.0.0.1:{site.instance.ports['minio_api']}",
            access_key=site.variables["AWS_ACCESS_KEY_ID"],
            secret_key=secret or site.variables["AWS_SECRET_ACCESS_KEY"],
            region=region,
            secure=False,
            http_client=pool,
        )


def put(site: Site, key: str, content: bytes) -> None:
    """Store an object in the instance's bucket."""
    with s3(site) as client:
        client.put_object(site.variables["S3_BUCKET"], key, io.BytesIO(content), len(content))


def get(site: Site, key: str) -> bytes:
    """Fetch an object from the instance's bucket."""
    with s3(site) as client, closing(client.get_object(site.variables["S3_BUCKET"], key)) as answer:
        return bytes(answer.read())


def listens(port: int) -> bool:
    """Say whether somebody accepts connections on a loopback port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def infra_ports(site: Site) -> dict[str, int]:
    """Return the ports that the infrastructure must listen on."""
    return {name: site.instance.ports[name] for name in ("nginx", "postgres", "minio_api")}


class Contract(ABC):
    """The tests; `site`, `other_site` and `new_backend` are the subclass's fixtures.

    `new_backend(site)` makes a backend that knows nothing of former ones, and stops everything at the test's end.
    """

    @abstractmethod
    def kill(self, site: Site, name: str) -> None:
        """End a component's main process with SIGKILL, behind the backend's back."""

    def test_starts_once_answers_and_stops(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        backend = new_backend(site)
        before = time.time()
        assert [each.name for each in backend.components()] == list(COMPONENTS)
        assert list(backend.foreign()) == []

        assert up(backend, site) == sorted(COMPONENTS)

        assert sql(site, "SELECT 1") == [[1]]
        put(site, "a/first.txt", b"one")
        assert get(site, "a/first.txt") == b"one"
        assert nginx.probe(site)["instance"] == site.instance.id
        assert {each.component for each in backend.standings() if each.running} == set(COMPONENTS)
        started = [each.started_at for each in backend.standings()]
        assert all(moment is not None and before - 2 < moment < time.time() + 2 for moment in started), started
        held = backend.ports_held()
        assert {held.get(port) for port in infra_ports(site).values()} == set(COMPONENTS)
        assert list(backend.foreign()) == []

        assert up(new_backend(site), site) == [], "a second start has nothing to do"

        down(new_backend(site))
        assert not any(each.running for each in backend.standings())
        assert all(each.started_at is None for each in backend.standings())
        assert not any(listens(port) for port in site.instance.ports.values())
        assert dict(backend.ports_held()) == {}
        down(backend)

    def test_data_outlives_a_restart_and_not_its_removal(
        self, site: Site, new_backend: Callable[[Site], Backend]
    ) -> None:
        backend = new_backend(site)
        assert list(backend.holdings()) == []
        up(backend, site)
        sql(site, "CREATE TABLE kept AS SELECT 42 AS answer")
        put(site, "kept", b"bytes")
        down(backend)

        again = new_backend(site)
        up(again, site)
        assert sql(site, "SELECT answer FROM kept") == [[42]]
        assert get(site, "kept") == b"bytes"
        held = list(again.holdings())
        assert len(held) == 2
        down(again)

        assert sorted(again.remove_data()) == sorted(holding.name for holding in held)
        assert list(again.holdings()) == []
        assert list(again.remove_data()) == []

        up(again, site)
        assert sql(site, "SELECT to_regclass('kept')") == [[None]]
        with s3(site) as client:
            assert list(client.list_objects(site.variables["S3_BUCKET"], recursive=True)) == []

    @pytest.mark.parametrize("name", COMPONENTS)
    def test_a_killed_component_is_started_again(
        self, site: Site, new_backend: Callable[[Site], Backend], name: str
    ) -> None:
        up(new_backend(site), site)
        sql(site, "CREATE TABLE committed AS SELECT 7 AS n")
        put(site, "stored", b"before")

        self.kill(site, name)

        assert up(new_backend(site), site) == [name]
        assert sql(site, "SELECT n FROM committed") == [[7]]
        assert get(site, "stored") == b"before"
        assert nginx.probe(site)["instance"] == site.instance.id

    def test_a_probe_of_what_died_tells_how(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        backend = new_backend(site)
        up(backend, site, ["postgres"])

        self.kill(site, "postgres")

        with pytest.raises(CheckError, match="postgres") as caught:
            component(backend, "postgres").probe()
        assert any("ready to accept connections" in line for line in caught.value.details)
        assert standing(backend, "postgres").running is False

    def test_two_instances_started_at_once_do_not_meet(
        self, site: Site, other_site: Site, new_backend: Callable[[Site], Backend]
    ) -> None:
        failures: list[BaseException] = []

        def start(one: Site) -> None:
            try:
                up(new_backend(one), one)
            except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=start, args=(one,)) for one in (site, other_site)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

        for one in (site, other_site):
            sql(one, "CREATE TABLE mine (id int)")
            sql(one, f"INSERT INTO mine VALUES ({one.instance.id})")
            put(one, "mine", str(one.instance.id).encode())
        for one in (site, other_site):
            assert sql(one, "SELECT id FROM mine") == [[one.instance.id]]
            assert get(one, "mine") == str(one.instance.id).encode()
            assert nginx.probe(one)["token"] == nginx.health_token(one.instance)

        backend = new_backend(other_site)
        down(backend)
        assert sql(site, "SELECT id FROM mine") == [[site.instance.id]]
        backend.remove_data()
        assert get(site, "mine") == str(site.instance.id).encode()

    def test_wrong_credentials_are_refused(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        from minio.error import MinioException
        from pg8000.exceptions import DatabaseError

        up(new_backend(site), site, ["postgres", "minio"])

        for password in ("wrong", ""):
            with pytest.raises(DatabaseError, match="28P01"), login(site, password=password):
                pass
        with s3(site, secret="wrong-secret") as client, pytest.raises(MinioException, match="SignatureDoesNotMatch"):
            client.list_buckets()
        put(site, "private", b"secret")
        address = f"http://127.0.0.1:{site.instance.ports['minio_api']}/{site.variables['S3_BUCKET']}/private"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)
        caught.value.close()

    def test_changed_credentials_are_told_not_waited_for(
        self, site: Site, new_backend: Callable[[Site], Backend]
    ) -> None:
        backend = new_backend(site)
        up(backend, site, ["postgres"])
        down(backend)
        changed = derive(site.instance, site.settings, {"POSTGRES_PASSWORD": "another-Secret"}, {})

        with pytest.raises(CheckError, match="refuses user") as caught:
            up(new_backend(replace(site, variables=changed)), site, ["postgres"])
        assert "another-Secret" not in "\n".join([caught.value.line(), *caught.value.details])

    def test_every_port_is_on_loopback_only(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        up(new_backend(site), site)

        wanted = set(infra_ports(site).values())
        addresses = {each.address for each in ports.listeners(wanted)}
        assert addresses <= {"127.0.0.1", "::1"}, addresses
        assert all(listens(port) for port in wanted)

    def test_logs_can_be_read_and_followed(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        backend = new_backend(site)
        postgres = component(backend, "postgres")
        assert list(postgres.logs(LogRequest(lines=5))) == []
        up(backend, site, ["postgres"])
        assert len(list(postgres.logs(LogRequest(lines=2)))) == 2
        assert list(postgres.logs(LogRequest(lines=50, since=time.time() + 60))) == []

        told = threading.Event()
        heard: list[str] = []
        listener = threading.Thread(target=lambda: heard.extend(postgres.logs(LogRequest(lines=0, follow=told))))
        listener.start()
        time.sleep(0.3)
        sql(site, "DO $$ BEGIN RAISE LOG 'marked by the test'; END $$")
        time.sleep(0.5)
        told.set()
        listener.join(2)
        assert not listener.is_alive(), "the event ends the stream"
        assert any("marked by the test" in line for line in heard), heard
        assert not any("ready to accept connections" in line for line in heard), "nothing old was asked for"

    def test_nginx_tests_and_reloads_configurations(self, site: Site, new_backend: Callable[[Site], Backend]) -> None:
        backend = new_backend(site)
        assert backend.reload_nginx() is False
        directory = nginx.render(site, backend)
        assert backend.check_nginx(directory) == ""
        (directory / nginx.LOCAL).write_text("server { nonsense; }\n", encoding="utf-8")
        assert 'unknown directive "nonsense"' in backend.check_nginx(directory)

        up(backend, site, ["nginx"])
        template = site.instance.root / "templates" / "nginx-local.conf.j2"
        template.parent.mkdir()
        template.write_text(
            "server { listen {{ listen }};\n"
            "location = /own { return 200 'the host own'; }\n"
            'location = /health { return 200 \'{"project": "{{ project }}", "instance": {{ instance_id }}, '
            '"token": "{{ token }}", "revision": "{{ revision }}"}\'; } }\n',
            encoding="utf-8",
        )

        assert nginx.apply(site, backend) is True

        with urllib.request.urlopen(f"http://127.0.0.1:{site.instance.ports['nginx']}/own") as answer:
            assert answer.read() == b"the host own"

    def test_what_was_never_started_can_be_probed_and_stopped(
        self, site: Site, new_backend: Callable[[Site], Backend]
    ) -> None:
        for each in new_backend(site).components():
            with pytest.raises((NotReadyError, CheckError)):
                each.probe()
            each.stop(0.5)
