"""All infrastructure components: the built-in ones, and those that a host registers in its tasks.py."""

from __future__ import annotations

from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import MINIO, NGINX, POSTGRES, CatalogEntry


def register(entry: CatalogEntry) -> None:
    """Add a component to the infrastructure of every instance, in place of a former one of its name.

    Raises:
        ValueError: one of its names is another component's.
    """
    catalog.add(entry)


register(POSTGRES)
register(MINIO)
register(NGINX)
