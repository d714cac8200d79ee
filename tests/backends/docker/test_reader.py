"""The reader asks what the SDK asks, and gets the same answers; commands that only look do not import the SDK."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError

from orienter_tasks import errors
from orienter_tasks.backends.docker import container, engine, spec, survey
from orienter_tasks.backends.docker.endpoint import Endpoint
from orienter_tasks.backends.docker.reader import RefusalError
from orienter_tasks.errors import BackendError, CheckError
from orienter_tasks.instance.model import LABEL_ROOT
from tests.backends.docker.lab import PROJECT
from tests.backends.docker.test_endpoint import answering
from tests.integration.checkouts import TEST_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker
IMAGE = TEST_IMAGES["nginx"]


@pytest.fixture
def made(lab: DockerLab) -> str:
    """Make a running container, a volume and a network of one name."""
    name, own = f"{PROJECT}-read", {LABEL_ROOT: str(lab.directory)}
    api = lab.engine.api
    api.create_volume(name, labels=own)
    api.create_network(name, labels=own)
    host = api.create_host_config(network_mode=name, port_bindings={80: ("127.0.0.1", None)}, binds=[f"{name}:/kept"])
    container = api.create_container(IMAGE, ["sleep", "60"], name=name, labels=own, host_config=host, ports=[80])
    api.start(container["Id"])
    return name


def test_answers_are_the_sdks(lab: DockerLab, made: str) -> None:
    reader, api = lab.engine.reader, lab.engine.api
    ours = {"label": [f"{LABEL_ROOT}={lab.directory}"]}  # others come and go
    calls: list[Callable[[Any], Any]] = [
        lambda one: one.containers(filters=ours),
        lambda one: one.containers(all=True, filters={"volume": [made]}),
        lambda one: one.volumes(filters=ours),
        lambda one: one.networks(filters=ours),
        lambda one: one.inspect_container(made),
        lambda one: one.inspect_volume(made),
        lambda one: one.inspect_network(made),
        lambda one: one.inspect_image(IMAGE),
    ]
    for call in calls:
        found = call(reader)
        assert found
        assert found == call(api)
    assert reader.info()["Name"] == api.info()["Name"]
    assert reader.stats(made).keys() == api.stats(made, stream=False, one_shot=True).keys()
    assert made in {volume["Name"] for volume in reader.df(timeout=10)["Volumes"]}
    stream, stat = api.get_archive(made, "/etc/passwd")
    stream.close()
    running = api.exec_create(made, ["sleep", "60"])["Id"]
    api.exec_start(running, detach=True)
    assert reader.inspect_exec(running) == api.exec_inspect(running)
    assert reader.path_stat(made, "/etc/passwd") == stat


@pytest.mark.parametrize("name", ["nothing", "no/such", "a?all=1", "%2e", "ä b", "x\r\nHost: y"])
def test_refusals_are_the_sdks(lab: DockerLab, name: str) -> None:
    for call in ("inspect_container", "inspect_volume", "inspect_network", "inspect_image"):
        with pytest.raises(RefusalError) as refused:
            getattr(lab.engine.reader, call)(name)
        with pytest.raises(APIError) as expected:
            getattr(lab.engine.api, call)(name)
        assert (refused.value.status, str(refused.value)) == (expected.value.status_code, expected.value.explanation)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"500 No\r\nContent-Length: 3\r\n\r\nill", CheckError, "Docker cannot look: ill"),
        (b'200 OK\r\nContent-Length: 90\r\n\r\n{"ID":', BackendError, "Docker cannot look"),
        (b"200 OK\r\nContent-Length: 4\r\n\r\nwhat", BackendError, "Docker cannot look"),
    ],
)
def test_broken_answers_are_told(
    lab: DockerLab, tmp_path: Path, answer: bytes, error: type[Exception], text: str
) -> None:
    with answering(tmp_path / "s", b"HTTP/1.1 " + answer, ping=b"HTTP/1.1 200 OK\r\n\r\n") as endpoint:
        broken = lab.engine_at(Endpoint(endpoint.url, "a test"))
        with pytest.raises(error, match=text), broken.talking("look"):
            broken.reader.info()


def test_looking_does_not_import_the_sdk() -> None:
    script = (
        f"import sys, {engine.__name__} as engine, {survey.__name__} as survey; e = engine.Engine();"
        "survey.read(e); list(survey.taken_names(e)); e.facts; survey.container(e, 'nothing');"
        "sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_sdk_is_loaded_by_one_thread_at_a_time() -> None:
    """Python lets go of locks of modules where two threads wait for each other: one would find half a module."""
    script = f"""if True:
        import sys, threading, time
        from {container.__name__} import create_container
        from {engine.__name__} import Engine
        from {spec.__name__} import ContainerSpec, Health
        from {errors.__name__} import NotFoundError

        begun = threading.Event()

        class Slow:
            def find_spec(name, *_):
                if name == "docker.api":
                    begun.set()
                    time.sleep(0.5)

        sys.meta_path.insert(0, Slow)
        names = dict.fromkeys(("component", "name", "image_key", "network"), "read")
        wanted = ContainerSpec(
            **names, image="nothing:none", labels={{}}, log_max_size="1m", log_max_file="1", health=Health(("NONE",))
        )
        engine = Engine()
        engine.load_soon()
        begun.wait()
        try:
            create_container(engine, None, wanted, one_off=True)
        except NotFoundError as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert "nothing:none" in told.stdout
