"""The embedded backend: a private PostgreSQL, S3 store and nginx as native processes, no Docker and no root."""
