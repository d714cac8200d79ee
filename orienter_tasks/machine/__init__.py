"""This machine: the state directory with its locks, ports, signals, and what git says about a checkout."""
