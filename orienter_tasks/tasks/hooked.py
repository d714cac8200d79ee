"""What the hook of a shell runs when something has changed; `inv` would load the checkout's tasks.py."""

from __future__ import annotations

import sys
from pathlib import Path

from orienter_tasks.commands import hook
from orienter_tasks.errors import OrienterError
from orienter_tasks.output.console import Report
from orienter_tasks.tasks.config_files import raw_settings_of

if __name__ == "__main__":
    try:
        sys.stdout.write(hook.refresh(Path(sys.argv[1]), sys.argv[2], raw_settings_of))
    except OrienterError as error:
        Report().error(error)
        sys.exit(error.exit_code)
