"""How each of the demo's programs begins and ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from examples.demo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def run(main: Callable[[Mapping[str, str]], int]) -> None:
    """Exit with what `main` returns for the process environment: 2 if that is wrong, 0 when told to stop."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, _leave)
    try:
        code = main(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"demo: {error}\n")
        code = 2
    sys.exit(code)


def _leave(signum: int, frame: object) -> None:  # noqa: ARG001
    sys.exit(0)
