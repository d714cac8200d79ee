"""What a service begins with: files of the user's that are copied once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.services.service import ServiceComponent
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

AUTH = "share/opencode/auth.json"


@pytest.mark.parametrize("own", [False, True])
def test_opencode_keeps_its_state_apart_and_its_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    users = (tmp_path / "elsewhere" if own else tmp_path / ".local") / AUTH
    users.parent.mkdir(parents=True)
    users.write_text("token")
    monkeypatch.setenv("HOME", str(tmp_path))
    if own:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere" / "share"))
    else:
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    config = make_config(tmp_path / "checkout", services={"opencode": {"command": ["true"]}})
    service = ServiceComponent(config, "opencode", config.settings.services["opencode"], needs=(), exported={})

    env = service._program().env
    data, state = (config.instance.data_dir / "xdg" / name for name in ("data", "state"))
    assert (env["XDG_DATA_HOME"], env["XDG_STATE_HOME"]) == (str(data), str(state))
    copied = data / "opencode" / "auth.json"
    assert (copied.read_text(), copied.stat().st_mode & 0o777) == ("token", 0o600)

    copied.write_text("another login")
    service._program()
    assert copied.read_text() == "another login"
    copied.unlink()
    users.unlink()
    service._program()
    assert not copied.exists()
