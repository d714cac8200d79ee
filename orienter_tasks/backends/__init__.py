"""What gives an instance its PostgreSQL, S3 store and nginx: one Protocol, two backends."""
