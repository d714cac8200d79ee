"""`claim_at_once.py ROOT…`: a process for each checkout claims an id; all begin at the same moment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity.allocation import IdRequest
from orienter_tasks.identity.claims import Claims
from orienter_tasks.identity.resolve import resolve
from orienter_tasks.settings.load import load_settings

gate, opens = os.pipe()


def claim(root: Path) -> str:
    request = IdRequest(
        root=root,
        settings=load_settings(None),
        environ={},
        dotenv={},
        note=lambda text: None,
        unbindable=lambda port, backend: False,
        leftovers=lambda claim: True,
    )
    os.close(opens)
    os.read(gate, 1)  # until the last one closes its end
    try:
        return f"{root.name} {resolve(request, Claims()).id} 0"
    except OrienterError as error:
        return f"{root.name} - {error.exit_code}"


children = []
for root in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        os.write(1, (claim(Path(root)) + "\n").encode())
        os._exit(0)
    children.append(child)
os.close(opens)
for child in children:
    os.waitpid(child, 0)
