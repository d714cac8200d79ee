"""State is what a service does: a service whose process runs but does not answer is not called running anywhere."""

from __future__ import annotations

import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.small import BASES, service, wait_for

if TYPE_CHECKING:
    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

pytestmark = pytest.mark.embedded

DASHBOARD, VITE = BASES["dashboard"], BASES["vite"]
WATCHED = service("watch", "serve", "${DASHBOARD_PORT}", port="dashboard", ready={"http": "/"})
SICK = service("serve", "${VITE_PORT}", port="vite", ready={"http": "/"})


def ask(port: int, path: str) -> None:
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()


def parts(checkout: Checkout, *words: str) -> dict[str, dict[str, Any]]:
    """Return what a command says of each component."""
    document = checkout.inv(*words, "--json").json
    document = document["instances"][0] if "instances" in document else document
    return {part["name"]: part for part in document["components"]} | {"": document}


def test_not_answering(make_host: MakeHost) -> None:
    host = make_host(services={"web": WATCHED, "sick": SICK})
    main = host.main
    main.inv("dev", "--detach", "--quiet")
    assert {part["state"] for part in parts(main, "dev.status").values()} == {"running"}

    ask(DASHBOARD, "/exit/7")
    ask(VITE, "/status/503")
    wait_for(lambda: parts(main, "instances")["web"]["state"] == "not answering", "the end of a watcher's child")
    listed = parts(main, "instances")
    assert (listed["web"]["running"], listed["sick"]["state"]) == (True, "running")  # listeners alone
    assert listed["web"]["what"].endswith(f"; nothing listens on port {DASHBOARD}: told to end")
    assert listed["web"]["last_lines"][-1] == "told to end"
    assert (listed[""]["state"], listed[""]["services"]) == ("partial", {"running": 1, "of": 2})
    listing = main.inv("instances").out
    assert "partial, web not answering" in listing
    assert "the last lines of web of instance 0 (orienter):" in listing

    found = parts(main, "dev.status")
    assert (found["web"]["state"], found["sick"]["state"]) == ("not answering", "not answering")
    assert f"http://127.0.0.1:{VITE}/ answers 503" in found["sick"]["what"]
    assert found[""]["state"] == "partial"
    shown = main.inv("dev.status").out
    assert "not answering" in shown
    assert "told to end" in shown

    said = main.inv("doctor", "--json", code=1).json["findings"]
    problems = [(one["what"], one["remedy"]) for one in said if one["level"] == "problem"]
    assert [remedy for _, remedy in problems] == [f"inv dev.logs -s {name} --no-follow" for name in ("sick", "web")]
    assert f"web of instance 0 (orienter) is not answering: nothing listens on port {DASHBOARD}" in problems[1][0]

    (main.path / "changed").touch()
    ask(VITE, "/status/200")
    wait_for(lambda: parts(main, "dev.status")[""]["state"] == "running", "it answers again")
