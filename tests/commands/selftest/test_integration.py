"""`test.integration` and `inv test`: on both configurations and both backends, and when something goes wrong."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.configurations import OWN_PORTS, SHOP_ID, make_own, make_shop, shop
from tests.integration.checkouts import REPOSITORY
from tests.integration.left import docker_of
from tests.repositories import git

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.checkouts import Answer, Checkout, Host

CHECKS = [
    "two instances start side by side",
    "each page answers as its own",
    "a row is seen by its own only",
    "an object is seen by its own only",
    "they share nothing",
    "one stops, the other goes on",
    "nothing is left",
]


def outcomes(answer: Answer) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in answer.json["checks"]}


def processes_below(directory: Path) -> list[psutil.Process]:
    """Return the processes that were started for a checkout below a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AI_INSTANCE_ROOT", "").startswith(str(directory)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def nothing_left(host: Host) -> None:
    assert processes_below(host.directory) == []
    for checkout in host.checkouts:
        if (checkout.path / ".dev-data").is_dir():
            assert not list((checkout.path / ".dev-data").glob("test-*"))


@pytest.mark.embedded
def test_both_configurations(host: Host) -> None:
    answer = host.main.inv("test", "--json")
    assert answer.json["ok"] is True
    found = outcomes(answer)
    assert [one["check"] for one in answer.json["checks"] if one["group"] == "integration"] == CHECKS
    assert {one["group"] for one in found.values()} == {"env", "templates", "integration"}
    highest = 20 if host.project == shop()["project"] else 9
    assert f"{highest + 1} ids" in found["no two ports meet"]["detail"]
    assert f"nginx -t for {highest + 1} ids, on embedded" in found["nginx accepts them"]["detail"]
    started = re.match(r"ids (\d+) and (\d+) on embedded in", found[CHECKS[0]]["detail"])
    assert started is not None
    assert highest >= int(started[1]) > int(started[2]) > 0  # the highest ones whose ports happen to be free
    nothing_left(host)
    # nobody's id was claimed for it
    listed = host.main.inv("instances", "--json").json["instances"]
    assert [one["id"] for one in listed if one["project"] != host.project] == []


@pytest.mark.embedded
def test_beside_running_instances(tmp_path: Path) -> None:
    host = make_shop(tmp_path / "home", "embedded")
    try:
        host.main.inv("dev", "--detach")
        before = host.main.inv("infra.status", "--json").json
        assert before["id"] == SHOP_ID
        (host.main.path / "1.sql").write_text("CREATE EXTENSION plpgsql;\nCREATE EXTENSION nothing_like_it;\n")
        git(host.main.path, "add", "1.sql")
        text = host.main.inv("test.integration").out
        assert "! migrations find what they need" in text
        assert "postgres lacks nothing_like_it, which 1.sql:2 needs" in text
        assert text.count("✓") == len(CHECKS)
        assert "✗" not in text
        after = host.main.inv("infra.status", "--json").json
        assert [part["started_at"] for part in after["components"]] == [
            part["started_at"] for part in before["components"]
        ]
        host.main.inv("infra.verify")
    finally:
        host.clean_up()


@pytest.mark.docker
@pytest.mark.parametrize("kind", [make_own, make_shop])
def test_on_docker(kind: Callable[[Path, str], Host], tmp_path: Path) -> None:
    host = kind(tmp_path / "home", "docker")
    found = outcomes(host.main.inv("test.integration", "--json"))
    assert list(found) == CHECKS
    assert all(one["ok"] for one in found.values())
    assert "on docker" in found[CHECKS[0]]["detail"]
    nothing_left(host)
    assert docker_of(host.main, "container", "network", "volume") == []


@pytest.mark.embedded
def test_a_backend_that_is_asked_for(tmp_path: Path) -> None:
    host = make_own(tmp_path / "home", "docker")
    found = outcomes(host.main.inv("test.templates", "--backend", "embedded", "--json"))
    assert "on embedded" in found["nginx accepts them"]["detail"]


@pytest.mark.embedded
def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    host = make_own(tmp_path / "home", "embedded")
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\nexec sleep 60\n")
    deaf.chmod(0o755)
    host.configure(host.main, timeouts={"infra": 3}, embedded={"rclone": str(deaf)})
    answer = host.main.inv("test.integration", "--json", code=1)
    found = outcomes(answer)
    assert list(found) == CHECKS[:1]
    assert "is not ready after 3 s" in found[CHECKS[0]]["detail"]
    assert "1 of 1 checks failed: test.integration: two instances start side by side" in answer.err
    nothing_left(host)


@pytest.mark.embedded
def test_a_failing_template(tmp_path: Path) -> None:
    host = make_shop(tmp_path / "home", "embedded")
    template = host.main.path / "templates" / "shop.conf.j2"
    template.write_text(template.read_text().replace("proxy_pass", "proxy_past"))
    answer = host.main.inv("test.templates", code=1)
    assert "✗ nginx accepts them" in answer.out
    assert 'unknown directive "proxy_past"' in answer.out
    assert "✓ nginx's templates render" in answer.out
    nothing_left(host)


@pytest.mark.embedded
def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    host = make_own(tmp_path / "home", "embedded")
    killed = in_the_middle(host)
    assert "test.integration" not in host.main.inv("doctor").out
    killed.kill()
    killed.communicate()
    (left,) = (host.main.path / ".dev-data").glob("test-*")
    assert processes_below(left)
    answer = host.main.inv("doctor")
    assert f"left of a killed inv test: {left}" in answer.out
    assert "→ inv test.integration" in answer.out
    found = outcomes(host.main.inv("test.integration", "--json"))
    assert all(one["ok"] for one in found.values())
    assert not left.exists()
    nothing_left(host)


@pytest.mark.embedded
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_that_is_interrupted_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    host = make_own(tmp_path / "home", "embedded")
    interrupted = in_the_middle(host)
    interrupted.send_signal(number)
    _, err = interrupted.communicate(timeout=60)
    assert interrupted.returncode == code
    assert "Traceback" not in err
    nothing_left(host)


def in_the_middle(host: Host) -> subprocess.Popen[str]:
    """Start `inv test.integration` and return while its servers start."""
    process = host.main.start("test.integration")
    deadline = time.monotonic() + 60
    while len(list(host.main.path.glob(".dev-data/test-*/*/.dev-pids/*/postgres.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_wrong_settings_are_told_at_once(tmp_path: Path) -> None:
    host = make_own(tmp_path / "home", "embedded")
    host.configure(host.main, ports={"vite": OWN_PORTS["nginx"] + 3000})
    answer = host.main.inv("test.env", "--json", code=2)
    assert answer.out == ""
    assert "orienter.ports: nginx" in answer.err
    assert "meet" in answer.err


@pytest.mark.embedded
def test_this_very_repository(tmp_path: Path) -> None:
    """Its own invoke.yaml and templates, as they are."""
    checkout = Repository(make_own(tmp_path / "home", "embedded").main)
    found = checkout.check("test.env") | checkout.check("test.templates")
    assert len(found) == 11
    assert all(one["ok"] for one in found.values()), found


class Repository:
    """Runs `inv` in this repository itself, with the variables of a test's checkout."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout

    def check(self, name: str) -> dict[str, dict[str, Any]]:
        return outcomes(self._checkout.inv(name, "--json", cwd=REPOSITORY))
