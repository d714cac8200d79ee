"""What the tasks do with an instance, each in one call: start, stop, show, follow."""
