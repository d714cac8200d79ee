"""Names, arguments and logs from outside are text: no control codes, no markup, whatever stdout is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine import ports
from tests.integration.checkouts import INV, Answer
from tests.integration.small import BASES, wait_for, within
from tests.integration.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.lab import FaultHost, MakeFaultHost
    from tests.integration.checkouts import Checkout

BAD = ("\x1b]", "\x07", "\x1b[2J", "\x1b[41;5H", "\x9b", "\x7f", "\x08")
EVIL = "<\x1b]52;c;aGVsbG8=\x07\x1b]0;owned\x07\x1b]8;;http://x\x1b\\\x1b[2J\x1b[41;5H\x9b2J\x7f\x08>"
HELD = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
MARKUP = "a[@click=(] [/] [red] :smile:"


def claim_named(host: FaultHost, name: str) -> None:
    """Give the main checkout's claim another name, as a damaged or hostile file may."""
    path = host.state / "claims.json"
    document = json.loads(path.read_text())
    document["claims"][0] |= {"worktree": name, "backend": "embedded"}
    path.write_text(json.dumps(document))


def shown(checkout: Checkout, *words: str, columns: int = 300) -> str:
    """Run a command on a terminal and return what it has written."""
    with Terminal(checkout, *words, columns=columns) as terminal:
        terminal.end()
        return terminal.seen


@pytest.fixture
def host(make_host: MakeFaultHost) -> FaultHost:
    """A host with a claim whose name has control codes."""
    made = make_host()
    made.main.inv("env.show")
    claim_named(made, EVIL)
    return made


def test_names_of_claims(host: FaultHost) -> None:
    for words in (("instances",), ("doctor",), ("env.show",), ("dev.status",), ("dev.stop",)):
        for text in (shown(host.main, *words), str(host.main.inv(*words, code=None))):
            assert not [code for code in BAD if code in text], (words, text)
    assert "<>" in shown(host.main, "instances")
    for name in ("instances", "env.show"):
        text = host.main.inv(name, "--json").out
        assert not [code for code in BAD if code in text]
    assert json.loads(host.main.inv("instances", "--json").out)["instances"][0]["worktree"] == EVIL


def test_a_table_that_is_drawn_again(host: FaultHost) -> None:
    with Terminal(host.main, "instances", "--watch", columns=300) as terminal:
        terminal.until("<>", 2)
        terminal.press_ctrl_c()
        terminal.end()
    assert not [code for code in BAD if code in terminal.seen]


def test_a_prompt(host: FaultHost) -> None:
    with Terminal(host.main, "cleanup.instance", "0", columns=300) as terminal:
        terminal.until("[y/N]")
        terminal.type("n\n")
        terminal.end()
    assert not [code for code in BAD if code in terminal.seen]


def test_messages_of_errors(host: FaultHost) -> None:
    host.configure(host.main, **{EVIL: 1})
    for word, told in (("env.show", "error: "), ("dev.status", "note: ")):  # one goes on without these settings
        for text in (shown(host.main, word), host.main.inv(word, code=None).err):
            assert not [code for code in BAD if code in text]
            assert told in text


def test_logs_keep_colours_on_a_terminal(host: FaultHost) -> None:
    logs = host.main.path / "logs/instance-0"
    logs.mkdir(parents=True)
    (logs / "web-dev.log").write_text(f"\x1b[31mred{EVIL}\n10 %\r20 %\n", encoding="utf-8")
    words = ("dev.logs", "--no-follow", "--service", "web")
    assert host.main.inv(*words).out == "web | red<>\nweb | 10 % 20 %\n"
    text = shown(host.main, *words)
    assert "\x1b[31mred<>\x1b[0m" in text
    assert not [code for code in BAD if code in text]


@pytest.mark.embedded
def test_arguments_of_another_process(host: FaultHost) -> None:
    port = BASES["dashboard"]
    with subprocess.Popen([sys.executable, "-c", HELD, str(port), EVIL]) as process:
        try:
            wait_for(lambda: not ports.is_free(port), "the listener")
            for text in (shown(host.main, "dev", "--detach"), host.main.inv("dev", "--detach", code=4).err):
                assert str(process.pid) in text
                assert not [code for code in BAD if code in text]
        finally:
            process.kill()


READING: Sequence[Sequence[str]] = (
    ("instances",),
    ("dev.status", "--json"),
    ("env.show",),
    ("env.export",),
    ("infra.compose",),
    ("doctor",),
    ("--list",),
)


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp037", "utf-16"])
def test_any_encoding(make_host: MakeFaultHost, encoding: str) -> None:
    host = make_host()
    checkout = host.worktree(host.directory / f"ä✓ {MARKUP}")
    checkout.inv("env.show")
    for words in READING:
        done = subprocess.run(
            [str(INV), *words],
            cwd=checkout.path,
            env={**checkout.environ, "PYTHONIOENCODING": encoding},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, 1, 2), (words, done)
        assert b"Traceback" not in done.stderr, (words, done.stderr.decode())
        if "--json" in words:
            assert json.loads(done.stdout.decode(encoding.partition(":")[0]))["schema_version"] == 1


def test_names_are_never_markup(make_host: MakeFaultHost) -> None:
    host = make_host()
    checkout = host.worktree(host.directory / MARKUP.replace("/", "\\"))
    name = checkout.path.name
    for words in (("instances",), ("env.show",), ("dev.status",), ("doctor",)):
        text = shown(checkout, *words)
        assert "Traceback" not in text, text
    assert name in shown(checkout, "env.show")
    claim_named(host, MARKUP)
    assert MARKUP in shown(checkout, "instances")


def redirected(checkout: Checkout, words: str, redirection: str) -> Answer:
    done = subprocess.run(
        ["sh", "-c", f"inv {words} {redirection}"],
        cwd=checkout.path,
        env=checkout.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", ["instances", "env.export", "dev.stop"])
def test_closed_and_full_streams(make_host: MakeFaultHost, words: str) -> None:
    host = make_host()
    host.main.inv("env.show")
    usual = redirected(host.main, words, "")
    for redirection in (">&-", "<&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full"):
        answer = redirected(host.main, words, redirection)
        assert answer.code == usual.code, (redirection, answer)
        assert "Traceback" not in answer.err
        assert bool(answer.out) == bool(usual.out and ">&-" not in redirection.split())
    full = redirected(within(host.main, {}), words, ">/dev/full")
    if usual.out:
        assert full.code == 1
        assert full.err.endswith("error: cannot write to stdout: No space left on device\n"), full
