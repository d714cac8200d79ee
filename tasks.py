"""This repository is a host of its own tasks: `inv dev` starts the demo application."""

from orienter_tasks import ns

__all__ = ["ns"]
