"""The Docker backend: the SDK instead of compose; only modules in here import docker."""
