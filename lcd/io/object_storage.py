"""Objects below a URL such as ``s3://bucket/prefix``, through fsspec: listed, read, and written whole or not at all."""

from __future__ import annotations

import copy
import errno
import importlib
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from lcd.io.limits import short
from lcd.io.untrusted.opening import bytes_text

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Extra of this package that installs what a protocol needs."""

LARGEST_OBJECT = 2 * 2**30
"""Bytes of an object that is written by one request, which S3 limits to 5 GiB."""

PATIENCE = 600.0
"""Seconds for which a request is repeated while the service is away, once it has answered."""

PAUSE = 2.0
"""Seconds before the first repetition; each further pause is twice as long, up to a minute."""

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<path>[^/].*)")
_MANGLED = re.compile(r"[a-z][a-z0-9+.-]+:/(?!/).*|[a-z][a-z0-9+.-]+://.*")

_CREDENTIALS = re.compile(r"Credential|Profile|Token|RefreshError|Forbidden|Unauthorized")
_AWAY = re.compile(r"Connect|Timeout|Endpoint|HTTPClient|IncompleteRead|Disconnected|Payload|ClientOSError|Transport")
"""Names of the libraries' errors, which have no class in common."""

_BUSY = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ETIMEDOUT}

Found = TypeVar("Found")


class StorageError(ValueError):
    """Object storage that cannot be used; the message is one sentence that names its URL.

    Attributes
    ----------
    passing : bool
        Whether it is the network or a busy service, so that the same request may succeed later.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def is_url(where: object) -> bool:
    """Whether this is the URL of object storage, and not a path.

    Raises
    ------
    ValueError
        If it is a URL that was turned into a path, which has lost a slash.
    """
    if isinstance(where, Path) and _MANGLED.fullmatch(where.as_posix()):
        raise ValueError(f"The URL {short(str(where))} was turned into a path: give it as a text.")
    return isinstance(where, str) and "://" in where


class Objects:
    """Objects directly below a URL, by name.

    Credentials and endpoints are those of the user's environment, as the libraries of the service find them. An
    instance may be sent to other processes.

    Parameters
    ----------
    url
        Such as ``s3://bucket/prefix``.

    Raises
    ------
    ValueError
        If it is no such URL, or no installed package reads it.
    """

    def __init__(self, url: str) -> None:
        found = _URL.fullmatch(url)
        if found is None or not url.isprintable() or "::" in url or any(sign in url for sign in "?#*[]\\"):
            raise ValueError(f"{short(url)} is no URL of object storage: write one such as s3://bucket/prefix.")
        if re.search(r"//[^/]*:[^/]*@", url):
            raise ValueError("A URL of object storage holds no password: put it into the environment.")
        self.url = url.rstrip("/")
        self._reached = False
        self._patience: float | None = None
        self._files  # noqa: B018  # tells early that a package is missing

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "_reached": self._reached, "_patience": self._patience}

    def within(self, seconds: float) -> Objects:
        """The same objects, whose requests are repeated for a shorter time."""
        found = copy.copy(self)
        found._patience = seconds
        return found

    @cached_property
    def _files(self) -> Any:
        """The file system of fsspec; each process makes its own."""
        return _filesystem(self.url.partition("://")[0])

    @property
    def endpoint(self) -> str:
        """Where the service is, empty if that is the usual place."""
        given = getattr(self._files, "endpoint_url", None)
        return str(given or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")

    def url_of(self, name: str) -> str:
        """URL of an object."""
        return f"{self.url}/{name}"

    def list(self) -> dict[str, str]:
        """Names of all objects, each with a text that changes when it is written anew.

        It is one request for every thousand objects.

        Raises
        ------
        StorageError
            If there is no such bucket, access is denied, or the service is away.
        """

        def ask() -> list[dict[str, Any]]:
            try:
                return list(self._files.ls(self._folder, detail=True))
            except FileNotFoundError as error:
                if _code(error):  # of the service, about the bucket
                    raise
                return []  # nothing is below the prefix yet

        entries = [entry for entry in self._asked(ask) if entry["type"] == "file"]
        return {str(entry["name"]).rpartition("/")[2]: repr(sorted(entry.items(), key=str)) for entry in entries}

    def has(self, name: str) -> bool:
        """Whether there is an object of a name at the moment."""
        return bool(self._asked(lambda: self._files.exists(self._of(name))))

    def read(self, name: str, most: int) -> bytes | None:
        """Content of a small object, at most its first bytes; None if there is none."""

        def ask() -> bytes | None:
            try:
                return bytes(self._files.cat_file(self._of(name), start=0, end=most))
            except FileNotFoundError:
                return None
            except OSError as error:
                if _code(error) in ("InvalidRange", "416"):  # there is no first byte
                    return b""
                raise

        return self._asked(ask)

    def download(self, name: str, file: Path, most: int) -> None:
        """Write an object's content to a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is larger than a limit of bytes.
        """

        def ask() -> bool:
            try:
                if (size := int(self._files.info(self._of(name))["size"] or 0)) <= most:
                    self._files.get_file(self._of(name), str(file))
                    size = file.stat().st_size
            except FileNotFoundError:
                return False
            if size > most:
                raise _Larger(f"it has {bytes_text(size)}, where at most {bytes_text(most)} are read")
            return True

        if not self._asked(ask):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url_of(name))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object by a single request, unless there is one of that name.

        An interrupted request leaves nothing. Where a service has no conditional writing, the object is looked for
        before.

        Returns
        -------
        bool
            Whether it was written. It may be False, too, if the service wrote it, but its answer was lost.
        """
        return self._put(name, content, exclusive=True)

    def write(self, name: str, content: bytes) -> None:
        """Write an object by a single request, in place of one of that name."""
        self._put(name, content, exclusive=False)

    def _put(self, name: str, content: bytes, exclusive: bool) -> bool:
        if len(content) > LARGEST_OBJECT:
            raise StorageError(
                f"{self.url_of(name)} would have {bytes_text(len(content))}, and at most {bytes_text(LARGEST_OBJECT)} "
                "are written there: use a store on a disk."
            )
        # A chunk that holds all of it keeps s3fs from writing parts, which an interrupted upload would leave.
        options = {"chunksize": len(content) + 1} if "s3" in _protocols(self._files) else {}

        def ask() -> bool:
            path = self._of(name)
            if not exclusive:
                self._files.pipe_file(path, content, **options)
                return True
            try:
                self._files.pipe_file(path, content, mode="create", **options)
            except FileExistsError:
                return False
            except (NotImplementedError, OSError) as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    return False
                if not (isinstance(error, NotImplementedError) or error.errno == errno.ENOSYS):
                    raise
                if self._files.exists(path):
                    return False
                self._files.pipe_file(path, content, **options)
            return True

        return self._asked(ask)

    def remove(self, name: str) -> None:
        """Remove an object; nothing happens if there is none."""

        def ask() -> None:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._of(name))

        self._asked(ask)

    def _of(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @property
    def _folder(self) -> str:
        return str(self._files._strip_protocol(self.url)).rstrip("/")

    def _asked(self, ask: Callable[[], Found]) -> Found:
        """What a request gives; it is repeated while the service is away, if that has answered before."""
        begun, pause = time.monotonic(), PAUSE
        patience = PATIENCE if self._patience is None else self._patience
        while True:
            try:
                found = ask()
            except _Larger:
                raise
            except Exception as error:  # those of aiohttp, botocore and google-auth have no class in common
                told = self._sentence(error)
                if not (told.passing and self._reached and time.monotonic() - begun < patience):
                    raise told from error
                time.sleep(pause)
                pause = min(2 * pause, 60.0)
            else:
                self._reached = True
                return found

    def _sentence(self, error: Exception) -> StorageError:
        """What went wrong, and the remedy."""
        kinds = " ".join(kind.__name__ for kind in type(error).__mro__[:-1])
        said = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".") or type(error).__name__
        said = said if len(said) <= 300 else f"{said[:300]}..."
        if isinstance(error, FileNotFoundError):
            bucket = self.url.split("/")[2]
            return StorageError(f"There is no bucket {bucket} for {self.url}: make it, or correct the URL.")
        if isinstance(error, PermissionError) or _CREDENTIALS.search(kinds):
            return StorageError(
                f"Access to {self.url} is denied ({said}): check the credentials in your environment, and their rights."
            )
        code = getattr(error, "errno", None)
        if isinstance(error, (ConnectionError, TimeoutError)) or code in _BUSY or _AWAY.search(kinds):
            return StorageError(
                f"{self.url} cannot be reached ({said}): check the network and the endpoint, and start the same "
                "command again.",
                passing=True,
            )
        return StorageError(f"{self.url} cannot be used ({said}): check the URL, the endpoint and the credentials.")


class _Larger(ValueError):
    """An object that is larger than a limit."""


def _filesystem(protocol: str) -> Any:
    """The file system of fsspec for a protocol.

    Raises
    ------
    ValueError
        If no package for it is installed, or its configuration is wrong.
    """
    extra = EXTRAS.get(protocol)
    try:
        fsspec = importlib.import_module("fsspec")
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        package = f"learning-challenge-diagnosticator[{extra}]" if extra else "fsspec"
        raise ValueError(
            f"URLs {protocol}:// need a package that is not installed ({error}): pip install '{package}'."
        ) from None
    except Exception as error:  # of the user's configuration, whatever the library says
        said = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"URLs {protocol}:// cannot be used ({said}): write one such as s3://bucket/prefix.") from None


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _code(error: BaseException) -> str:
    """Code of a service's answer, such as ``NoSuchBucket``; empty where it gave none."""
    answer = getattr(error.__cause__, "response", None)
    code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else getattr(error, "code", "")
    return str(code or "")
