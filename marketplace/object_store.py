"""Blobs in a bucket of any store that speaks S3.

A blob is the object `PREFIX/ab/cdef...`, the folder's own names, so that one may be copied to the other. An
object appears when the store has all of it, in one request or in parts that the last one joins; each
request's body is signed with its digest. Reading is one request for each piece: memory is bounded, and
whoever reads slowly holds no connection to the store.

Credentials, region and endpoint come from where AWS' own programs find them: the environment, else the files
in ~/.aws, else the machine's role. They are in no address and in no line of the log.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ParserError
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from marketplace.blob_stores import Stored, not_there
from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.logs import hide

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Store

log = logging.getLogger(__name__)

_ADDRESS: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>(?:[\w-][\w.-]*/)*(?:[\w-][\w.-]*)?))?"
)
_KEY: Final = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})")
_BEYOND: Final = "g"  # comes after every key: a listing from there on is empty, and costs next to nothing
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 9000  # of 10,000
_AT_ONCE: Final = 2  # parts of one upload, which are in memory
_READ_BYTES: Final = 4 << 20
_DELETED_AT_ONCE: Final = 1000
_CLIENT: Final[ClientConfig] = {
    "connect_timeout": timedelta(seconds=10),
    "timeout": timedelta(seconds=20),  # of one request
    "user_agent": "prixfixe",
}
_CARRYING: Final = timedelta(seconds=60)  # of a request with a part or a piece
_RETRY: Final[RetryConfig] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CREDENTIALS: Final = ("access_key_id", "secret_access_key", "session_token")


class ObjectStore:
    """A bucket, or what begins with a prefix in it."""

    def __init__(self, asking: S3Store, carrying: S3Store) -> None:
        """carrying: the same, with more patience."""
        self._asking: Final = asking
        self._carrying: Final = carrying

    @staticmethod
    def at(address: str, environment: Mapping[str, str]) -> ObjectStore:
        """The bucket of an address. ConfigurationError when the address, the endpoint or the installation
        is not what it must be; nothing is asked of the store yet."""
        parsed = _ADDRESS.fullmatch(address)
        if parsed is None:
            # Not repeated: somebody may have put a key into it.
            raise ConfigurationError(
                "the address of the blobs is not s3://BUCKET or s3://BUCKET/PREFIX",
                code="blob-store-address",
                hint="credentials, region and endpoint come from AWS_... variables or ~/.aws",
            )
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise ConfigurationError(
                "blobs in S3 need a library that is not installed",
                code="no-s3-library",
                hint="pip install 'prixfixe[s3]'",
            ) from error
        config = configuration(environment)
        for secret in (*_CREDENTIALS[1:], "sse_customer_key_base64"):
            hide(environment.get(f"AWS_{secret.upper()}"))
        hide(config.get("secret_access_key"))
        hide(config.get("session_token"))
        endpoint = config.get("endpoint")
        client: ClientConfig = {**_CLIENT, "allow_http": endpoint is not None and _is_plain(endpoint)}
        prefix = (parsed["prefix"] or "").strip("/") or None

        def opened(options: ClientConfig) -> S3Store:
            return S3Store(
                parsed["bucket"], prefix=prefix, config=config, client_options=options, retry_config=_RETRY
            )

        return ObjectStore(opened(client), opened({**client, "timeout": _CARRYING}))

    def put(self, file: Path, sha256: str, size: int) -> None:
        part = max(_PART_BYTES, -(-size // _MOST_PARTS))
        with _answering("keep"):
            try:
                self._carrying.put(_key(sha256), file, chunk_size=part, max_concurrency=_AT_ONCE)
            except FileNotFoundError as error:
                raise _unavailable("keep", error) from error  # there is no such bucket any more

    def size(self, sha256: str) -> int | None:
        with _answering("look for"):
            try:
                return int(self._asking.head(_key(sha256))["size"])
            except FileNotFoundError:
                return None

    def path(self, sha256: str) -> None:
        """It lies elsewhere."""

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            upto = min(end, start + _READ_BYTES)
            with _answering("read"):
                try:
                    piece = self._carrying.get_range(_key(sha256), start=start, end=upto)
                except FileNotFoundError:
                    raise not_there(sha256) from None
            start = upto
            yield bytes(piece)

    def delete(self, names: Collection[str]) -> None:
        keys = [_key(name) for name in names]
        for begin in range(0, len(keys), _DELETED_AT_ONCE):
            with _answering("delete"):
                self._asking.delete(keys[begin : begin + _DELETED_AT_ONCE])

    def names(self) -> Iterator[Stored]:
        with _answering("list"):
            for page in self._asking.list(chunk_size=1000):
                for each in page:
                    if (key := _KEY.fullmatch(each["path"])) is not None:
                        yield Stored(key[1] + key[2], each["size"], int(each["last_modified"].timestamp()))

    def check(self) -> None:
        with _answering("list"):
            for _ in self._asking.list(offset=_BEYOND):
                break


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:]}"


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """Unavailable instead of the library's errors; why is for the log, not for a customer."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise _unavailable(what, error) from error


def _unavailable(what: str, error: Exception) -> Unavailable:
    log.warning("the blob store does not %s: %s", what, str(error).partition("\n\nDebug")[0][:500])
    return Unavailable(
        "the store of the blobs does not answer",
        code="blob-store-unavailable",
        hint="try again in a moment; what was sent in parts is kept",
    )


# ---------------------------------------------------------------------------------------------- configuration


def configuration(environment: Mapping[str, str]) -> S3Config:
    """What the library does not find in the environment by itself, and the endpoint, checked."""
    profile = environment.get("AWS_PROFILE") or "default"
    section = profile if profile == "default" else f"profile {profile}"
    told = _section(environment, "AWS_CONFIG_FILE", "config", section)
    config: S3Config = {}
    endpoint = next(filter(None, (environment.get(name) for name in _ENDPOINTS)), told.get("endpoint_url"))
    if endpoint:
        config["endpoint"] = _checked(endpoint)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or told.get("region")
    if region:
        config["region"] = region
    if not environment.get("AWS_ACCESS_KEY_ID"):
        keys = {
            **told,
            **_section(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials", profile),
        }
        if (key := keys.get("aws_access_key_id")) and (secret := keys.get("aws_secret_access_key")):
            config |= {"access_key_id": key, "secret_access_key": secret}
            if token := keys.get("aws_session_token"):
                config["session_token"] = token
    return config


def _section(environment: Mapping[str, str], variable: str, name: str, section: str) -> dict[str, str]:
    """Of a file of AWS' programs; empty without one."""
    home = environment.get("HOME")
    given = environment.get(variable) or (f"{home}/.aws/{name}" if home else None)
    parser = ConfigParser(interpolation=None)
    try:
        if given is None or not parser.read(given):
            return {}
    except (ParserError, UnicodeDecodeError, OSError) as error:
        # Not the line itself, which may be a key.
        raise ConfigurationError(f"{given} cannot be read", code="blob-store-credentials") from error
    return dict(parser[section]) if parser.has_section(section) else {}


def _checked(endpoint: str) -> str:
    """An endpoint that keys and files may be sent to."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigurationError(
            "the endpoint of the blob store is not https://HOST",
            code="blob-store-endpoint",
            hint="see AWS_ENDPOINT_URL_S3; it holds no credentials",
        )
    if _is_plain(endpoint) and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"the endpoint of the blob store, {endpoint}, is not encrypted",
            code="blob-store-endpoint",
            hint="https://..., or http:// on this machine alone (127.0.0.1)",
        )
    return endpoint


def _is_plain(endpoint: str) -> bool:
    return urlsplit(endpoint).scheme == "http"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
