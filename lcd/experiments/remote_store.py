"""A store on object storage, with a folder of this machine as its workspace and cache.

Below ``s3://bucket/prefix`` lie one object a finished run, and one a run that is being carried out::

    starpilot-pixels-rl-0-1a2b3c4d5e6f.tar
    starpilot-pixels-rl-1-6f5e4d3c2b1a.lease

A finished run is written by a single request, so that its object is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lcd.experiments.remote_leases import RemoteLeases
from lcd.experiments.run_archive import LARGEST_ARCHIVE, pack, unpack
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store, StoredRun, StoreError
from lcd.io.files import check_output_folder, replacing, token
from lcd.io.object_storage import Objects, StorageError, is_url

RUN = ".tar"
"""Ending of the names of finished runs."""

LIST_SECONDS = 5.0
"""Time for which a listing holds: while nothing happens, a plan asks once in that time."""

UNSENT = ".unsent"
"""Folder of the cache that names finished runs which have not been uploaded."""

CACHE = "LCD_CACHE"
"""Environment variable with the folder of the caches."""


def open_store(where: Store | Path | str) -> Store:
    """The store at a path, or at a URL of object storage such as ``s3://bucket/prefix``.

    Raises
    ------
    ValueError
        If it is neither, or a package for the URL is missing.
    """
    if isinstance(where, Store):
        return where
    if is_url(where):
        return RemoteStore(str(where))
    return Store(where)


def default_cache() -> Path:
    """Folder of the caches: ``LCD_CACHE``, or else ``lcd`` in the user's folder of caches."""
    if given := os.environ.get(CACHE):
        return Path(given)
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(users) / "lcd"


class RemoteStore(Store):
    """A store on object storage.

    Its folder (`root`) is a cache of the runs that were read, and the place of what is unfinished: workspaces,
    checkpoints, pretrained encoders and logs stay on this machine. A finished run that could not be uploaded waits
    there, and is uploaded when the store is asked for it again.

    Parameters
    ----------
    url
        Such as ``s3://bucket/prefix``.
    cache
        Its folder; by default one in `default_cache` whose name follows from the URL and its endpoint.
    """

    def __init__(self, url: str, cache: Path | str | None = None) -> None:
        self._objects = Objects(url)
        super().__init__(default_cache() / _name(url, self._objects.endpoint) if cache is None else cache)
        self.root = self.root.expanduser().absolute()
        self._begin()

    def _begin(self) -> None:
        """Know nothing of what is there."""
        self._listed: dict[str, str] = {}
        self._listed_at: float | None = None
        self._there: set[str] = set()
        self._made_leases: RemoteLeases | None = None

    def __str__(self) -> str:
        return self._objects.url

    def __getstate__(self) -> dict[str, object]:
        return {"_objects": self._objects, "root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def has(self, settings: RunSettings) -> bool:
        """Whether the run is finished, by a listing of at most `LIST_SECONDS` ago; one that waits is uploaded.

        Raises
        ------
        ValueError
            If the storage cannot be used.
        """
        if settings.name in self._there or settings.name + RUN in self._listing():
            return True
        if not super().has(settings):
            return False
        if self._unsent(settings).exists():
            self._send(settings)
            return True
        return self._look(settings)

    def check(self, runs: Iterable[RunSettings]) -> None:
        """Check that the storage can be used, and the cache be written to.

        Raises
        ------
        ValueError
            If not.
        """
        check_output_folder(self.root, f"the environment variable {CACHE}")
        super().check(runs)

    def load(self, settings: RunSettings) -> StoredRun:
        """Read a finished run after verifying the checksums of its files, and keep it in the cache.

        Raises
        ------
        StoreError
            If it is missing, damaged, cut short, or of other settings.
        ValueError
            If the storage cannot be used.
        """
        if super().has(settings):
            try:
                return super().load(settings)
            except StoreError:
                if self._unsent(settings).exists():
                    raise
                shutil.rmtree(self.folder(settings), ignore_errors=True)  # the cache is damaged: fetch it again
        self._fetch(settings)
        return super().load(settings)

    @contextmanager
    def lease(self, settings: RunSettings) -> Iterator[bool]:
        """Hold the right to carry out a run, by a lock on this machine and an object that is renewed.

        The object is created on condition that there is none, where the service has that (S3 and Google's have);
        elsewhere two plans may carry out the same run; the second result is dropped.

        Yields
        ------
        bool
            Whether it is held; otherwise somebody else carries the run out.
        """
        with super().lease(settings) as free:
            if not free:
                yield False
                return
            with self._leases().hold(settings.name) as held:
                if held:
                    self._look(settings)  # it may have been finished since the last listing
                yield held

    def is_leased(self, settings: RunSettings) -> bool:
        """Whether somebody carries the run out at the moment, by a listing of at most `LIST_SECONDS` ago."""
        return super().is_leased(settings) or self._leases().held(settings.name, self._listing())

    def _move(self, settings: RunSettings, workspace: Path) -> None:
        """Move a complete workspace to its place, and upload it."""
        marker = self._unsent(settings)
        if super().has(settings) and not marker.exists():  # an old copy of what is no more in the storage
            shutil.rmtree(self.folder(settings), ignore_errors=True)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        super()._move(settings, workspace)
        self._send(settings)

    def _send(self, settings: RunSettings) -> None:
        """Upload a finished run; if somebody else was first, theirs replaces it."""
        try:
            first = self._objects.create(settings.name + RUN, pack(self.folder(settings)))
        except StorageError as error:
            raise StorageError(
                f"The run {settings.name} is finished and waits in {self.root}, for it could not be uploaded; the "
                f"same command uploads it. {error}",
                passing=error.passing,
            ) from error
        self._there.add(settings.name)
        self._unsent(settings).unlink(missing_ok=True)
        if not first:
            shutil.rmtree(self.folder(settings), ignore_errors=True)
            self._fetch(settings)

    def _fetch(self, settings: RunSettings) -> None:
        """Download a finished run to the cache, and verify it before it is there."""
        name = settings.name + RUN
        with self.workspace(settings) as workspace:
            archive, files = workspace / "archive", workspace / "files"
            files.mkdir()
            try:
                self._objects.download(name, archive, LARGEST_ARCHIVE)
                unpack(archive, files)
                self._read(settings, files)
            except StorageError:
                raise
            except (StoreError, ValueError, OSError) as error:
                if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                    raise  # of this machine's disk
                why = _reason(error)
                raise StoreError(
                    f"The run {settings.name} is damaged ({why}): remove {self._objects.url_of(name)} to train the "
                    "run again."
                ) from error
            self._place(settings, files)
        self._there.add(settings.name)

    def _listing(self) -> dict[str, str]:
        if self._listed_at is None or time.monotonic() - self._listed_at > LIST_SECONDS:
            self._listed = self._objects.list()
            self._listed_at = time.monotonic()
        return self._listed

    def _look(self, settings: RunSettings) -> bool:
        """Whether the run is finished now."""
        if self._objects.has(settings.name + RUN):
            self._there.add(settings.name)
            return True
        return False

    def _leases(self) -> RemoteLeases:
        if self._made_leases is None:
            file = self.root / ".holder"
            if not file.exists():
                with replacing(file) as partial:
                    partial.write_text(token(), encoding="ascii")
            self._made_leases = RemoteLeases(self._objects, file.read_text(encoding="ascii").strip())
        return self._made_leases

    def _unsent(self, settings: RunSettings) -> Path:
        return self.root / UNSENT / settings.name


def _name(url: str, endpoint: str) -> str:
    """Name of the cache of a URL."""
    found = hashlib.sha256(f"{endpoint} {url.rstrip('/')}".encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', url)[:60].strip('-')}-{found}"


def _reason(error: Exception) -> str:
    """Why a run could not be read, without the sentence around it."""
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    said = " ".join(str(error).split()).rstrip(".")
    inner = re.fullmatch(r"The run \S+ is damaged \((.*)\): remove .*", said)
    return inner[1] if inner else said
