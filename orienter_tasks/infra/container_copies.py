"""Copies of a Docker instance's data: directories in its volumes, and archives in snapshots.

Containers of the components' own images do all of it, and are removed afterwards. Nothing is mounted from this machine,
so the engine may be elsewhere.
"""

from __future__ import annotations

import io
import tarfile
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from msgspec.structs import replace

from orienter_tasks.backends.docker import images, locality, survey
from orienter_tasks.backends.docker.container import create_container, redacted
from orienter_tasks.backends.docker.engine import WORK_SECONDS, shared
from orienter_tasks.backends.docker.logs import read_log
from orienter_tasks.backends.docker.oneoff import running_id
from orienter_tasks.backends.docker.resources import Resources, require_unused, volume_sizes
from orienter_tasks.backends.docker.spec import Mount
from orienter_tasks.data import tree
from orienter_tasks.data.manifest import Part
from orienter_tasks.data.room import Need
from orienter_tasks.errors import CheckError, NotFoundError, OrienterError
from orienter_tasks.identity import replacing
from orienter_tasks.identity.claims import new_token
from orienter_tasks.identity.replacing import Swap
from orienter_tasks.infra.all import component as kind, copying
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import failure
from orienter_tasks.machine.threads import map_in_threads, map_in_turn
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import LogRequest, last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.store import Unfinished
    from orienter_tasks.infra.copying import Copies, Script
    from orienter_tasks.settings.model import Settings

SOURCE, TARGET = "/orienter/source", "/orienter/target"
FILES = "data"
SLOWEST = 5_000_000  # bytes a second that an engine is trusted to unpack
COPIED = "/tmp/orienter-copied"  # noqa: S108 - in a container
SO_FAR = "kB so far: "
BEFORE = f"""\
copied() {{
    touch {COPIED}
}}
(while sleep 1; do echo "{SO_FAR}$(du -sk "$TARGET" 2>/dev/null | cut -f1)"; done) &
"""
POLL_SECONDS = 0.03
TAIL_LINES = 15
END = bytes(1024)  # of an archive
READS = 2
CLEAR = 'cd "$TARGET" && find . -mindepth 1 -maxdepth 1 {which} -exec rm -rf {{}} +'


class ContainerCopies:
    """The copies of one Docker instance's data."""

    def __init__(self, config: InstanceConfig) -> None:
        self.config = config
        self._engine: Engine = shared()
        self._run = new_token()
        self._prepared: list[str] = []
        self._new: list[str] = []
        self._working: list[str] = []
        self._moving: list[IO[bytes]] = []

    def running(self) -> Sequence[str]:
        return [name for name in catalog.with_data() if running_id(self._engine, self.config, name)]

    def get_ready(self) -> None:
        self._engine.load_soon()

    def sizes(self, components: Sequence[str]) -> Mapping[str, int]:
        known = volume_sizes(self._engine)
        found = {name: known.get(self.config.instance.volume(name)) for name in components}
        return {name: size for name, size in found.items() if size is not None}

    def server(self, component: str) -> str:
        instance, script = self.config.instance, copying(component).server_script()
        if not script:
            return ""
        source = Mount("volume", instance.volume(component), SOURCE, "ro")
        environment = {"SOURCE": replacing.path_in(SOURCE, instance, component)}
        with self._container(component, script, environment, (source,)) as one:
            return self._finish(component, one)

    def reader(self, component: str) -> str:
        script = copying(component).reader_script()
        if not script or not self.image_for(component):
            return ""
        with self._container(component, script, {}, ()) as one:
            return self._finish(component, one)

    def room(self) -> Path | None:
        return locality.directory_of(self._engine)

    def needs(self, sizes: Mapping[str, int], room: Path | None) -> Sequence[Need]:
        """A snapshot is in a container before it is in its file."""
        places = dict.fromkeys((self.room(), room))
        return [Need(place, sum(sizes.values())) for place in places if place is not None]

    def copied(self) -> int:
        moved = [file.tell() for file in self._moving if not file.closed]
        if moved:
            return sum(moved)
        said = [line for one in self._working for line in read_log(self._engine, one, LogRequest(lines=1))]
        return sum(int(line.removeprefix(SO_FAR)) for line in said if line.startswith(SO_FAR)) * 1024

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        return map_in_turn(lambda component, copied: self._save(component, unfinished, copied), components)

    def _save(self, component: str, unfinished: Unfinished, copied: Callable[[], None]) -> Part:
        with self.copier(component, self.config, f"{TARGET}/{FILES}") as container:
            server = self._finish(component, container, copied)
            self._read(component, container, unfinished.place / f"{component}.tar")
        content = tree.write_checksums(unfinished.place, component)
        made = Part.of(component, server, content, copying(component).names(self.config))
        return replace(made, image=self.image_of(component) or self.image_for(component))

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        tree.verify(place, part, what)
        with self._taking_over(component, part.facts) as container:
            self._write(container, place / f"{component}.tar")
            self._finish(component, container)

    def clone(self, components: Sequence[str], source: Copies) -> None:
        if not isinstance(source, ContainerCopies):
            raise TypeError(source)
        map_in_turn(lambda component, copied: self._clone(component, source, copied), components)

    def _clone(self, component: str, source: ContainerCopies, copied: Callable[[], None]) -> None:
        """Copy and take over in one container, if the source's server is of the image that this instance has."""
        names, target = copying(component).names(source.config), f"{TARGET}/{self._run}/{FILES}"
        volume, image = self._volume(component), source.image_of(component)
        one = image in ("", self.image_for(component))
        script = copying(component).take_over_script(self.config, names) if one else None
        with source.copier(component, self.config, target, volume, script) as container:
            self._finish(component, container, copied)
        if not one:
            with self._taking_over(component, names) as container:
                self._finish(component, container)

    @contextmanager
    def swapping(self) -> Iterator[Swap]:
        for component in self._prepared:
            require_unused(self._engine, self.config.instance.volume(component), remedy="remove it first")
        yield Swap(directories=dict.fromkeys(self._prepared, f"{self._run}/{FILES}"))

    def discard(self) -> None:
        """Remove what is of no use; whatever cannot be removed now goes with the next swap."""
        map_in_threads(self._clear, self._prepared)

    def _clear(self, component: str) -> None:
        swapped = replacing.directory_in(self.config.instance, component).startswith(self._run)
        if swapped and component in self._new:
            return
        which = f'{"! " if swapped else ""}-name "{self._run}"'
        mounts = (Mount("volume", self.config.instance.volume(component), TARGET),)
        environment = {"TARGET": TARGET}
        with suppress(OrienterError), self._container(component, CLEAR.format(which=which), environment, mounts) as one:
            self._finish(component, one)

    def _volume(self, component: str) -> Mount:
        """Return the volume in which a component's data is prepared."""
        new = Resources(self.config, self._engine).ensure_volume(component)
        if component not in self._prepared:
            self._prepared.append(component)
            if new:
                self._new.append(component)
        return Mount("volume", self.config.instance.volume(component), TARGET)

    def image_of(self, component: str) -> str:
        """Return the id of the image of a component's container; "" if that does not run."""
        container = running_id(self._engine, self.config, component)
        found = survey.container(self._engine, container) if container is not None else None
        return str(found["Image"]) if found is not None else ""

    def image_for(self, component: str) -> str:
        """Return the id of the image that a component's container would have; "" if it is to be pulled first."""
        image = kind(component).container(self.config, _nowhere).image
        with suppress(NotFoundError), self._engine.talking(f"inspect image {image}"):
            return str(self._engine.reader.inspect_image(image)["Id"])
        return ""

    @contextmanager
    def copier(
        self,
        component: str,
        owner: InstanceConfig,
        target: str,
        volume: Mount | None = None,
        then: Script | None = None,
    ) -> Iterator[str]:
        """Yield a container of a component's image, labelled as another's, that copies the data once it runs."""
        instance, name = self.config.instance, self.config.instance.volume(component)
        if name not in Resources(self.config, self._engine).volumes():
            raise NotFoundError(f"{instance} has no data of {component}", hint="inv infra.up makes it")
        container = running_id(self._engine, self.config, component)
        script = copying(component).copy_script(self.config, running=container is not None)
        text, environment = f"{BEFORE}{script.text}", dict(script.environment)
        if then is not None:
            text, environment = f"{text}{then.text}", {**environment, **then.environment}
        environment |= {"SOURCE": replacing.path_in(SOURCE, instance, component), "TARGET": target}
        source = Mount("volume", name, SOURCE, "ro")
        mounts = (source, volume) if volume is not None else (source,)
        network = f"container:{container}" if container is not None else "none"
        image = self.image_of(component)
        with self._container(component, text, environment, mounts, owner, network=network, image=image) as one:
            yield one

    @contextmanager
    def _taking_over(self, component: str, names: Mapping[str, str]) -> Iterator[str]:
        """Yield a container that gives the prepared data the instance's names and passwords, once it runs."""
        script: Script = copying(component).take_over_script(self.config, names)
        environment = {**script.environment, "TARGET": f"{TARGET}/{self._run}/{FILES}"}
        with self._container(component, script.text, environment, (self._volume(component),)) as container:
            yield container

    @contextmanager
    def _container(
        self,
        component: str,
        text: str,
        environment: Mapping[str, str],
        mounts: tuple[Mount, ...],
        owner: InstanceConfig | None = None,
        *,
        network: str = "none",
        image: str = "",
    ) -> Iterator[str]:
        """Create a container for a script, and remove it at the end."""
        owner = owner or self.config
        spec = replace(
            kind(component).container(self.config, _nowhere),
            labels=kind(component).container(owner, _nowhere).labels,
            entrypoint=("sh", "-c"),
            command=(text,),
            environment=environment,
            mounts=mounts,
            ports=(),
            network=network,
            prelude="",
        )
        if image:
            spec = replace(spec, image=image)
        else:
            images.ensure(self._engine, spec.image, spec.image_key, lambda _: None)
        container = create_container(self._engine, owner.instance, spec, one_off=True)
        try:
            yield container
        finally:
            with (
                suppress(NotFoundError),
                self._engine.talking(f"remove the container of {component}", work=WORK_SECONDS),
            ):
                self._engine.api.remove_container(container, force=True, v=True)

    def _finish(self, component: str, container: str, copied: Callable[[], None] | None = None) -> str:
        """Run a container to its end, and return the last line that it printed; tell as soon as it has copied."""
        with self._engine.talking(f"start a container of {component}", work=WORK_SECONDS):
            self._engine.api.start(container)
        self._working.append(container)
        state: Mapping[str, Any] = {"Running": True}
        while state["Running"]:
            time.sleep(POLL_SECONDS)
            raise_unheard()
            if copied is not None and self._has_copied(container):
                copied()
                copied = None
            found = survey.container(self._engine, container)
            if found is None:
                raise CheckError(f"the container that copied {component} of {self.config.instance} was removed")
            state = found["State"]
        self._working.remove(container)
        said = read_log(self._engine, container, LogRequest(lines=TAIL_LINES))
        lines = [line for line in last(said) if not line.startswith(SO_FAR)]
        if state["ExitCode"] != 0:
            raise self._failed(component, redacted(self.config, lines))
        return lines[-1] if lines else ""

    def _has_copied(self, container: str) -> bool:
        # Podman also refuses where the container is about to end, which is noticed anyway
        with suppress(NotFoundError, CheckError), self._engine.talking(f"look at {COPIED}"):
            return self._engine.reader.path_stat(container, COPIED) is not None
        return False

    def _read(self, component: str, container: str, file: Path) -> None:
        """Write the archive of what a container has copied, whole.

        Podman unmounts a container a moment after it has ended. If that comes between the beginning of its answer and
        the packing, it sends nothing, and only its log says why. For the next answer it mounts the container anew.
        """
        try:
            with file.open("x+b") as archive:
                self._moving.append(archive)
                for _ in range(READS):
                    archive.seek(0)
                    archive.truncate()
                    archive.writelines(self._packed(container, f"{TARGET}/{FILES}"))
                    archive.seek(max(archive.tell() - len(END), 0))
                    if archive.read() == END:
                        return
        except OSError as error:
            raise failure(file, f"cannot write {file}", error) from error
        raise self._failed(component, ["the engine did not send the whole archive"])

    def _packed(self, container: str, path: str) -> Iterator[bytes]:
        with self._engine.talking(f"read {path}", work=WORK_SECONDS):
            chunks, _ = self._engine.api.get_archive(container, path)
            yield from chunks

    def _failed(self, component: str, details: Sequence[str]) -> CheckError:
        return CheckError(f"the data of {component} of {self.config.instance} cannot be copied", details=details)

    def _write(self, container: str, file: Path) -> None:
        with self._engine.talking(f"write into {TARGET}", work=WORK_SECONDS):
            self._engine.api.put_archive(container, TARGET, _directory(self._run))
        seconds = WORK_SECONDS + file.stat().st_size / SLOWEST
        with self._engine.talking(f"write into {TARGET}", work=seconds), file.open("rb") as archive:
            self._moving.append(archive)
            self._engine.api.put_archive(container, f"{TARGET}/{self._run}", archive)


def with_image(settings: Settings, component: str, image: str) -> Settings:
    """Return settings with that image of a component, if the engine has it."""
    known = image and hasattr(settings.docker, component) and images.is_here(shared(), image)
    return replace(settings, docker=replace(settings.docker, **{component: image})) if known else settings


def _nowhere() -> Placement:
    raise TypeError("no component with data asks where nginx runs")


def _directory(name: str) -> bytes:
    """Return an archive of an empty directory."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    return content.getvalue()
