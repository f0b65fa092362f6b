"""Leases of runs on object storage: objects that their holder renews, so that those of a dead holder expire."""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from lcd.io.object_storage import Objects, StorageError

LEASE = ".lease"
"""Ending of the names of leases."""

RENEWAL_SECONDS = 20.0
"""Time between two renewals."""

EXPIRY_SECONDS = 120.0
"""Time without a renewal after which a lease has expired: that of six, so that a short fault of the network is none."""

_LARGEST = 4096


class RemoteLeases:
    """Leases in a folder of objects.

    No clocks are compared: a lease has expired when this process has seen it unchanged for `EXPIRY_SECONDS`.

    Parameters
    ----------
    objects
        Where they are.
    holder
        Identity of this store's folder, whose processes exclude each other by locks: a lease with this identity that
        no process holds is one of a dead process.
    """

    def __init__(self, objects: Objects, holder: str) -> None:
        self._objects, self._holder = objects, holder
        self._hasty = objects.within(RENEWAL_SECONDS)  # to renew and to leave
        self._seen: dict[str, tuple[str, float, bool]] = {}

    def held(self, name: str, listed: Mapping[str, str]) -> bool:
        """Whether somebody else holds the lease of a run; an expired one is removed.

        Parameters
        ----------
        name
            Name of the run.
        listed
            Names of all objects, each with a text that changes when it is written anew.
        """
        version = listed.get(name + LEASE)
        if version is None:
            self._seen.pop(name, None)
            return False
        now = time.monotonic()
        if name not in self._seen or self._seen[name][0] != version:
            self._seen[name] = version, now, self._holder_of(name) == self._holder
        _, since, own = self._seen[name]
        if own:
            return False
        if now - since < EXPIRY_SECONDS:
            return True
        if self._objects.list().get(name + LEASE) == version:  # nobody has renewed it since the last look
            self._objects.remove(name + LEASE)
        del self._seen[name]
        return False

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Hold the lease of a run and renew it, unless somebody else holds it.

        Yields
        ------
        bool
            Whether it is held.
        """
        there = self._holder_of(name)
        found = there is not None
        if there is None and not self._objects.create(name + LEASE, self._content(0)):
            there = self._holder_of(name)  # it may be this one, if the answer was lost
        elif there is None:
            there = self._holder
        if there != self._holder:
            yield False
            return
        if found:  # it is of a process that is gone, and others may have seen it for long
            self._objects.write(name + LEASE, self._content(time.time_ns()))
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(name, ended), daemon=True)
        thread.start()
        try:
            yield True
        finally:
            ended.set()
            thread.join(RENEWAL_SECONDS)
            with suppress(StorageError):  # then it expires
                if self._holder_of(name, self._hasty) == self._holder:
                    self._hasty.remove(name + LEASE)

    def _renew(self, name: str, ended: threading.Event) -> None:
        number = 0
        while not ended.wait(RENEWAL_SECONDS):
            number += 1
            with suppress(StorageError):
                if self._holder_of(name, self._hasty) != self._holder:
                    return  # it had expired, as after a sleep, and somebody else has it: one of two results is dropped
                self._hasty.write(name + LEASE, self._content(number))

    def _content(self, number: int) -> bytes:
        return json.dumps({"holder": self._holder, "machine": platform.node(), "renewal": number}).encode()

    def _holder_of(self, name: str, objects: Objects | None = None) -> str | None:
        """Who holds the lease of a run, None if nobody."""
        content = (objects or self._objects).read(name + LEASE, _LARGEST)
        if content is None:
            return None
        try:
            return str(json.loads(content)["holder"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""  # of nobody: it expires
