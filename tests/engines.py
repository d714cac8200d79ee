"""Podman and rootless Docker: which tests marked `docker` CI runs there, and which cannot pass there, and why.

`.ci/on-engine` says which engine it is. A test that is listed for it must fail there: that it passes is an error, and
that it is listed and not there (tests/workers.py).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ENGINE = os.environ.get("ORIENTER_TEST_ENGINE", "")

_OWN = ("tests/integration/test_rootless.py",)
_PODMAN_PART = (
    "tests/backends/docker/test_contract.py",
    "tests/backends/docker/test_copies.py",
    "tests/backends/docker/test_endpoint.py",
    "tests/backends/docker/test_reader.py",
    "tests/commands/doctor/test_checks_backend.py",
)
_PARTS = {"podman": _PODMAN_PART, "podman-rootless": _PODMAN_PART + _OWN, "docker-rootless": _OWN}


def part(engine: str) -> Sequence[str]:
    """Return what CI runs on an engine; a full run has all on Podman, while rootless Docker cannot have nginx."""
    full = os.environ.get("ORIENTER_FAULT_RUNS") == "full" and engine.startswith("podman")
    return ("tests",) if full else _PARTS[engine]


_CONTAINERS = "tests/backends/docker/test_containers.py"
_PODMAN = {
    f"{_CONTAINERS}::test_a_changed_configuration_is_taken_over_and_data_kept": "it does not say how it keeps logs",
    f"{_CONTAINERS}::test_a_container_whose_network_is_gone_is_made_anew": "a stopped container keeps its network",
    **dict.fromkeys(
        (
            "tests/backends/docker/test_compose.py::test_it_equals_what_the_sdk_makes[bridge]",
            "tests/backends/docker/test_compose.py::test_it_equals_what_the_sdk_makes[host]",
        ),
        "of a container it says HOME and HOSTNAME, too, and not how it is mounted and logged",
    ),
    **dict.fromkeys(
        (
            "tests/backends/docker/test_proxy.py::test_a_check_leaves_nothing_behind[bridge]",
            "tests/backends/docker/test_proxy.py::test_services_are_reached_where_they_are_to_listen[bridge]",
            "tests/commands/selftest/test_templates.py::test_nginx_in_a_container_takes_them",
        ),
        "no service can listen on its bridge",
    ),
    "tests/backends/docker/test_reader.py::test_refusals_are_the_sdks[no/such]": "the SDK asks for another path",
    "tests/backends/docker/test_survey.py::test_what_somebody_runs_in_a_container_is_not_its_health_check": (
        "its health checks are timers of systemd, which the tests have not"
    ),
}
FAILING: Mapping[str, Mapping[str, str]] = {
    "podman": _PODMAN,
    "podman-rootless": {
        **_PODMAN,
        f"{_CONTAINERS}::test_a_container_that_stands_still_goes_on": "without control groups it cannot pause",
    },
    "docker-rootless": {},
}


def listed() -> frozenset[str]:
    return frozenset(name for each in FAILING.values() for name in each)


def expect_failures(items: Iterable[pytest.Item]) -> None:
    """Expect of the tests that are listed for this engine that they fail."""
    for item in items:
        reason = FAILING.get(ENGINE, {}).get(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


if __name__ == "__main__":
    sys.stdout.write("\n".join(part(sys.argv[1])) + "\n")
