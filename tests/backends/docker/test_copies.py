"""Archives of data that an engine sends, some of them cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.backends.docker.resources import Resources
from orienter_tasks.data.store import Unfinished
from orienter_tasks.errors import CheckError
from orienter_tasks.infra.container_copies import END, ContainerCopies

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from tests.backends.docker.lab import DockerLab


@pytest.mark.docker
def test_an_archive_is_read_whole_or_refused(
    lab: DockerLab, config: InstanceConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Resources(config, lab.engine).ensure_volume("minio")
    api: Any = shared().api
    get, lengths, sent = api.get_archive, [0], [b""]

    def cut(container: str, path: str) -> tuple[list[bytes], Any]:
        chunks, stat = get(container, path)
        sent.append(b"".join(chunks))
        return [sent[-1][: lengths.pop()] if lengths else sent[-1]], stat

    monkeypatch.setattr(api, "get_archive", cut)
    ContainerCopies(config).save(["minio"], Unfinished(tmp_path, 0))
    assert (tmp_path / "minio.tar").read_bytes() == sent[-1]

    (tmp_path / "minio.tar").unlink()
    lengths += [-len(END), 0]
    with pytest.raises(CheckError, match="the data of minio of instance 0") as caught:
        ContainerCopies(config).save(["minio"], Unfinished(tmp_path, 0))
    assert caught.value.details == ("the engine did not send the whole archive",)
