"""The Slack bot's place: a process without a port that runs until it is stopped. It connects to nothing."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

from examples.demo import process
from examples.demo.configuration import read_instance, require

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = logging.getLogger("demo")
TOKENS = ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN")


def main(environ: Mapping[str, str]) -> int:
    """Check that the tokens are there and wait."""
    instance = read_instance(environ)
    for name in TOKENS:
        require(environ, name)
    LOG.info("slack of instance %d is up", instance.id)
    while True:
        signal.pause()


if __name__ == "__main__":
    process.run(main)
