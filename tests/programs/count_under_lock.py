"""`count_under_lock.py NAME FILE TIMES`: add one to the number in a file, under a lock each time."""

from __future__ import annotations

import sys
from pathlib import Path

from orienter_tasks.machine.state import locked

counter = Path(sys.argv[2])
for _ in range(int(sys.argv[3])):
    with locked(sys.argv[1], timeout=30):
        counter.write_text(str(int(counter.read_text()) + 1))
