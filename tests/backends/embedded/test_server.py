"""A native server that cannot even be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.backends.embedded.server import Launch, Server
from orienter_tasks.errors import BackendError
from orienter_tasks.settings.model import Logs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeInstance

OTHER_SYSTEM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x00\xff" + bytes(100)


@pytest.mark.parametrize("content", [OTHER_SYSTEM, b"#!/nonexistent/interpreter\n"])
def test_a_program_of_another_system_is_named(make_instance: MakeInstance, tmp_path: Path, content: bytes) -> None:
    """Also where it is started directly, as for an ordinary user, and not by a program that hands over to it."""
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    server = Server(make_instance(), "postgres", tmp_path, Logs())
    with pytest.raises(BackendError, match=f"{program} cannot run here"):
        server.launch(Launch(program, ("--version",), [str(program)], env={}))
