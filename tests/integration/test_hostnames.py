"""Each instance has a host name of its own: it is shown, in the documents, and nginx answers by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.settings.load import load_settings
from tests import slot
from tests.backends.nginx.upstream import exchange, parse
from tests.integration.conftest import BACKENDS
from tests.integration.small import BASES

if TYPE_CHECKING:
    from tests.integration.small import MakeHost

PROJECT = slot.project("host_names")


def status(host: str) -> int:
    """Ask the main checkout's nginx by a name; return the status of its answer."""
    port = BASES["nginx"]
    return parse(exchange(port, "GET /health HTTP/1.1", f"Host: {host}:{port}", "Connection: close"))[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_of_its_own(make_host: MakeHost, backend: str) -> None:
    dropped = {"postgres": None, "minio": None}
    host = make_host(backend, project=PROJECT, infra=dropped, services={"web": None})
    stranger = make_host(backend, project=slot.project("stranger"))
    main, port = host.main, BASES["nginx"]
    name = load_settings({"project": PROJECT}).hostname(0)
    by_name, plain = f"http://{name}:{port}", f"http://localhost:{port}"
    assert "_" not in name

    main.inv("infra.up")
    assert [status(each) for each in (name, "localhost", "127.0.0.1", "[::1]")] == [200] * 4
    assert [status(each) for each in ("x." + PROJECT, name.replace("-0.", "-1."), "evil.example")] == [421] * 3
    for task in ("dev.announce", "dev.status", "env.show", "instances"):
        out = main.inv(task, code=None).out
        assert by_name in out, task
        assert plain not in out, task
    assert by_name in stranger.main.inv("instances").out  # it does not know these settings
    for task in ("dev.status", "env.show", "instances"):
        document = main.inv(task, "--json", code=None).json
        (one,) = document.get("instances", [document])
        assert (one["url"], one["host_url"]) == (plain, by_name), task

    host.configure(main, nginx={"hostname": "", "hosts": ["dev.example.test"]})
    main.inv("nginx.reload")
    assert [status(each) for each in (name, "localhost", "dev.example.test")] == [421, 200, 200]
    for checkout, task in ((main, "dev.announce"), (main, "dev.status"), (stranger.main, "instances")):
        out = checkout.inv(task, code=None).out
        assert plain in out, task
        assert name not in out, task
    assert main.inv("dev.status", "--json", code=None).json["host_url"] == plain
