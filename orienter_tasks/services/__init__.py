"""The host's own part of the graph: its services, the hooks that run before them, and machine-wide leases."""
