"""Hosts without PostgreSQL, without an S3 store, without either: every command is fine with that."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from orienter_tasks import ns
from tests.integration.conftest import BACKENDS
from tests.integration.small import complaint, states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

RUNNING: dict[str, tuple[Sequence[str], int]] = {
    "dev.start": (["--detach"], 0),
    "env.init": ([], 0),
    "env.show": ([], 0),
    "env.export": ([], 0),
    "env.exec": (["--", "true"], 0),
    "env.hook": (["bash"], 0),
    "infra.up": ([], 0),
    "infra.status": ([], 0),
    "infra.logs": (["--no-follow"], 0),
    "infra.compose": ([], 0),
    "infra.verify": ([], 0),
    "infra.stats": (["--json"], 0),
    "data.snapshot": (["early"], 0),
    "data.list": ([], 0),
    "data.restore": (["early", "--yes"], 0),
    "data.reset": (["--yes", "--no-backup"], 0),
    "data.clone": (["--yes"], 4),
    "data.rm": (["early", "--yes"], 0),
    "data.export": (["data.tar"], 0),
    "data.import": (["data.tar", "--yes", "--no-backup"], 0),
    "worktree.new": (["side", "--path", "side", "--no-start"], 0),
    "worktree.list": ([], 0),
    "worktree.rm": (["side"], 0),
    "infra.down": ([], 4),
    "dev.status": ([], 0),
    "dev.why": ([], 0),
    "dev.wait": ([], 0),
    "dev.logs": (["--no-follow"], 0),
    "dev.announce": ([], 0),
    "dev.restart": ([], 0),
    "services.stop": ([], 0),
    "services.start": ([], 0),
    "services.restart": ([], 0),
    "services.status": ([], 0),
    "nginx.render": ([], 0),
    "nginx.check": ([], 0),
    "nginx.reload": ([], 0),
    "instances": ([], 0),
    "doctor": ([], 0),
    "data.adopt": (["3"], 3),
    "agents.skill": ([], 0),
    "test.env": ([], 0),
    "test.templates": ([], 0),
    "test.integration": ([], 0),
    "test.run": (["--", "true"], 0),
    "cleanup.daily": (["--dry-run"], 0),
    "cleanup.weekly": (["--dry-run"], 0),
    "cleanup.orphans": (["--dry-run"], 0),
    "cleanup.logs": (["--dry-run"], 0),
    "cleanup.all": (["--dry-run"], 0),
    "dev.stop": ([], 0),
    "dev.attach": ([], 0),
    "cleanup.instance": (["0", "--yes"], 0),
}
"""Each task in an order that works, and its exit code."""

APART = {"infra.psql": "postgres", "infra.s3": "minio", "test.all": "", "remote.open": ""}
"""The clients, which need their servers, what runs the other tests, and what needs another machine."""


@pytest.mark.embedded
@pytest.mark.parametrize("dropped", [["postgres"], ["minio"], ["postgres", "minio"]], ids=["sql", "s3", "both"])
def test_every_command(make_host: MakeHost, dropped: list[str]) -> None:
    assert RUNNING.keys() | APART.keys() == set(ns.task_names)
    # the defaults' own services need both
    main = make_host(infra=dict.fromkeys(dropped), services={"slack": {"command": ["true"]}}).main
    both = len(dropped) > 1
    for name, (words, code) in RUNNING.items():
        if name in ("test.integration", "test.run") and not both:
            continue
        answer = main.inv(name, *words, code=None)
        problems = [line for line in answer.out.splitlines() if line.startswith("✗")] if name == "doctor" else []
        no_data = both and name in ("data.snapshot", "data.restore", "data.rm", "data.export", "data.import")
        assert answer.code == (3 if no_data else code) or problems, f"{name}: {answer}"
        assert not any(server in line for server in dropped for line in problems), problems
        if name == "infra.up":
            _has_only(main, dropped)
            for client, server in APART.items():
                if server in dropped:
                    said = main.inv(client, *(["ls"] if client == "infra.s3" else []), code=3).err
                    assert f"has no {server}" in said
        if name in ("infra.compose", "infra.status", "dev.announce", "cleanup.all"):
            assert not any(server in answer.out for server in dropped), answer


def _has_only(checkout: Checkout, dropped: Sequence[str]) -> None:
    servers = {"postgres", "minio", "nginx"} - {*dropped}
    assert states(checkout) == dict.fromkeys([*servers, "web"], True)
    values = checkout.variables
    with urllib.request.urlopen(f"http://127.0.0.1:{values['DASHBOARD_PORT']}/", timeout=10) as answer:
        service = json.loads(answer.read())
    for server, names in {
        "postgres": ("POSTGRES_PORT", "POSTGRES_PASSWORD", "DATABASE_URL", "PGHOST"),
        "minio": ("MINIO_API_PORT", "MINIO_ROOT_USER", "AWS_ENDPOINT_URL", "S3_BUCKET", "AWS_CONFIG_FILE"),
    }.items():
        there = {name for name in names if name in values and service.get(name) == values[name]}
        assert there == (set() if server in dropped else {*names})
    assert ("POSTGRES_PASSWORD" in (checkout.path / ".env").read_text()) is ("postgres" not in dropped)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_runs_when_it_is_dropped_is_stopped_and_its_data_removed(
    make_host: MakeHost, backend: str
) -> None:
    host = make_host(backend)
    host.main.inv("infra.up")
    host.configure(host.main, infra={"minio": None})
    assert states(host.main)["minio"]
    host.main.inv("dev.stop")
    assert not any(states(host.main).values())
    host.main.inv("infra.up")
    assert "minio" not in states(host.main)
    assert "minio-data-0" in host.main.inv("dev.stop", "--volumes", "--yes").err
    host.configure(host.main, infra={})
    assert host.left() == []


@pytest.mark.parametrize(
    ("settings", "named", "hint"),
    [
        ({"infra": {"postgre": None}}, "orienter.infra.postgre: unknown component", "did you mean 'postgres'?"),
        ({"infra": {"nginx": None}}, "orienter.infra.nginx: stays", "postgres"),
        ({"infra": {"minio": {"data": "/x"}}}, "orienter.infra.minio.data: minio knows that itself", "image, program"),
        ({"infra": ["minio"]}, "orienter.infra: expected a mapping", ""),
        (
            {"infra": {"postgres": None}, "services": {"web": {"command": ["true"], "needs": ["postgres"]}}},
            "orienter.services.web.needs: no component is named 'postgres'",
            "minio",
        ),
    ],
)
def test_wrong_keys(make_host: MakeHost, settings: dict[str, object], named: str, hint: str) -> None:
    host = make_host()
    host.rewrite(host.main, json.dumps({"orienter": settings}))
    answer = host.main.inv("env.show", code=2)
    assert named in complaint(answer)
    assert hint in answer.err
