"""Use every standard stream, some of which were closed."""

from __future__ import annotations

import os
import sys

from orienter_tasks.machine import streams

streams.prepare()
assert os.open(os.devnull, os.O_RDONLY) > 2, "no file gets the number of a stream"
sys.stdout.write("é✓\n")
sys.stderr.write("said\n")
assert sys.stdin.read() == ""
