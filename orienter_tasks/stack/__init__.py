"""The graph of components that make up an instance, the runner that starts and stops it, and the readiness probes."""
