"""Every git worktree gets its own running stack: PostgreSQL, S3, nginx and the repo's own services."""

from __future__ import annotations

from orienter_tasks.tasks import ns

__version__ = "0.1.0"
__all__ = ["ns"]
