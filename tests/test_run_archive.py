"""Archives of runs: what is packed comes back, and what anybody may have made is not unpacked."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
from pretending import finish, some_runs

from lcd.experiments import remote_store
from lcd.experiments.remote_store import open_store
from lcd.experiments.run_archive import pack, unpack
from lcd.experiments.store import Store, StoreError
from lcd.io.object_storage import Objects
from lcd.io.untrusted import UnreadableFileError

pytest.importorskip("fsspec")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("LCD_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}/runs"


def test_an_archive_follows_from_the_files_alone(tmp_path):
    store, run = Store(tmp_path / "a"), some_runs(1)[0]
    finish(store, run)
    packed = pack(store.folder(run))
    for path in store.folder(run).iterdir():
        path.touch()
        path.chmod(0o600)
    assert pack(store.folder(run)) == packed
    (tmp_path / "run.tar").write_bytes(packed)
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "run.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(store.folder(run))


def of_members(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return made.getvalue()


def of_kind(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def too_large() -> bytes:
    info = tarfile.TarInfo("run.json")
    info.size = 2**30
    return info.tobuf(tarfile.USTAR_FORMAT) + b"short"


HOSTILE = {
    "no archive": b"what is this",
    "empty": b"",
    "outside": of_members(("../run.json", b"{}")),
    "absolute": of_members(("/tmp/run.json", b"{}")),
    "in a folder": of_members(("some/run.json", b"{}")),
    "hidden": of_members((".bashrc", b"{}")),
    "link": of_members(of_kind("run.json", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": of_members(of_kind("run.json", tarfile.LNKTYPE, "/etc/passwd")),
    "device": of_members(of_kind("run.json", tarfile.CHRTYPE)),
    "pipe": of_members(of_kind("run.json", tarfile.FIFOTYPE)),
    "folder": of_members(of_kind("run.json", tarfile.DIRTYPE)),
    "long name": of_members(("a" * 200, b"{}"), form=tarfile.PAX_FORMAT),
    "long name of GNU": of_members(("a" * 200, b"{}"), form=tarfile.GNU_FORMAT),
    "twice": of_members(("run.json", b"{}"), ("run.json", b"[]")),
    "many": of_members(*((f"file-{number}", b"") for number in range(100))),
    "shorter than it says": too_large(),
    "no record": of_members(("episodes.csv", b"game\n")),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_run_is_refused_in_one_sentence_that_names_the_object(kind, in_memory, tmp_path):
    run, store = some_runs(1)[0], open_store(in_memory)
    Objects(in_memory).write(f"{run.name}.tar", HOSTILE[kind])
    remedy = re.escape(f"remove {in_memory}/{run.name}.tar to train the run again.")
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*\): {remedy}$"):
        store.load(run)
    assert not store.folder(run).exists()
    assert not list((store.root / ".unfinished").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


@pytest.mark.parametrize("kind", [name for name in HOSTILE if name != "no record"])
def test_an_archive_of_something_else_is_not_unpacked(kind, tmp_path):
    (tmp_path / "run.tar").write_bytes(HOSTILE[kind])
    (tmp_path / "out").mkdir()
    if kind == "empty":
        with pytest.raises(UnreadableFileError):
            unpack(tmp_path / "run.tar", tmp_path / "out")
        return
    with pytest.raises(UnreadableFileError, match=r"run\.tar cannot be unpacked \([^\n]+\)[^\n]*\.$"):
        unpack(tmp_path / "run.tar", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_object_larger_than_any_run_is_not_downloaded(in_memory, monkeypatch):
    monkeypatch.setattr(remote_store, "LARGEST_ARCHIVE", 1000)
    store, run = open_store(in_memory), some_runs(1)[0]
    Objects(in_memory).write(f"{run.name}.tar", b"x" * 1001)
    with pytest.raises(StoreError, match=r"it has 1001 bytes, where at most 1000 bytes are read"):
        store.load(run)
