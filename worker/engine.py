"""The container engine, through Docker's SDK: the few calls that the worker makes, with errors of ours.

One connection pool for the whole process; the SDK's client is safe to share among threads. `DOCKER_HOST` says
where the engine is, as for every Docker tool.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import docker  # type: ignore[import-untyped]
import docker.errors  # type: ignore[import-untyped]
import docker.utils.socket  # type: ignore[import-untyped]
import requests.exceptions

from prixfixe.errors import EngineError
from worker import holder
from worker.containers import (
    CONTAINER_PREFIX,
    ContainerState,
    EngineLost,
    ImageMissing,
    NameTaken,
    NotThere,
    Refused,
    holder_name,
)
from worker.whereabouts import require_usable

log = logging.getLogger("prixfixe.worker")

# Long enough for a slow engine to load an image, short enough that a dead one is noticed.
_TIMEOUT_SECONDS: Final = 120
_LATE_SECONDS: Final = 1.0  # after a container's end, in which the engine may still hear why
_CHUNK_BYTES: Final = 1 << 20
_STDERR: Final = 2
_HEADER: Final = struct.Struct(">BxxxL")


class Stream:
    """Output of a container as it comes: pairs (is it standard error?, bytes). Close it when read."""

    def __init__(self, pieces: Iterator[tuple[bool, bytes]], close: Callable[[], None]) -> None:
        self._pieces = pieces
        self._close = close

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        return self._pieces

    def close(self) -> None:
        """The SDK leaves this to the garbage collector, and the connection open until then."""
        self._close()


class _Client(docker.APIClient):  # type: ignore[misc]
    def merge_environment_settings(self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """An engine's certificate is checked by its own authority (DOCKER_CERT_PATH), whatever the
        environment names for other programs."""
        own = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, own, cert)


class Engine:
    """A running engine. Every call raises `EngineError` (the provider's fault) when it is silent or
    refuses."""

    def __init__(self, *, connections: int = 16) -> None:
        require_usable()
        with _translated("reach the engine"):
            self._api = _Client(
                **docker.utils.kwargs_from_env(),
                version="auto",
                timeout=_TIMEOUT_SECONDS,
                max_pool_size=connections,
            )

    def ping(self) -> None:
        """EngineLost when it does not answer."""
        with _translated("reach the engine"):
            self._api.ping()

    def info(self) -> dict[str, Any]:
        """The engine's own description of itself."""
        with _translated("ask the engine what it is"):
            return dict(self._api.info())

    @cached_property
    def runtimes(self) -> frozenset[str]:
        """Names of its runtimes, as they were when it was first asked."""
        return frozenset(self.info().get("Runtimes") or ())

    def image_id(self, name: str) -> str | None:
        """The id of the image that the engine has under this name, or None."""
        try:
            with _translated("look for an image"):
                return str(self._api.inspect_image(name)["Id"])
        except ImageMissing:
            return None

    def image_config(self, image: str) -> dict[str, Any] | None:
        """The configuration of an image that the engine has under exactly this id, or by exactly this digest
        of a registry (`NAME@sha256:...`); None when it has not."""
        try:
            with _translated("look for an image"):
                found = self._api.inspect_image(image)
        except ImageMissing:
            return None
        is_it = image in (found.get("RepoDigests") or ()) if "@" in image else found["Id"] == image
        return dict(found.get("Config") or {}) if is_it else None

    def image_size(self, image: str) -> int:
        """Bytes of an image with all its layers, those that it shares with others among them."""
        with _translated("look for an image"):
            return int(self._api.inspect_image(image)["Size"])

    def remove_image(self, image: str) -> bool:
        """Delete an image, or its name when it has another. False when a container has it; one that is gone
        is no error."""
        try:
            with suppress(ImageMissing, NotThere), _translated("remove an image"):
                self._api.remove_image(image, force=False)
        except Refused:
            return False
        return True

    def load_image(self, archive: Iterable[bytes]) -> None:
        """Read an archive made by `docker save`, streamed."""
        with _translated("load an image"):
            for line in self._api.load_image(archive):
                if isinstance(line, dict) and line.get("error"):
                    raise EngineError(f"the engine could not load the image: {line['error']}")

    def pull(self, image: str) -> None:
        """Fetch an image from its registry by its digest, `NAME@sha256:...`; the engine checks the digest.
        The customer's mistake when the registry does not have it, or not for anyone; a registry that does not
        answer may answer another machine. The engine's own words stay in this log: a name may point into the
        provider's network, and its customer would read there who listens."""
        try:
            with _translated("pull an image"):
                for line in self._api.pull(image, stream=True, decode=True):
                    if line.get("error"):
                        raise EngineError(f"could not pull an image: {line['error']}")
        except EngineLost:
            raise
        except EngineError as error:
            log.warning("%s: %s", image, error.message[:500])
            said = [word for word in _NOT_SERVED if word in error.message]
            if said or isinstance(error, NotThere):
                raise _not_pulled(said[0] if said else "not found") from error
            raise EngineError(
                "the image could not be pulled: its registry gave no usable answer",
                code="registry-silent",
                retryable=True,
            ) from error

    def create(self, request: dict[str, Any], name: str) -> str:
        """Make a container; its id. One of the same name that an earlier try left is removed first."""
        try:
            with _translated("create the container"):
                return str(self._api.create_container_from_config(request, name)["Id"])
        except NameTaken:
            self._remove_one(name)  # and not its namespace, which was made just now
            with _translated("create the container"):
                return str(self._api.create_container_from_config(request, name)["Id"])

    def attach(self, container: str) -> Stream:
        """Output of a container from now until it ends."""
        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        with _translated("attach to the container"):
            connection = self._api.attach_socket(container, params=wanted)
        response = getattr(connection, "_response", None)

        def close() -> None:
            if response is not None:
                response.close()
            connection.close()

        frames = docker.utils.socket.frames_iter(connection, tty=False)
        return Stream(((number == _STDERR, data) for number, data in frames), close)

    def follow(self, container: str, *, to_end: bool = True) -> Stream:
        """Output of a container from its beginning until it ends, or until now, from the engine's own bounded
        log.

        Not an attach that asks for the past as well: engine 20.10 then leaves the past out now and then.
        """
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container}/logs"
        with _translated("read the container's log"):
            response = self._api.get(
                url, params={"stdout": 1, "stderr": 1, "follow": int(to_end)}, stream=True, timeout=None
            )
            response.raise_for_status()
        return Stream(_frames(response.iter_content(chunk_size=None)), response.close)

    def start(self, container: str) -> None:
        with _translated("start the container"):
            self._api.start(container)

    def wait(self, container: str, timeout: float) -> None:
        """Until it is not running, at most `timeout` seconds."""
        with _translated("wait for the container"):
            self._api.wait(container, timeout=max(1, int(timeout)))

    def kill(self, container: str) -> None:
        """SIGKILL to all of it. One that is over already, or gone, is no error."""
        with suppress(NotThere, Refused), _translated("kill the container"):
            self._api.kill(container, signal="SIGKILL")

    def state(self, container: str) -> ContainerState | None:
        """None when there is no such container."""
        try:
            with _translated("inspect the container"):
                found = self._api.inspect_container(container)
        except NotThere:
            return None
        state = found["State"]
        return ContainerState(
            id=str(found["Id"]),
            status=str(state["Status"]),
            exit_code=int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
            error=str(state.get("Error") or ""),
            started_at=str(state["StartedAt"]),
        )

    def ran_out_of_memory(self, container: str) -> bool:
        """Whether the engine heard, by now or a moment later, that a process of a container that is over was
        killed for memory. Its state says so only when it heard it before the end; 20.10 hears it afterwards
        in one case of ten on a busy machine."""
        wanted = {"container": container, "event": "oom"}
        with _translated("read the engine's events"):
            ended = self._api.inspect_container(container)["State"]["FinishedAt"]
            # By the engine's own clock, which may be another than ours: it waits until then.
            until = f"{datetime.fromisoformat(ended).timestamp() + _LATE_SECONDS:.3f}"
            events = self._api.events(since=0, until=until, filters=wanted, decode=True)
            with closing(events):
                return any(True for _ in events)

    def remove(self, container: str) -> None:
        """Kill and delete it with its anonymous volumes, and what holds its namespace. One that is gone is no
        error."""
        self._remove_one(container)
        if container.startswith(CONTAINER_PREFIX):
            self._remove_one(holder_name(container))

    def _remove_one(self, container: str) -> None:
        with suppress(NotThere), _translated("remove the container"):
            self._api.remove_container(container, force=True, v=True)

    def hold(self, request: dict[str, Any], name: str) -> str:
        """Start the container that holds a namespace (`worker.holder`), its image made if need be."""
        try:
            container = self.create(request, name)
        except ImageMissing:
            repository, _, tag = holder.IMAGE.partition(":")
            with _translated("make the holder's image"):
                self._api.import_image_from_data(holder.archive(), repository=repository, tag=tag)
            container = self.create(request, name)
        self.start(container)
        return container

    def pid(self, container: str) -> int:
        """Of a running container's first process, in the engine's own namespace of processes; 0: not
        running."""
        with _translated("inspect the container"):
            return int(self._api.inspect_container(container)["State"]["Pid"])

    def make_volume(self, name: str, options: dict[str, str]) -> None:
        """One of the engine's own driver."""
        with _translated("make a volume"):
            self._api.create_volume(name, driver="local", driver_opts=options)

    def remove_volume(self, name: str) -> None:
        """Refused while something uses it; one that is gone is no error."""
        with suppress(NotThere), _translated("remove a volume"):
            self._api.remove_volume(name)

    def put(self, container: str, place: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar, streamed, in a folder of a container."""
        with _translated("send files to the engine"):
            self._api.put_archive(container, place, archive)

    @contextmanager
    def archive(self, container: str, place: str) -> Iterator[Iterable[bytes]]:
        """A tar of a folder of a container, as it comes. What is not read is not sent."""
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container}/archive"
        doing = "fetch files from the engine"
        with _translated(doing):
            answer = self._api.get(url, params={"path": place}, stream=True, timeout=_TIMEOUT_SECONDS)
        with closing(answer):
            with _translated(doing):
                self._api._raise_for_status(answer)
            yield _pieces(answer, doing)  # what its reader does is not the engine's

    def labelled(self, label: str, value: str) -> dict[str, dict[str, str]]:
        """Containers with a label, running or not: id -> all labels."""
        with _translated("list containers"):
            found = self._api.containers(all=True, filters={"label": [f"{label}={value}"]})
        return {str(entry["Id"]): dict(entry.get("Labels") or {}) for entry in found}

    def close(self) -> None:
        self._api.close()


def _pieces(answer: Any, doing: str) -> Iterator[bytes]:
    with _translated(doing):
        yield from answer.iter_content(_CHUNK_BYTES)


def _frames(chunks: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The engine's frames: a byte for the stream, three of nothing, four of length, then the data."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        while len(kept) >= _HEADER.size:
            number, size = _HEADER.unpack_from(kept)
            if len(kept) < _HEADER.size + size:
                break
            yield number == _STDERR, bytes(kept[_HEADER.size : _HEADER.size + size])
            del kept[: _HEADER.size + size]


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageMissing(f"could not {doing}: {_reason(error)}") from error
    except docker.errors.NotFound as error:
        # A create for an image that is missing is a plain 404 in some engines.
        kind = ImageMissing if "image" in _reason(error).lower() else NotThere
        raise kind(f"could not {doing}: {_reason(error)}") from error
    except docker.errors.APIError as error:
        reason = _reason(error)
        if error.status_code == 409:
            kind_409 = NameTaken if "already in use" in reason else Refused
            raise kind_409(f"could not {doing}: {reason}") from error
        if "no command specified" in reason.lower():
            raise EngineError(
                "the image says no command, and the order gives none",
                code="image-no-command",
                hint="write the command after `--`",
                fault="customer",
            ) from error
        raise EngineError(f"could not {doing}: {reason}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise EngineLost(f"could not {doing}: the container engine does not answer") from error


# What registries say of what they do not have, or not for anyone; engines pass it on as a fault of their own.
_NOT_SERVED: Final = ("manifest unknown", "name unknown", "denied", "unauthorized", "not found")


def _not_pulled(why: str) -> EngineError:
    return EngineError(
        f"the image could not be pulled: the registry said {why!r}",
        code="image-not-pulled",
        hint="check the name and the digest, and that the registry serves it to anyone",
        fault="customer",
    )


def _reason(error: docker.errors.APIError) -> str:
    return str(error.explanation or error)[:500]
