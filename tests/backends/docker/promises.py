"""What both backends promise, as tests: a subclass and a `lab` fixture run them against a real backend."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from minio import Minio
from pg8000 import native

from orienter_tasks import nginx, ports
from orienter_tasks.errors import CheckError
from orienter_tasks.settings import INFRA
from orienter_tasks.stack.component import LogRequest, State, tail
from orienter_tasks.stack.runner import Runner, stop_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.backend import Backend, Site
    from orienter_tasks.stack.component import Component, Event

GRACE = 10.0
BODY = b"an object"


class Lab(Protocol):
    """Makes sites, and backends for them; takes everything away at the end of the test."""

    def site(self, instance_id: int = 0, dotenv: Mapping[str, str] | None = None, **orienter: Any) -> Site: ...

    def backend(self, site: Site) -> Backend: ...


def start(site: Site, backend: Backend, *, timeout: float = 60.0) -> dict[str, str]:
    """Bring an instance up as `inv infra.up` does; return what each component said when it was ready."""
    nginx.apply(site, backend)
    said: dict[str, str] = {}

    def hear(event: Event) -> None:
        if event.state is State.READY:
            said[event.component] = event.detail

    runner = Runner(hear, timeout=timeout)
    runner.add(backend.components())
    try:
        runner.wait()
    except BaseException:
        runner.abort(GRACE)
        raise
    return said


def stop(backend: Backend) -> None:
    """Take an instance down; nothing may go wrong."""
    assert stop_all(backend.components(), GRACE, lambda event: None) == []


def component(backend: Backend, name: str) -> Component:
    return next(found for found in backend.components() if found.name == name)


def query(site: Site, statement: str) -> list[Any]:
    """Run SQL in the instance's database, with its own variables."""
    connection = native.Connection(
        site.variables["POSTGRES_USER"],
        host="127.0.0.1",
        port=site.instance.ports["postgres"],
        database=site.variables["POSTGRES_DB"],
        password=site.variables["POSTGRES_PASSWORD"],
    )
    with contextlib.closing(connection):
        return list(connection.run(statement) or ())


def put(site: Site, name: str) -> None:
    with _s3(site) as client:
        client.put_object(site.variables["S3_BUCKET"], name, io.BytesIO(BODY), len(BODY))


def objects(site: Site) -> dict[str, bytes]:
    """Read every object of the instance's bucket."""
    with _s3(site) as client:
        bucket = site.variables["S3_BUCKET"]
        found = {}
        for entry in client.list_objects(bucket, recursive=True):
            response = client.get_object(bucket, entry.object_name)
            found[entry.object_name] = response.read()
            response.close()
        return found


@contextlib.contextmanager
def _s3(site: Site) -> Any:
    import urllib3

    with urllib3.PoolManager() as pool:
        yield Minio(
            f"127.0.0.1:{site.instance.ports['minio_api']}",
            access_key=site.variables["AWS_ACCESS_KEY_ID"],
            secret_key=site.variables["AWS_SECRET_ACCESS_KEY"],
            region=site.variables["AWS_REGION"],
            secure=False,
            http_client=pool,
        )


def page(site: Site, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.instance.ports['nginx']}{path}", timeout=5) as answer:
        return bytes(answer.read())


def wait_until(what: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class BackendContract:
    """Run against each backend."""

    def test_a_life(self, lab: Lab) -> None:
        site = lab.site()
        backend = lab.backend(site)
        assert [one.name for one in backend.components()] == list(INFRA)
        assert backend.foreign() == []
        assert backend.holdings() == []
        begun = time.time()

        assert start(site, backend) == dict.fromkeys(INFRA, "")
        answer = json.loads(page(site, "/health"))
        assert answer["token"] == nginx.health_token(site.instance)
        query(site, "CREATE TABLE kept (word text)")
        query(site, "INSERT INTO kept VALUES ('row')")
        put(site, "a/b.txt")
        for standing in backend.standings():
            assert standing.running, standing
            assert standing.started_at is not None
            assert begun - 1 <= standing.started_at <= time.time() + 1, standing
        held = backend.ports_held()
        expected = {"nginx": "nginx", "postgres": "postgres", "minio_api": "minio"}
        assert {site.instance.ports[name]: who for name, who in expected.items()}.items() <= held.items()
        assert set(held) <= set(site.instance.ports.values())
        assert backend.foreign() == []

        # another process finds it running and leaves it alone
        assert start(site, lab.backend(site)) == dict.fromkeys(INFRA, "already running")

        stop(lab.backend(site))
        assert [standing.running for standing in backend.standings()] == [False] * 3
        assert backend.ports_held() == {}
        assert all(ports.is_free(port) for port in site.instance.ports.values())
        assert not backend.reload_nginx()
        assert backend.holdings()
        stop(backend)

        start(site, lab.backend(site))
        assert query(site, "SELECT word FROM kept") == [["row"]]
        assert objects(site) == {"a/b.txt": BODY}
        stop(backend)

        names = [holding.name for holding in backend.holdings()]
        assert list(backend.remove_data()) == names
        assert backend.holdings() == []
        assert list(backend.remove_data()) == []

    def test_two_at_once_share_nothing(self, lab: Lab) -> None:
        sites = [lab.site(number) for number in (1, 2)]
        backends = [lab.backend(site) for site in sites]
        failures: list[BaseException] = []

        def run(site: Site, backend: Backend) -> None:
            try:
                start(site, backend)
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)

        threads = [threading.Thread(target=run, args=pair) for pair in zip(sites, backends, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for site in sites:
            query(site, "CREATE TABLE own (id int)")
            query(site, f"INSERT INTO own VALUES ({site.instance.id})")
            put(site, f"of-{site.instance.id}")
        for site in sites:
            assert query(site, "SELECT id FROM own") == [[site.instance.id]]
            assert list(objects(site)) == [f"of-{site.instance.id}"]
            assert json.loads(page(site, "/health"))["instance"] == site.instance.id
        stop(backends[0])
        assert backends[0].remove_data()
        assert query(sites[1], "SELECT id FROM own") == [[2]]
        assert [standing.running for standing in backends[1].standings()] == [True] * 3

    def test_nginx_is_asked_before_a_configuration_goes_in(self, lab: Lab) -> None:
        site = lab.site(nginx={"template": "own.conf.j2"})
        backend = lab.backend(site)
        templates = site.instance.root / "templates"
        templates.mkdir()
        own = templates / "own.conf.j2"
        own.write_text(_page("first").replace("listen", "lissen", 1))
        with pytest.raises(CheckError) as refused:
            nginx.apply(site, backend)
        assert any('"lissen"' in line for line in refused.value.details), refused.value.details
        assert any(str(nginx.config_dir(site.instance)) in line for line in refused.value.details)

        own.write_text(_page("first"))
        nginx_component = component(backend, "nginx")
        nginx.apply(site, backend)
        nginx_component.start(lambda text: None)
        wait_until(lambda: _ready(nginx_component))
        assert page(site, "/") == b"first"

        own.write_text(_page("second"))
        assert nginx.apply(site, backend)
        assert page(site, "/") == b"second"
        own.write_text("server {")
        with pytest.raises(CheckError):
            nginx.apply(site, backend)
        assert page(site, "/") == b"second"

    def test_logs_end_when_they_are_told_to(self, lab: Lab) -> None:
        site = lab.site()
        backend = lab.backend(site)
        assert tail(component(backend, "postgres"), 5) == []
        start(site, backend)
        postgres = component(backend, "postgres")
        assert any("ready to accept connections" in line for line in tail(postgres, 50))
        assert len(tail(postgres, 2)) == 2
        assert not any("\n" in line for line in tail(postgres, 50))

        told, heard = threading.Event(), list[str]()

        def listen() -> None:
            heard.extend(postgres.logs(LogRequest(lines=0, follow=told)))

        listener = threading.Thread(target=listen)
        listener.start()
        time.sleep(0.3)
        with pytest.raises(native.DatabaseError):
            native.Connection("nobody", host="127.0.0.1", port=site.instance.ports["postgres"], password="wrong")
        time.sleep(0.5)
        told.set()
        listener.join(1.0)
        assert not listener.is_alive()
        assert any('"nobody"' in line for line in heard), heard

        ended = threading.Thread(target=lambda: list(postgres.logs(LogRequest(lines=0, follow=threading.Event()))))
        ended.start()
        time.sleep(0.3)
        stop(backend)
        ended.join(3.0)
        assert not ended.is_alive()

    def test_data_of_another_password_is_told(self, lab: Lab) -> None:
        site = lab.site(dotenv={"POSTGRES_PASSWORD": "first-Secret.1"})
        backend = lab.backend(site)
        start(site, backend)
        stop(backend)
        changed = lab.site(dotenv={"POSTGRES_PASSWORD": "other-Secret.2"})
        with pytest.raises(CheckError, match="refuses user") as refused:
            start(changed, lab.backend(changed))
        assert "Secret" not in "\n".join([refused.value.line(), *refused.value.details])
        assert not any(standing.running for standing in backend.standings())


def _ready(one: Component) -> bool:
    from orienter_tasks.stack.component import NotReadyError

    try:
        one.probe()
    except NotReadyError:
        return False
    return True


def _page(text: str) -> str:
    health = (
        '{"project":"{{ project }}","instance":{{ instance_id }},"token":"{{ token }}","revision":"{{ revision }}"}'
    )
    return (
        "server {\n  listen {{ listen }};\n"
        f"  location = /health {{ return 200 '{health}'; }}\n"
        f'  location / {{ return 200 "{text}"; }}\n}}\n'
    )
