from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orienter_tasks.infra.copies import ServerCopies
from orienter_tasks.instance.backends import Backends
from tests.configs import make_config

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.infra.copying import Copies


def test_threads_that_load_components_share_what_is_prepared(tmp_path: Path) -> None:
    threads, config = 8, make_config(tmp_path)
    for _ in range(50):
        copies = ServerCopies(Backends("embedded"), config)

        def one(_: int, copies: ServerCopies = copies) -> Copies:
            return copies.of("postgres")

        with ThreadPoolExecutor(threads) as pool:
            assert len({id(found) for found in pool.map(one, range(threads))}) == 1
