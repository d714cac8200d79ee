"""Hooks as nodes of the start graph, and services that yield: one host, many starts of it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.small import Running, complaint, service, states, web, within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

pytestmark = pytest.mark.embedded
DETACHED = ("dev", "--detach")
BOT = {"port": "whatsapp", "ready": {"http": "/"}}


def bot(**changes: Any) -> dict[str, Any]:
    """A second service that serves its environment."""
    return service("serve", "${WHATSAPP_PORT}", **{**BOT, **changes})


def hook(name: str, *words: str, **changes: Any) -> dict[str, Any]:
    return {**service(*words), "name": name, **changes}


def environment(checkout: Checkout, port: str) -> dict[str, str]:
    """Return the environment of a running service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{checkout.variables[port]}/", timeout=5) as answer:
        return dict(json.load(answer))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def row(checkout: Checkout, name: str) -> str:
    """Return what `dev.status` prints of a component."""
    return next(line for line in checkout.inv("dev.status").out.splitlines() if name in line.split()[:1])


def who_got_what(main: Checkout) -> None:
    """Require that only `bot` has what the hook exported, above `.env` and below what is derived."""
    theirs, others = environment(main, "WHATSAPP_PORT"), environment(main, "DASHBOARD_PORT")
    assert (theirs["K"], theirs["ALSO"], theirs["BOTH"]) == ("it's", "it's", "new")
    assert theirs["DATABASE_URL"] == others["DATABASE_URL"] != "elsewhere"
    assert theirs["PATH"] == f"./bin:{others['PATH']}"
    assert "K" not in others
    assert others["BOTH"] == "old"
    assert within(main, {"BOTH": "shell"}).variables["BOTH"] == "shell"


def test_hooks_are_nodes_of_the_graph(make_host: MakeHost, tmp_path: Path) -> None:
    def secrets(switch: str) -> dict[str, Any]:
        printed = ("export K='it'\\''s'", "BOTH=new", f"BOT={switch}", "DATABASE_URL=elsewhere")
        return hook("secrets", "print", *printed, exports=True, before=["bot"])

    start = [
        secrets("on"),
        hook("migrate", "write", "migrated", "${DATABASE_URL}", needs=["postgres"]),
        hook("seed", "write", "seeded", "x", needs=["migrate"], once="data"),
        hook("after", "reach", "${DASHBOARD_PORT}", needs=["web"], timeout=20),
        hook("build", "write", "built/app", "x", creates="built", sources=["a/*.ts", "b/*.ts"]),
    ]
    there = bot(requires_env=["K"], enabled_by="BOT", env={"PATH": "./bin:${PATH}", "ALSO": "${K}"})
    host = make_host(services={"web": web(), "bot": there}, hooks={"start": start})
    main = host.main
    for directory in ("built", "a", "b"):
        (main.path / directory).mkdir()
    (main.path / "b/new.ts").touch()
    os.utime(main.path / "built", (1, 1))
    (main.path / ".env").write_text("BOTH=old\n")

    answer = main.inv(*DETACHED)
    assert "done; ignored: DATABASE_URL" in answer.err
    assert {"web", "bot"} <= {name for name, runs in states(main).items() if runs}
    who_got_what(main)
    assert [lines(main.path / name) for name in ("migrated", "seeded", "built/app")] == [1, 1, 1]
    assert next(main.path.glob("logs/*/after-hook.log")).read_text() == "reached\n"

    shown = main.inv("env.show").out
    assert "hook secrets, for bot; .env" in next(line for line in shown.splitlines() if line.split()[:1] == ["BOTH"])
    assert main.inv("env.show", "--json").json["exported"]["K"] == {"hook": "secrets", "to": ["bot"]}
    assert "it's" not in shown

    answer = main.inv("dev.restart", "-s", "bot")
    assert "not run: migrate, seed, build; inv dev runs these hooks" in answer.err
    assert environment(main, "WHATSAPP_PORT")["K"] == "it's"
    assert "not run" not in main.inv("dev.restart", "-s", "nginx").err
    assert [lines(main.path / name) for name in ("migrated", "seeded")] == [1, 1]

    host.configure(main, hooks={"start": [secrets("off"), *start[1:]]})
    main.inv("services.stop", "-s", "bot")
    main.inv(*DETACHED)
    assert [lines(main.path / name) for name in ("migrated", "seeded")] == [2, 1]
    assert "skipped" in row(main, "bot")
    assert "BOT is false" in row(main, "bot")
    assert main.inv("dev.status", "--json").json["skipped"] == {"bot": "BOT is false"}
    assert f"http://localhost:{main.variables['WHATSAPP_PORT']}" not in main.inv("dev.announce").out
    assert "bot of instance 0 (orienter) is not started: BOT is false" in complaint(
        main.inv("services.start", "-s", "bot", code=2)
    )
    (found,) = [each for each in main.inv("instances", "--json").json["instances"] if each["root"] == str(main.path)]
    assert (found["state"], found["services"]) == ("running", {"running": 1, "of": 1})

    (main.path / "seeded").unlink()
    with Running(main, tmp_path, "dev.attach") as run:
        run.until("serving on")
        run.send(signal.SIGINT)
        assert f"serving on {main.variables['WHATSAPP_PORT']}" not in run.end(130).out  # of the start before
    host.git("clean", "-fdxq", "-e", ".env", "-e", "built")
    main.inv(*DETACHED)
    assert lines(main.path / "seeded") == 0
    main.inv("dev.stop", "--volumes", "--yes")
    main.inv(*DETACHED)
    assert lines(main.path / "seeded") == 1

    host.configure(main, hooks={"start": [hook("bad", "print", "fine=1", "K=it's", exports=True)]})
    line = complaint(main.inv(*DETACHED, code=1))
    assert "hook bad of instance 0 (orienter): line 2 (K=…) of what it prints does not set a variable" in line


def test_a_service_that_yields(make_host: MakeHost) -> None:
    host = make_host(services={"web": web(), "bot": bot(lease="bot", on_conflict="skip")})
    main, other = host.main, host.worktree(host.directory / "elsewhere" / "one")
    main.inv(*DETACHED)
    why = f"bot runs in one instance at a time: instance 0 ({main.path}"

    answer = other.inv(*DETACHED)
    assert why in answer.err
    assert states(other) == {"postgres": True, "minio": True, "nginx": True, "web": True}
    assert "skipped" in row(other, "bot")
    assert "bot runs in one instance" in row(other, "bot")
    assert why in complaint(other.inv("services.start", "-s", "bot", code=4))

    main.inv("services.stop", "-s", "bot")
    other.inv("services.start")
    assert states(other)["bot"]
    assert "skipped" not in row(other, "bot")
