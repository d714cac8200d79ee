"""Copying the S3 store's objects: as files, while it runs or not.

An object gets its name once it is whole, so each that is copied is whole. What a store keeps beside the files is lost:
of rclone content types and metadata, which it forgets when it ends; of MinIO the settings of a renamed bucket.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orienter_tasks.data import tree
from orienter_tasks.errors import CheckError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.copying import Copying, Script
from orienter_tasks.machine.directories import remove
from orienter_tasks.settings.catalog import MINIO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig

UNFINISHED = ".rclone_temp_"

COPY = """\
set -e
mkdir -p "$TARGET"
cp -a "$SOURCE/." "$TARGET" 2>/tmp/said || true
if grep -v 'No such file or directory' /tmp/said >&2; then  # what is removed meanwhile is not copied
    exit 1
fi
copied
find "$TARGET" -name '.rclone_temp_*' -exec rm -f {} +
if [ -d "$TARGET/$MARK" ]; then echo MinIO; else echo rclone; fi
"""
TAKE_OVER = """\
set -e
cd "$TARGET"
if [ "$FORMER" != "$BUCKET" ] && [ -d "./$FORMER" ]; then
    if [ -e "./$BUCKET" ]; then
        echo "the copy has a bucket $BUCKET already" >&2
        exit 1
    fi
    mv "./$FORMER" "./$BUCKET"
    rm -rf "./$MARK/buckets/$FORMER"
fi
"""


class StorageCopying(Copying):
    """Copies the S3 store's objects; `programs.store` finds the store that has written them.

    Args:
        mount: where a container has them.
        mark: the directory that only MinIO makes beside them.
    """

    def __init__(self, mount: str, mark: str) -> None:
        self._mount = mount
        self._mark = mark

    def names(self, config: InstanceConfig) -> dict[str, str]:
        return {"bucket": config.variables["S3_BUCKET"]}

    def place(self, working: Path) -> Path:
        return working / "data"

    def server(self, data: Path) -> str:
        return "MinIO" if (data / self._mark).exists() else "rclone"

    def copies_files(self, *, running: bool) -> bool:
        del running
        return True

    def copy(self, config: InstanceConfig, target: Path, lock: int, *, running: bool) -> None:
        del lock, running
        source = self.place(volumes.working_dir(config.instance, MINIO.name).resolve())
        tree.copy(source, target, leave_out=lambda name: name.startswith(UNFINISHED))

    def check(self, config: InstanceConfig, target: Path, lock: int) -> None:
        """Do nothing: an object is whole if it is there."""

    def take_over(self, config: InstanceConfig, data: Path, names: Mapping[str, str]) -> None:
        former, bucket = data / names["bucket"], data / config.variables["S3_BUCKET"]
        if former == bucket or not former.is_dir():
            return
        if os.path.lexists(bucket):
            raise CheckError(f"the copy for {config.instance} has a bucket {bucket.name} already")
        former.rename(bucket)
        remove(data / self._mark / "buckets" / former.name)

    def mount(self) -> str:
        return self._mount

    def copy_script(self, config: InstanceConfig, *, running: bool) -> Script:
        del config, running
        return Script(COPY, {"MARK": self._mark})

    def server_script(self) -> str:
        return ""

    def take_over_script(self, config: InstanceConfig, names: Mapping[str, str]) -> Script:
        return Script(
            TAKE_OVER, {"MARK": self._mark, "FORMER": names["bucket"], "BUCKET": config.variables["S3_BUCKET"]}
        )
