"""`env.hook`: a shell has the variables of the checkout that it is in, and nothing of a checkout's ever runs for it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands import hook
from orienter_tasks.errors import ConfigError
from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine import hooks
from orienter_tasks.machine.state import state_dir
from tests.integration.small import kill, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Checkout
    from tests.integration.small import MakeHost

COMMANDS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["-N", "-i"]}
FRESH = {"bash": "_orienter_refresh", "zsh": "_orienter_refresh", "fish": "set -g _orienter_refresh"}


class Shell:
    """An interactive shell at a terminal of its own, with the hook; `python` counts what it has run."""

    def __init__(self, name: str, checkout: Checkout, directory: Path) -> None:
        program = shutil.which(name)
        if program is None:
            if os.environ.get("ORIENTER_REQUIRE_SHELLS") == "1":
                pytest.fail(f"{name} is missing, and ORIENTER_REQUIRE_SHELLS=1 requires it")
            pytest.skip(f"{name} is missing")
        self.out, self.log = directory / "variables", directory / "python"
        self.log.touch()
        counted = directory / "counted"
        counted.write_text(f'#!/bin/sh\necho >>"{self.log}"\nexec "$@"\n')
        counted.chmod(0o755)
        text = checkout.inv("env.hook", name).out
        for mark in ("_orienter_refresh=(", "set -g _orienter_refresh "):
            text = text.replace(mark, f"{mark}{counted} ")
        script = directory / f"hook.{name}"
        script.write_text(text)
        environ = {**checkout.environ, "TERM": "dumb", "HOME": str(directory), "PS1": "> "}
        self._pid, self._terminal = pty.fork()
        if not self._pid:  # nothing may be imported or reported here
            os.chdir("/")
            os.execve(program, [name, *COMMANDS[name]], environ)
        threading.Thread(target=self._drain, daemon=True).start()
        self("true")
        self(f"source {script}")

    def __call__(self, line: str, **_: object) -> dict[str, str]:
        """Run a line, and return the variables at the next prompt."""
        self.out.unlink(missing_ok=True)
        half = self.out.with_suffix(".half")
        os.write(self._terminal, f" {line}\n".encode())
        os.write(self._terminal, f" env -0 >{half}; mv {half} {self.out}\n".encode())
        wait_for(self.out.exists, f"what follows {line!r}")
        pairs = self.out.read_bytes().decode(errors="replace").split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    @property
    def runs(self) -> int:
        """How often it has run Python."""
        return len(self.log.read_text())

    def end(self) -> None:
        kill(self._pid)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def _drain(self) -> None:
        with suppress(OSError):
            while os.read(self._terminal, 2**16):
                pass


@pytest.fixture(params=COMMANDS)
def shell_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def exported(checkout: Checkout) -> dict[str, str]:
    """Return what `env.export` derives for a checkout."""
    entry = json.loads((hooks.place(checkout.path) / "@.json").read_text())
    return {name: value for name, value in checkout.variables.items() if name in entry["names"]}


@pytest.mark.embedded
def test_a_shell_follows_its_checkout(make_host: MakeHost, tmp_path: Path, shell_name: str) -> None:
    host = make_host(infra={"postgres": None})
    main = host.main
    inner = host.worktree(main.path / "inner")
    shell = Shell(shell_name, main, tmp_path)
    set_ = "set -gx {} {}" if shell_name == "fish" else "export {}={}"
    try:
        shell(set_.format("DATA_DIR", "mine"))
        before = shell(f"cd {main.path}")
        assert before["DATA_DIR"] == "mine", "never started"
        main.inv("infra.up")
        there = shell("true")
        own = exported(main)
        assert own["AI_INSTANCE_ROOT"] == str(main.path)
        assert own.items() <= there.items()
        assert "INVOKE_RUN" not in there

        assert shell("mkdir -p deep/er; cd deep/er")["DATA_DIR"] == own["DATA_DIR"]
        assert shell(f"cd {inner.path}")["DATA_DIR"] == "mine", "a checkout in it that was never started"
        assert shell(f"cd {main.path}")["DATA_DIR"] == own["DATA_DIR"]
        assert shell("cd /")["DATA_DIR"] == "mine"
        assert not [name for name in shell("true") if name.startswith("ORIENTER_") and name not in before]
        assert shell.runs == 0

        (main.path / ".env").write_text(f"{(main.path / '.env').read_text()}NODE_ENV=production\n")
        assert shell(f"cd {main.path}")["NODE_ENV"] == "production"
        host.configure(main, storage={"region": "elsewhere"})
        assert shell("true")["AWS_REGION"] == "elsewhere"
        assert shell.runs == 2
        assert exported(main).items() <= shell("true").items()
        os.utime(state_dir() / "claims.json")
        shell("true")
        assert shell.runs == 3
        assert shell(f"{shell_name} {' '.join(COMMANDS[shell_name])} -c true")["NODE_ENV"] == "production"

        assert shell("cd /; true").get("NODE_ENV") is None
        shell(set_.format("NODE_ENV", "test"))
        assert shell(f"cd {main.path}")["NODE_ENV"] == "test", "what a shell has set outranks .env, as for inv"
        shell("true")
        assert shell.runs == 4
        (claim,) = (claim for claim in Claims().read() if claim.root == str(main.path))
        Claims().release(claim.token)
        assert not list(hooks.directory().rglob("*"))
        gone = shell("true")
        assert (gone["DATA_DIR"], gone["NODE_ENV"]) == ("mine", "test")
    finally:
        shell.end()


@pytest.mark.embedded
def test_nothing_of_a_checkout_runs(make_host: MakeHost, tmp_path: Path, shell_name: str) -> None:
    host = make_host(infra={"postgres": None, "minio": None})
    main, ran = host.main, tmp_path / "ran"
    other = host.worktree(tmp_path / "other")
    main.inv("infra.up")
    shell = Shell(shell_name, main, tmp_path)
    try:
        main.inv("infra.up")
        before = shell(f"cd {main.path}")
        evil = f"touch {ran}"
        hostile = {
            "PROMPT_COMMAND": evil,
            "PATH": str(main.path),
            "LD_PRELOAD": str(main.path / "evil.so"),
            "ORIENTER_HOOK_NAMES": f"x;{evil}",
            "ORIENTER_WAS_HOME": "/nowhere",
            "NODE_ENV": f"$({evil})`{evil}`\\;{evil};",
        }
        with (main.path / ".env").open("a") as dotenv:
            dotenv.writelines(f"{name}='{value}'\n" for name, value in hostile.items())
        for path in (main.path, other.path):
            for name in ("tasks.py", "invoke.py", "sitecustomize.py", "json.py", "@.sh", "@.fish"):
                (path / name).write_text(f"import os; os.system('{evil}')\n")
            (path / "stat").write_text(f"#!/bin/sh\n{evil}\n")
            (path / "stat").chmod(0o755)
        after = shell("true")
        assert after["NODE_ENV"].startswith("$(")
        assert {name for name in after if after[name] != before.get(name)} <= {"NODE_ENV", "ORIENTER_HOOK_NAMES", "_"}
        shell(f"cd {other.path}")
        (main.path / "invoke.yaml").unlink()  # now its settings are code
        shell(f"cd {main.path}")
        os.mkfifo(main.path / "fifo")
        (main.path / "fifo").rename(main.path / ".env")
        shell("true")
        shell("cd /")
        assert shell.runs >= 3
        assert not ran.exists()
    finally:
        shell.end()
        (main.path / ".env").unlink()
        host.git("checkout", "--", ".")
        host.git("clean", "-fdq")


@pytest.mark.embedded
def test_a_start_does_not_fail_where_the_entry_cannot_be_written(make_host: MakeHost) -> None:
    main = make_host(infra={"postgres": None, "minio": None}).main
    main.inv("env.hook", "bash")
    hooks.place(main.path).parent.mkdir(parents=True)
    hooks.place(main.path).touch()
    answer = main.inv("infra.up")
    assert "shells with a hook have the variables of before: cannot make the directory" in answer.err
    assert main.inv("dev.status", "--json").json["state"] == "running"


def test_a_shell_that_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown shell 'bsh'"):
        hook.script("bsh")
