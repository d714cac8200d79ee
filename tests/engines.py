"""Podman and rootless Docker: which tests marked `docker` CI runs on Podman, and which cannot pass there, and why.

`.ci/on-engine` says which engine it is. A test that is listed for it must fail there: that it passes is an error, and
that it is listed and not there (tests/workers.py).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENGINE = os.environ.get("ORIENTER_TEST_ENGINE", "")

PART = (
    "tests/backends/docker/test_contract.py",
    "tests/backends/docker/test_endpoint.py",
    "tests/backends/docker/test_proxy.py",
    "tests/backends/docker/test_survey.py",
)
"""What CI runs on Podman; the full run has all."""

FAILING: Mapping[str, Mapping[str, str]] = {
    "podman": {},
    "podman-rootless": {},
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
    sys.stdout.write("\n".join(PART) + "\n")
