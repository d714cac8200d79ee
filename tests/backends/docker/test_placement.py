from __future__ import annotations

from typing import Any

import pytest

from orienter_tasks.backends.docker import placement
from orienter_tasks.backends.docker.engine import EngineFacts, facts_of
from orienter_tasks.errors import BackendError, CheckError

KERNEL = "6.8.0-45-generic"
NATIVE = EngineFacts("28.0", "Debian GNU/Linux 12", native=True, rootless=False)
MACHINE = EngineFacts("28.0", "Docker Desktop", native=False, rootless=False)
ROOTLESS = EngineFacts("28.0", "Debian GNU/Linux 12", native=True, rootless=True)
PODMAN = EngineFacts("5.4", "debian", native=True, rootless=False, product="Podman")
ROOTLESS_PODMAN = EngineFacts("5.4", "debian", native=True, rootless=True, product="Podman")


def bridge() -> str:
    return "172.17.0.1"


def never() -> str:
    raise AssertionError("the bridge was asked for")


@pytest.mark.parametrize(
    ("info", "system", "native"),
    [
        ({"OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "KernelVersion": KERNEL}, "Linux", True),
        ({"OperatingSystem": "Docker Desktop", "KernelVersion": "6.10.14-linuxkit"}, "Darwin", False),
        ({"OperatingSystem": "Docker Desktop", "KernelVersion": "6.10.14-linuxkit"}, "Linux", False),
        ({"OperatingSystem": "Docker Desktop", "KernelVersion": KERNEL}, "Linux", False),  # WSL 2: one kernel
        ({"OperatingSystem": "OrbStack", "KernelVersion": "6.12.5-orbstack-00287"}, "Darwin", False),
        ({"OperatingSystem": "Ubuntu 24.04.1 LTS", "KernelVersion": "6.8.0-50-generic"}, "Darwin", False),  # colima
        ({"OperatingSystem": "Ubuntu 24.04.1 LTS", "KernelVersion": "6.8.0-50-generic"}, "Linux", False),  # a VM
        ({}, "Linux", False),
    ],
)
def test_which_engine_is_native(info: dict[str, Any], system: str, native: bool) -> None:
    assert facts_of(info, system, KERNEL).native is native


def test_a_rootless_engine_is_known() -> None:
    info = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}
    assert facts_of(info, "Linux", KERNEL).rootless
    assert facts_of(info, "Linux", KERNEL).product == "Docker"
    assert not facts_of({"SecurityOptions": None}, "Linux", KERNEL).rootless


@pytest.mark.parametrize("said", [{"Rootless": True}, {"SecurityOptions": ["name=rootless"], "Rootless": True}])
def test_podman_is_known(said: dict[str, Any]) -> None:
    """By what version 4 says when an ordinary user runs it, and what newer ones say."""
    info = {"ID": "random", "Name": "box", "DockerRootDir": "/home/me/storage", "BuildahVersion": "1.28.2", **said}
    facts = facts_of({**info, "SecurityOptions": ["name=seccomp"], **said}, "Linux", KERNEL)
    assert (facts.product, facts.rootless, facts.id) == ("Podman", True, "box:/home/me/storage")


@pytest.mark.parametrize(
    ("said", "measures"),
    [
        ({"CgroupVersion": "2", "CgroupDriver": "systemd"}, True),
        ({"CgroupVersion": "1", "CgroupDriver": "cgroupfs"}, False),
        ({"CgroupVersion": "2", "CgroupDriver": "none"}, False),
    ],
)
def test_which_rootless_engine_can_measure(said: dict[str, Any], measures: bool) -> None:
    assert facts_of({**said, "SecurityOptions": ["name=rootless"]}, "Linux", KERNEL).measures is measures
    assert facts_of({**said, "SecurityOptions": []}, "Linux", KERNEL).measures


@pytest.mark.parametrize("facts", [NATIVE, PODMAN, ROOTLESS_PODMAN])
def test_a_native_engine_gives_nginx_the_hosts_network(facts: EngineFacts) -> None:
    place = placement.decide("auto", facts, never)
    assert place.on_host
    assert (place.upstream, place.service_host, place.extra_hosts) == ("127.0.0.1", "127.0.0.1", {})


def test_a_machine_bridges_it() -> None:
    for choice in ("auto", "bridge"):
        place = placement.decide(choice, MACHINE, never)
        assert not place.on_host
        assert (place.upstream, place.service_host) == ("host.docker.internal", "127.0.0.1")
        assert place.extra_hosts == {"host.docker.internal": "host-gateway"}


def test_bridged_on_a_native_engine_services_listen_on_the_bridge() -> None:
    place = placement.decide("bridge", NATIVE, bridge)
    assert (place.on_host, place.service_host) == (False, "172.17.0.1")
    assert place.extra_hosts == {"host.docker.internal": "172.17.0.1"}


def test_what_is_told_goes() -> None:
    for facts in (NATIVE, MACHINE, PODMAN, ROOTLESS_PODMAN):
        assert placement.decide("host", facts, never) == placement.ON_HOST


def test_in_rootless_docker_nginx_reaches_no_service() -> None:
    """Neither through its bridge nor through its host network, which is not this machine's."""
    choices: list[placement.Choice] = ["auto", "bridge", "host"]
    for choice in choices:
        with pytest.raises(BackendError, match="rootless") as refused:
            placement.decide(choice, ROOTLESS, never)
        assert "orienter.infra.nginx.backend: embedded" in refused.value.hint


@pytest.mark.parametrize("facts", [PODMAN, ROOTLESS_PODMAN])
def test_podman_has_no_bridge_that_services_can_listen_on(facts: EngineFacts) -> None:
    with pytest.raises(BackendError, match="Podman") as refused:
        placement.decide("bridge", facts, never)
    assert "orienter.nginx.network to auto" in refused.value.hint


@pytest.mark.parametrize(
    ("pools", "address"),
    [
        ([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}], "172.17.0.1"),
        ([{"Subnet": "172.17.0.0/16"}], "172.17.0.1"),
        ([{"Subnet": "10.200.0.1/24"}], "10.200.0.1"),
        (
            [{"Subnet": "fd00::/80", "Gateway": "fd00::1"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.9"}],
            "172.18.0.9",
        ),
    ],
)
def test_the_address_of_a_bridge(pools: list[dict[str, str]], address: str) -> None:
    assert placement.address_of({"Name": "bridge", "IPAM": {"Config": pools}}) == address


def test_a_bridge_without_an_address() -> None:
    with pytest.raises(CheckError, match="no IPv4 address"):
        placement.address_of({"Name": "bridge", "IPAM": {"Config": None}})
