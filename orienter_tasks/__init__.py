"""Every git worktree gets its own running stack: PostgreSQL, S3, nginx and the repo's own services."""

__version__ = "0.1.0"
