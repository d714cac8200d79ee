"""One instance on both backends: some of its servers in Docker, the others native."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.small import complaint, states

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

pytestmark = [pytest.mark.docker, pytest.mark.embedded]
START = ("dev", "--detach", "--quiet")
NATIVE = {"only postgres in Docker": ("minio", "nginx"), "only postgres native": ("postgres",)}


def apart(names: tuple[str, ...]) -> dict[str, Any]:
    """Settings under which these servers are native; the others are in Docker, as the host's environment says."""
    return {name: {"backend": "embedded"} for name in names}


@pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
def test_one_instance(make_host: MakeHost, native: tuple[str, ...]) -> None:
    main = make_host("docker", infra=apart(native)).main
    main.inv(*START)
    wanted = {name: "embedded" if name in native else "docker" for name in ("postgres", "minio", "nginx")}
    told = main.inv("dev.status", "--json").json
    assert (told["state"], told["backend"], told["backends"]) == ("running", "mixed", wanted)
    kinds = {part["name"]: part["kind"] for part in told["components"]}
    assert kinds == {**{n: "process" if n in native else "container" for n in wanted}, "web": "process"}
    (row,) = main.inv("instances", "--json").json["instances"]
    assert (row["backend"], row["backends"], row["state"]) == ("mixed", wanted, "running")
    works(main)
    keeps(main)


def works(main: Checkout) -> None:
    """Require that what every command says of it is true."""
    assert main.get("/health")


def keeps(main: Checkout) -> None:
    """Require that nothing of it moves silently, and that a stop leaves nothing."""
    print(main.inv("dev.stop"))
    print(main.inv("infra.status", code=None))
    print(main.inv("dev.stop", "--volumes", "--yes"))
