"""`nameless.py ROOT PORTS`: start the servers of an instance, ask the database, and stop them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orienter_tasks.infra.embedded import EmbeddedBackend
from tests.backends.contract import down, sql, up
from tests.configs import make_config

config = make_config(Path(sys.argv[1]), ports=json.loads(sys.argv[2]))
backend = EmbeddedBackend(config)
up(backend, config)
sys.stdout.write(f"{sql(config, 'SELECT 1')}\n")
down(backend)
