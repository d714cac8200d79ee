"""What is observed are real processes."""

from __future__ import annotations

from tests.processes.conftest import lab

__all__ = ["lab"]
