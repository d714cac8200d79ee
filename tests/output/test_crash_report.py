"""The file that an unexpected exception leaves: everything that an issue needs, and no secret."""

from __future__ import annotations

import stat

import pytest

from orienter_tasks.errors import ConfigError
from orienter_tasks.machine.state import state_dir
from orienter_tasks.output.crash_report import KEPT, write_crash_report

SETTINGS = {
    "project": "shop",
    "database": {"user": "keeper", "password": "hunter-two"},
    "services": {"bot": {"command": ["bot", "--fast"], "env": {"SLACK_TOKEN": "xoxb-123456", "MODE": "fast"}}},
}


class BugError(Exception):
    """What nobody expected."""


def crash(text: str = "boom") -> BugError:
    with pytest.raises(BugError) as caught:
        raise BugError(text)
    return caught.value


def test_it_says_what_an_issue_needs() -> None:
    text = write_crash_report(crash(), settings=SETTINGS, variables={}).read_text(encoding="utf-8")
    assert "BugError: boom" in text
    assert "test_crash_report.py" in text
    assert "orienter-tasks 0." in text
    assert "invoke " in text
    assert "orienter.project: 'shop'" in text
    assert "orienter.services.bot.command: ['bot', '--fast']" in text
    assert "orienter.services.bot.env.MODE: 'fast'" in text


def test_it_holds_no_secret() -> None:
    variables = {"POSTGRES_PASSWORD": "s3cr3t-word", "JWT_SECRET": "another-word", "HOME": "/home/dev"}
    error = crash("login postgresql://keeper:in-the-url@127.0.0.1/db with s3cr3t-word, another-word, hunter-two")
    text = write_crash_report(error, settings=SETTINGS, variables=variables).read_text(encoding="utf-8")
    for secret in ("s3cr3t-word", "another-word", "hunter-two", "xoxb-123456", "in-the-url"):
        assert secret not in text
    assert "postgresql://keeper:" in text


def test_only_its_owner_may_read_it() -> None:
    path = write_crash_report(crash(), settings=None, variables={})
    assert path.parent.parent == state_dir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_only_the_newest_are_kept() -> None:
    made = [write_crash_report(crash(), settings=None, variables={}) for _ in range(KEPT + 3)]
    assert sorted(made[0].parent.iterdir()) == made[-KEPT:]


def test_what_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORIENTER_STATE_DIR", "/dev/null/state")
    with pytest.raises(ConfigError, match="cannot"):
        write_crash_report(crash(), settings=None, variables={})
