"""Makes hosts of the stand-in: `app/` with one of the settings of `examples/orient/`, unchanged.

What differs on a test's machine stands in a file of its own, which Invoke ranks above the repository's: project, ports
and images.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.vendor import yaml

from tests.configs import merged
from tests.integration.checkouts import INV, Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.checkouts import Checkout

HERE = Path(__file__).parent
SETTINGS = HERE.parents[1] / "examples/orient/services/invoke.yaml"


class OrientHost(Host):
    """The stand-in with the settings of `examples/orient/services/`, in a home directory of its own.

    Args:
        directory: where it is made.
        backend: `embedded` or `docker`.
        changes: what this machine needs different, below `orienter:`.
        node_modules: the packages of `tests/node.py`.
        seconds: how long a command works, beside starting; without it, no longer than it must.
    """

    def __init__(
        self,
        directory: Path,
        backend: str,
        changes: Mapping[str, Any],
        node_modules: Path,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self._node_modules = node_modules
        home, ranked = directory / "home", directory / "ranked.json"
        (home / ".local/share/opencode").mkdir(parents=True)
        (home / ".local/share/opencode/auth.json").write_text("{}", encoding="utf-8")
        ranked.write_text(json.dumps({"orienter": changes}), encoding="utf-8")
        ignored = ".env\n.dev-data/\n.dev-pids/\nlogs/\nnode_modules\ndist/\n__pycache__/\n"
        files = {path.name: path for path in (HERE / "app").iterdir()}
        programs = (INV.parent, HERE / "bin", node_modules / ".bin", os.environ["PATH"])
        written = yaml.safe_load(SETTINGS.read_text())["orienter"]  # type: ignore[no-untyped-call]
        super().__init__(
            directory,
            backend,
            merged(written, changes),
            {**files, ".gitignore": ignored},
            environ={
                "HOME": str(home),
                "PATH": os.pathsep.join(map(str, programs)),
                "INVOKE_RUNTIME_CONFIG": str(ranked),
                "STAND_IN_SECONDS": json.dumps(seconds or {}),
            },
        )

    def _written(self) -> str:
        return SETTINGS.read_text()

    def _checkout(self, path: Path) -> Checkout:
        (path / "node_modules").symlink_to(self._node_modules)  # what `pnpm install` would do
        return super()._checkout(path)
