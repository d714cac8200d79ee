"""One reading of reality: what runs of each instance, what it uses, what it takes on disk."""
