"""`stop_from_inside.py ROOT`: run as a component of instance 3 of ROOT; stop that component and another one."""

from __future__ import annotations

import sys
from pathlib import Path

from orienter_tasks.errors import CheckError
from orienter_tasks.processes import census
from orienter_tasks.processes.stop import stop_component
from tests.configs import make_instance

instance = make_instance(Path(sys.argv[1]), 3)
assert census.take().of(instance, "opencode") == [], "own ancestors are spared"
try:
    stop_component(instance, "opencode", 1.0)
except CheckError as error:
    sys.stdout.write(f"refused: {error.line()}\n")
stop_component(instance, "dashboard", 1.0)
sys.stdout.write("still here\n")
sys.stdout.flush()
sys.stdin.read()
