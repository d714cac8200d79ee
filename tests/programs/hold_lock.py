"""`hold_lock.py NAME`: take a lock, say so and keep it."""

from __future__ import annotations

import sys
import time

from orienter_tasks.machine.state import locked

with locked(sys.argv[1], timeout=5):
    sys.stdout.write("held\n")
    sys.stdout.flush()
    time.sleep(60)
