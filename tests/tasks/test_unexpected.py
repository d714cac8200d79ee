"""An exception that nothing foresaw: exit 70 and one line that names a private report, from the real `inv`."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from orienter_tasks.machine.state import is_locked, state_dir
from tests import programs, slot
from tests.configurations import settled
from tests.integration.checkouts import INV, Host

SECRETS = ("s3cr3t-word", "xoxb-123456", "other-word", "in-the-url")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    services = {"bot": {"command": ["bot"], "env": {"BOT_PASSWORD": "other-word", "MODE": "fast"}}}
    orienter = {"project": "crashing", "ports": slot.bases(), "services": services}
    made = Host(tmp_path / "home", "", orienter, {"tasks.py": programs.path_of("crashing_tasks")})
    settled(made.main, SLACK_TOKEN="xoxb-123456", JWT_SECRET="from-dotenv")
    return made.main.path


def inv(host: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "JWT_SECRET": "s3cr3t-word", **environ}
    return subprocess.run([str(INV), *words], cwd=host, env=env, capture_output=True, text=True, check=False)


def report_of(done: subprocess.CompletedProcess[str]) -> Path:
    found = re.search(r"; a report for an issue is in (\S+)$", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return Path(found[1])


def test_one_line_names_a_private_report_without_secrets(host: Path) -> None:
    done = inv(host, "instances")

    assert (done.returncode, done.stdout) == (70, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: unexpected KeyError: (")
    assert hint == "hint: look at it, then paste it into an issue, or see the traceback with ORIENTER_TRACEBACK=1"
    report = report_of(done)
    assert report.parent == state_dir() / "crashes"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    text = report.read_text(encoding="utf-8")
    assert "inv instances" in text
    assert "in broken" in text
    assert "orienter.services.bot.env.MODE: 'fast'" in text
    for secret in SECRETS:
        assert secret not in text + done.stderr


def test_the_traceback_is_shown_on_request(host: Path) -> None:
    done = inv(host, "instances", ORIENTER_TRACEBACK="1")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert "KeyError" in done.stderr
    assert not (state_dir() / "crashes").exists()


def test_the_traceback_is_shown_where_no_report_can_be_written(host: Path) -> None:
    (state_dir() / "crashes").parent.mkdir(parents=True, exist_ok=True)
    (state_dir() / "crashes").write_text("a file is in the way", encoding="utf-8")
    done = inv(host, "instances")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert "KeyError" in done.stderr


def test_what_the_run_began_is_undone_first(host: Path) -> None:
    done = inv(host, "dev.stop")
    assert done.returncode == 70
    assert done.stderr.startswith("error: unexpected ValueError: first second; a report")
    assert report_of(done).is_file()
    assert not is_locked("crashing-0")
    assert not list((state_dir() / "locks").glob("*.holder"))


def test_a_task_of_the_host_keeps_its_traceback(host: Path) -> None:
    done = inv(host, "own")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not (state_dir() / "crashes").exists()


def test_a_report_does_not_need_a_readable_dotenv(host: Path) -> None:
    (host / ".env").write_bytes(b"\xff\xfe")
    done = inv(host, "instances")
    assert done.returncode == 70
    assert report_of(done).is_file()
