"""Ask whether an engine answers, and whether that has loaded Docker's SDK."""

from __future__ import annotations

import sys

from orienter_tasks.backends.docker import engine

answers = engine.answers()
sys.stdout.write(f"{answers} {any(name.split('.')[0] in ('docker', 'requests') for name in sys.modules)}\n")
