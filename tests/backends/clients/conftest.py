"""The clients meet the servers of the embedded backend."""

from __future__ import annotations

from tests.backends.embedded.conftest import config, lab

__all__ = ["config", "lab"]
