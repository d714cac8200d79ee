"""Starting again, whatever state things are in; and never touching what is not ours."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from msgspec.structs import replace

from orienter_tasks.backends.docker import resources
from orienter_tasks.backends.docker.reader import RefusalError
from orienter_tasks.backends.docker.spec import component_labels
from orienter_tasks.backends.docker.survey import moment
from orienter_tasks.backends.nginx.configuration import apply
from orienter_tasks.errors import CheckError, ConflictError, InterruptError, NotFoundError
from orienter_tasks.stack.component import LogRequest
from tests.backends.contract import component, down, sql, status_of, up
from tests.backends.docker.lab import PROJECT
from tests.backends.docker.test_spec import container
from tests.integration.checkouts import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.docker import DockerBackend
    from tests.backends.docker.lab import DockerLab

pytestmark = pytest.mark.docker
GONE_MEANWHILE = RefusalError(500, "failed to get state of container 3f9d: no such container")  # Podman 4.3


@pytest.fixture
def api(lab: DockerLab) -> Any:
    return lab.engine.api


@pytest.fixture
def backend(lab: DockerLab, config: InstanceConfig) -> DockerBackend:
    return lab.backend(config)


class Build(Protocol):
    """Builds an image from lines of a Dockerfile and returns its tag."""

    def __call__(self, *lines: str) -> str: ...


@pytest.fixture
def build(lab: DockerLab, api: Any) -> Iterator[Build]:
    tags: list[str] = []

    def make(*lines: str) -> str:
        tags.append(f"{PROJECT}:{len(tags)}")
        list(api.build(fileobj=io.BytesIO("\n".join(lines).encode()), tag=tags[-1], rm=True, forcerm=True))
        return tags[-1]

    yield make
    lab.clean()
    for tag in tags:
        api.remove_image(tag, force=True)


def start(backend: DockerBackend, name: str) -> bool:
    return component(backend, name).start(_silent)


def _silent(text: str) -> None:
    pass


def make_foreign(api: Any, name: str, **options: Any) -> str:
    """Make somebody else's container; the caller removes it."""
    return str(api.create_container(f"{IMAGES}/nginx:local", name=name, command=["sleep", "600"], **options)["Id"])


def test_a_container_that_stands_still_goes_on(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    name = config.instance.container("minio")
    up(backend, config, ["minio"])
    identifier = api.inspect_container(name)["Id"]

    api.stop(name, timeout=5)
    assert status_of(backend, "minio").what == f"{name} (exited)"
    assert up(backend, config, ["minio"]) == ["minio"]
    api.pause(name)
    assert not status_of(backend, "minio").running
    assert set(backend.bound_ports().values()) == {"minio"}
    assert up(backend, config, ["minio"]) == ["minio"]

    assert api.inspect_container(name)["Id"] == identifier
    api.pause(name)
    down(backend)
    assert status_of(backend, "minio").what == "no container"


def test_what_a_crash_left_half_made_is_finished(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    from orienter_tasks.backends.docker.container import create_container

    api.create_volume(config.instance.volume("minio"), labels=component_labels(config.instance, "minio"))
    api.create_network(config.instance.network, labels=config.instance.labels, check_duplicate=True)
    identifier = create_container(lab_engine(backend), config.instance, container(config, "minio"))
    assert api.inspect_container(identifier)["State"]["Status"] == "created"
    assert set(backend.bound_ports().values()) == {"minio"}  # the engine may be about to start it

    assert up(backend, config, ["minio"]) == ["minio"]

    assert api.inspect_container(config.instance.container("minio"))["Id"] == identifier


def lab_engine(backend: DockerBackend) -> Any:
    return backend._engine


def test_a_check_that_ends_leaves_the_network_to_a_container_that_is_about_to_start(
    api: Any, lab: DockerLab, config: InstanceConfig
) -> None:
    from orienter_tasks.backends.docker.container import create_container
    from orienter_tasks.backends.docker.oneoff import run_beside
    from orienter_tasks.backends.docker.resources import Resources

    resources, spec = Resources(config, lab.engine), replace(container(config, "minio"), mounts=())
    check = replace(spec, ports=(), entrypoint=("echo",), command=("checked",))
    with resources.joining(needed=True):
        identifier = create_container(lab.engine, config.instance, spec)
        assert run_beside(lab.engine, config, resources, check) == (0, "checked")
        api.start(identifier)
    api.remove_container(identifier, force=True, v=True)
    assert run_beside(lab.engine, config, resources, check) == (0, "checked")
    assert not api.networks(names=[config.instance.network])


def test_a_container_whose_network_is_gone_is_made_anew(
    api: Any, config: InstanceConfig, backend: DockerBackend
) -> None:
    up(backend, config, ["minio"])
    api.stop(config.instance.container("minio"), timeout=5)
    api.remove_network(config.instance.network)

    assert up(backend, config, ["minio"]) == ["minio"]


def test_a_changed_configuration_is_taken_over_and_data_kept(api: Any, lab: DockerLab, config: InstanceConfig) -> None:
    backend = lab.backend(config)
    up(backend, config, ["postgres"])
    sql(config, "CREATE TABLE kept AS SELECT 1 AS n")
    name = config.instance.container("postgres")
    first = api.inspect_container(name)["Id"]
    notes: list[str] = []

    changed = lab.config(0, docker={"log_max_size": "1m"})
    assert component(lab.backend(changed), "postgres").start(notes.append)

    second = api.inspect_container(name)
    assert second["Id"] != first
    assert second["HostConfig"]["LogConfig"]["Config"]["max-size"] == "1m"
    assert notes[0] == "its configuration changed: replacing it"
    up(lab.backend(changed), changed, ["postgres"])
    assert sql(changed, "SELECT n FROM kept") == [[1]]


def test_a_checkout_that_was_moved_keeps_its_own(lab: DockerLab) -> None:
    before = lab.config(0, root=lab.directory / "before")
    up(lab.backend(before), before, ["minio"])
    copied = lab.config(0, root=lab.directory / "after")

    with pytest.raises(ConflictError, match=str(before.instance.root)):
        start(lab.backend(copied), "minio")
    moved = replace(copied, instance=replace(copied.instance, token=before.instance.token))
    known = replace(moved, instance=replace(moved.instance, former_roots=(str(before.instance.root),)))
    backend = lab.backend(known)
    assert backend.name_conflicts() == []
    assert set(backend.bound_ports().values()) == {"minio"}

    # its label tells the new place from now on
    assert start(backend, "minio")
    assert status_of(lab.backend(moved), "minio").running
    down(backend)
    assert list(backend.remove_data()) == [known.instance.volume("minio")]


def test_a_volume_of_an_older_version_has_a_generation_too(
    api: Any, config: InstanceConfig, backend: DockerBackend
) -> None:
    name = config.instance.volume("minio")
    assert backend.generations(["minio"]) == {"minio": ""}
    api.create_volume(name, labels=component_labels(config.instance, "minio"))
    assert backend.generations(["minio"]) == {"minio": api.inspect_volume(name)["CreatedAt"]}


@pytest.mark.parametrize("kind", ["container", "volume", "network"])
def test_somebody_elses_name_is_never_touched(
    api: Any, config: InstanceConfig, backend: DockerBackend, kind: str
) -> None:
    instance = config.instance
    if kind == "container":
        name = instance.container("minio")
        make_foreign(api, name)
    elif kind == "volume":
        name = instance.volume("minio")
        api.create_volume(name, labels={"com.docker.compose.project": "shop"})
    else:
        name = instance.network
        api.create_network(name, check_duplicate=True)
    try:
        (told,) = backend.name_conflicts()
        assert told.startswith(f"{kind} {name} (")
        with pytest.raises(ConflictError, match=name) as refused:
            start(backend, "minio")
        assert refused.value.exit_code == 4
        component(backend, "minio").stop(1)
        assert list(component(backend, "minio").logs(LogRequest(lines=5))) == []
        assert list(backend.remove_data()) == [] or kind != "volume"
        assert not backend.remove_network() or kind != "network"
        assert not status_of(backend, "minio").running
        assert getattr(api, f"inspect_{kind}")(name)
    finally:
        getattr(api, f"remove_{kind}")(name)


def test_a_port_that_another_container_publishes(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    port = config.instance.ports["minio_console"]
    options = {
        "ports": [80],
        "host_config": api.create_host_config(port_bindings={80: ("127.0.0.1", port)}),
        "labels": {"com.docker.compose.project": "shop"},
    }
    other = make_foreign(api, f"{config.instance.project}-other", **options)
    try:
        api.start(other)
        with pytest.raises(ConflictError) as refused:
            start(backend, "minio")
    finally:
        api.remove_container(other, force=True)
    assert f"port {port} is in use by container {config.instance.project}-other (compose project shop)" in str(
        refused.value
    )
    assert status_of(backend, "minio").what == "no container"
    assert start(backend, "minio")


def test_a_port_on_which_a_process_listens(config: InstanceConfig, backend: DockerBackend) -> None:
    port = config.instance.ports["minio_api"]
    program = (
        f"import socket, sys; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        with pytest.raises(ConflictError) as refused:
            start(backend, "minio")
        process.stdin.close()
    assert f"port {port} is in use by pid {process.pid} " in str(refused.value)
    assert status_of(backend, "minio").what == "no container"
    assert not backend.remove_network(), "nothing half-made is left"


def test_a_port_that_nginx_cannot_have_on_the_hosts_network(config: InstanceConfig, backend: DockerBackend) -> None:
    apply(config, backend)
    port = config.instance.ports["nginx"]
    with closing(socket.create_server(("127.0.0.1", port))), pytest.raises(ConflictError) as refused:
        up(backend, config, ["nginx"])
    assert f"port {port} is in use by pid {os.getpid()} " in str(refused.value)
    assert any("Address already in use" in line for line in refused.value.details)


def test_a_run_that_was_given_up_starts_nothing(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    def give_up(text: str) -> None:
        raise InterruptError("given up")

    with pytest.raises(InterruptError):
        component(backend, "minio").start(give_up)
    assert status_of(backend, "minio").what == "no container"
    component(backend, "minio").stop(1)
    assert not backend.remove_network()


def test_nginx_without_a_configuration_says_how_to_make_one(config: InstanceConfig, backend: DockerBackend) -> None:
    with pytest.raises(NotFoundError, match="no configuration") as refused:
        start(backend, "nginx")
    assert "inv nginx.render" in refused.value.hint
    assert not (config.instance.data_dir / "nginx").exists()


def test_a_container_that_ends_at_once_is_told_with_its_last_words(lab: DockerLab, build: Build) -> None:
    tag = build(
        f"FROM {IMAGES}/postgres:local", """CMD ["sh", "-c", "echo first; echo with $POSTGRES_PASSWORD; exit 3"]"""
    )
    config = lab.config(0, {"POSTGRES_PASSWORD": "pg-Secret.1"}, docker={"postgres": tag})
    backend = lab.backend(config)
    with pytest.raises(CheckError, match="exited with exit code 3") as refused:
        up(backend, config, ["postgres"])
    assert refused.value.details == ("first", "with ••••••")
    assert status_of(backend, "postgres").what == "no container"


def test_data_of_another_postgresql_is_told(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    up(backend, config, ["postgres"])
    done = api.exec_create(
        config.instance.container("postgres"), ["sh", "-c", "echo 12 >/var/lib/postgresql/data/PG_VERSION"]
    )
    api.exec_start(done["Id"])
    down(backend)

    with pytest.raises(CheckError, match="was made by PostgreSQL 12") as refused:
        up(backend, config, ["postgres"])
    assert config.instance.volume("postgres") in str(refused.value)
    assert "postgres:12" in refused.value.hint
    assert any("incompatible" in line for line in refused.value.details)


def test_the_network_goes_with_the_last_container(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    from docker.errors import NotFound

    up(backend, config, ["postgres", "minio"])
    component(backend, "postgres").stop(5)
    assert api.inspect_network(config.instance.network)["Name"] == config.instance.network
    assert sorted(backend.bound_ports().values()) == ["minio", "minio"]
    component(backend, "minio").stop(5)
    with pytest.raises(NotFound):
        api.inspect_network(config.instance.network)
    assert not backend.remove_network()


def test_no_anonymous_volume_is_left(api: Any, lab: DockerLab, build: Build) -> None:
    config = lab.config(0, docker={"minio": build(f"FROM {IMAGES}/s3:local", "VOLUME /extra")})
    backend = lab.backend(config)
    up(backend, config, ["minio"])
    mounts = api.inspect_container(config.instance.container("minio"))["Mounts"]
    (anonymous,) = [mount["Name"] for mount in mounts if mount["Destination"] == "/extra"]
    down(backend)
    left = {volume["Name"] for volume in api.volumes()["Volumes"]}
    assert anonymous not in left
    assert config.instance.volume("minio") in left


def test_volumes_in_use_are_not_removed(config: InstanceConfig, backend: DockerBackend) -> None:
    up(backend, config, ["minio"])
    with pytest.raises(ConflictError, match=config.instance.volume("minio")) as refused:
        backend.remove_data()
    assert config.instance.container("minio") in str(refused.value)
    assert [volume.name for volume in backend.data_volumes()] == [config.instance.volume("minio")]


def test_the_size_of_data_is_told_when_asked_for(
    lab: DockerLab, config: InstanceConfig, backend: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(backend, config, ["postgres"])
    monkeypatch.setattr(resources, "DISK_USAGE_SECONDS", 60.0)  # on a busy machine
    measure, refusals = lab.engine.reader.df, [GONE_MEANWHILE]

    def df(**options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return measure(**options)

    monkeypatch.setattr(lab.engine.reader, "df", df)
    (volume,) = backend.data_volumes(sizes=True)
    assert volume.size is not None
    assert volume.size > 10_000_000
    assert not refusals
    assert [each.size for each in backend.data_volumes()] == [None]


def test_a_start_asks_the_engine_little(lab: DockerLab, config: InstanceConfig) -> None:
    apply(config, lab.backend(config))
    calls = lab.count_calls()
    for name in ("postgres", "minio", "nginx"):
        assert start(lab.backend(config), name)
    cold = calls()
    assert cold <= 19  # while they become ready: at most four a second for each
    for name in ("postgres", "minio", "nginx"):
        assert not start(lab.backend(config), name)
    assert calls() - cold <= 4  # what kind of engine it is, and each container


def test_a_log_is_told_since_a_moment(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    up(backend, config, ["postgres"])
    started = moment(api.inspect_container(config.instance.container("postgres"))["State"]["StartedAt"])
    assert started is not None
    postgres = component(backend, "postgres")
    everything = list(postgres.logs(LogRequest(lines=1000)))
    assert list(postgres.logs(LogRequest(lines=1000, since=started))) == everything
    assert len(list(postgres.logs(LogRequest(lines=1000, since=time.time())))) < len(everything)


def test_a_probe_never_believes_a_stranger(api: Any, config: InstanceConfig, backend: DockerBackend) -> None:
    """Another PostgreSQL with the same credentials answers on the port of a container that is gone."""
    up(backend, config, ["postgres"])
    postgres = component(backend, "postgres")
    postgres.probe()
    time.sleep(0.3)
    name = config.instance.container("postgres")
    api.rename(name, f"{name}-stranger")
    try:
        with pytest.raises(CheckError, match="gone"):
            postgres.probe()
    finally:
        api.rename(f"{name}-stranger", name)
