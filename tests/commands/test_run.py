"""`test.run`: a command gets an instance of its own and everything goes away again, whatever becomes of either."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.commands.run import chosen
from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine.state import state_dir
from orienter_tasks.settings.load import load_settings
from tests.commands.selftest.test_integration import processes_below
from tests.integration.checkouts import INV
from tests.integration.left import docker_of
from tests.integration.small import Running, complaint, kill, remember, service, wait_for, web

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

ROWS = "psql -Atc 'CREATE TABLE IF NOT EXISTS kept (text text)' -c 'SELECT count(*) FROM kept'"
FIRST = """
test "$PWD" = "$0" && test "$AI_INSTANCE_ROOT" != "$0" || exit 90
test "$(psql -Atc 'SELECT current_database()' 2>/dev/null || echo "$PGDATABASE")" = "$PGDATABASE" || exit 91
echo "id $AI_INSTANCE_ID"; sleep 600 & exit 7
"""


def nothing_left(checkout: Checkout) -> None:
    """Require that only what the checkout itself has is there."""
    assert not list(checkout.path.glob(".dev-data/test-*"))
    left = [each for each in processes_below(checkout.path) if "/.dev-data/test-" in each.environ()["AI_INSTANCE_ROOT"]]
    assert left == []
    assert {claim.root for claim in Claims().read()} <= {str(checkout.path)}
    assert not [path for path in state_dir().rglob("*test-*") if "cache" not in path.parts]


def run(checkout: Checkout, *words: str, code: int = 0, options: tuple[str, ...] = ()) -> Any:
    return checkout.inv("test.run", *options, "--", *words, code=code)


@pytest.mark.embedded
def test_a_command_and_its_instance(make_host: MakeHost) -> None:
    host = make_host(
        services={
            "web": web(cwd="."),
            "other": service("sleep"),
            "never": service("fail", "1", requires_env=["NO_SUCH_VARIABLE"]),
        },
        hooks={
            "start": [
                {**service("write", "hooked", "for web"), "name": "seed", "before": ["web"], "creates": "hooked"},
                {**service("fail", "9"), "name": "wrong", "before": ["other"]},
            ]
        },
    )
    main = host.main
    main.inv("infra.up")
    remember(main, "mine")
    answer = run(main, "sh", "-c", FIRST, str(main.path), code=7)
    assert answer.out == "id 9\n"
    summary = answer.err.splitlines()[-1]
    assert ": exit code 7 after " in summary
    assert "peak memory" in summary
    nothing_left(main)

    assert run(main, "sh", "-c", ROWS).out.endswith("\n0\n"), "data of its own"
    assert run(main, "sh", "-c", ROWS, options=("--data", "main")).out.endswith("\n1\n")
    main.inv("data.snapshot", "early")
    assert run(main, "sh", "-c", ROWS, options=("--data", "early")).out.endswith("\n1\n")

    ask = "import os, urllib.request as u; print(u.urlopen('http://127.0.0.1:' + os.environ['DASHBOARD_PORT']).status)"
    assert run(main, str(INV.with_name("python")), "-c", ask, options=("-s", "web")).out == "200\n"
    assert (main.path / "hooked").read_text() == "for web\n"

    for words, options, told in (
        (("no-such-program",), (), "'no-such-program' cannot be run"),
        (("true",), ("-s", "nobody"), "there is no such component"),
        (("true",), ("-s", "never"), "never is not started: NO_SUCH_VARIABLE"),
        (("true",), ("-s", "other"), "wrong of instance"),
        (("true",), ("--data", "nothing"), "nothing"),
    ):
        assert told in run(main, *words, options=options, code=125).err
    assert "a command is missing" in complaint(main.inv("test.run", code=125))
    assert run(main, "sh", "-c", "kill -9 $$", code=137).code == 137
    nothing_left(main)
    assert main.inv("dev.status", "--json").json["services"] == {"running": 0, "of": 0}


@pytest.mark.embedded
def test_five_at_once(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(infra={"minio": None})
    meet = f"touch {tmp_path}/$AI_INSTANCE_ID.there; until [ $(ls {tmp_path}/*.there | wc -l) = 5 ]; do sleep 0.1; done"
    started = [host.main.start("test.run", "--", "sh", "-c", f"{ROWS} && {meet}") for _ in range(5)]
    for process in started:
        out, err = process.communicate(timeout=170)
        assert (process.returncode, out.splitlines()[-1]) == (0, "0"), err
    assert len(list(tmp_path.glob("*.there"))) == 5
    nothing_left(host.main)


@pytest.mark.embedded
def test_what_ends_it(make_host: MakeHost, tmp_path: Path) -> None:
    main = make_host(infra={"postgres": None, "minio": None}).main
    told, there = tmp_path / "told", tmp_path / "there"
    trap = f"trap 'echo $1 > {told}; exit 3' INT TERM; touch {there}; while :; do sleep 0.05; done"
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with Running(main, tmp_path, "test.run", "--", "sh", "-c", trap, "sh", str(code)) as going:
            wait_for(there.exists, "the command")
            going.send(number)
            going.end(code)
        assert told.read_text() == f"{code}\n"
        there.unlink()
        nothing_left(main)

    deaf = f"trap '' TERM; touch {there}; while :; do sleep 0.05; done"
    with Running(main, tmp_path, "test.run", "--", "sh", "-c", deaf) as going:
        wait_for(there.exists, "the command")
        going.send(signal.SIGTERM)
        time.sleep(0.5)
        going.send(signal.SIGTERM)
        going.end(143)
    there.unlink()
    nothing_left(main)

    with Running(main, tmp_path, "test.run", "--", "sh", "-c", deaf) as going:
        wait_for(there.exists, "the command")
        kill(going.process.pid)
    (left,) = main.path.glob(".dev-data/test-*")
    assert processes_below(left), "the command and nginx run on"
    assert f"left of a killed inv test: {left}" in main.inv("doctor", code=None).out
    run(main, "true")
    nothing_left(main)
    assert processes_below(left) == []


@pytest.mark.docker
def test_on_docker(make_host: MakeHost) -> None:
    main = make_host("docker", infra={"minio": None}).main
    main.inv("infra.up")
    remember(main, "mine")
    count = "import os; from pg8000 import native as n; e = os.environ; "
    count += "c = n.Connection(e['PGUSER'], host='127.0.0.1', port=e['PGPORT'], database=e['PGDATABASE'], "
    count += "password=e['PGPASSWORD']); print(c.run('SELECT text FROM kept')); raise SystemExit(7)"
    answer = run(main, str(INV.with_name("python")), "-c", count, options=("--data", "main"), code=7)
    assert answer.out == "[['mine']]\n"
    assert len(docker_of(main, "container")) == 2, "the checkout's own"
    nothing_left(main)


def test_which_services_and_hooks_there_are(tmp_path: Path) -> None:
    plain = {"command": ["true"]}
    settings = load_settings(
        {
            "services": {
                **dict.fromkeys(("frontend", "dashboard", "opencode", "whatsapp", "slack")),
                "a": {**plain, "needs": ["b"], "cwd": "x"},
                "b": {**plain, "cwd": "${DATA_DIR}"},
                "c": plain,
            },
            "hooks": {
                "start": [
                    {**plain, "name": "for-c", "before": ["c"]},
                    {**plain, "name": "for-b", "before": ["b", "c"], "creates": "made", "sources": ["/s", "t/*.c"]},
                ]
            },
        }
    )
    some = chosen(settings, ["a"], tmp_path)
    assert {name: one.cwd for name, one in some.services.items()} == {"a": f"{tmp_path}/x", "b": "${DATA_DIR}"}
    (hook,) = some.hooks.start
    assert (hook.name, hook.before, hook.cwd) == ("for-b", ("b",), str(tmp_path))
    assert (hook.creates, hook.sources) == (f"{tmp_path}/made", ("/s", f"{tmp_path}/t/*.c"))
    none = chosen(settings, [], tmp_path)
    assert (none.services, none.all_hooks) == ({}, [])
