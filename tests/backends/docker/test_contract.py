"""The Docker backend keeps what both backends promise."""

from __future__ import annotations

import pytest

from tests.backends.docker.promises import BackendContract

pytestmark = pytest.mark.docker


class TestDocker(BackendContract):
    """Against the real engine."""
