"""`nameless.py ROOT PORT`: start the servers of an instance, ask the database, and stop them."""

from __future__ import annotations

import sys
from pathlib import Path

from orienter_tasks.infra.embedded import EmbeddedBackend
from tests.backends.contract import down, make_config, sql, up

config = make_config(Path(sys.argv[1]), int(sys.argv[2]))
backend = EmbeddedBackend(config)
up(backend, config)
sys.stdout.write(f"{sql(config, 'SELECT 1')}\n")
down(backend)
