"""A bundle for a machine without internet: what is packed, how, and what its check says there."""

from __future__ import annotations

import hashlib
import lzma
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from bundles import PYTHON, facts, machine, write_index, write_source, write_wheel

from lcd.studies.bundle import unpack
from lcd.studies.bundle.archive import write_archive
from lcd.studies.bundle.bundle import bundle
from lcd.studies.bundle.libraries import cached_libraries, find_libraries, here, needs
from lcd.studies.bundle.node import Had, read_node
from lcd.studies.bundle.wheels import fits, resolve, without

X86 = "x86_64-manylinux_2_28"
linux = pytest.mark.skipif(sys.platform != "linux", reason="bundles are for Linux, and system libraries are Linux's")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The LCD's wheel in an index of small ones, the only one that uv asks."""
    pytest.importorskip("uv", reason="uv resolves; it comes with the extra [bundle]")
    wheel = write_index(tmp_path / "index")
    settings = {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CONFIG": "1"}
    settings |= {"UV_FIND_LINKS": str(tmp_path / "index"), "UV_CACHE_DIR": str(tmp_path / "cache")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return wheel


def test_a_machine_is_read():
    node = read_node("3.12", "aarch64-manylinux_2_34", ["torch==2.12.1", "Scikit_Learn"])
    assert node.have == (Had("torch", "2.12.1"), Had("scikit-learn", None))
    assert (node.uv_platform, node.has_procgen) == ("aarch64-manylinux_2_34", False)
    assert read_node(None, X86, []).python == PYTHON


@pytest.mark.parametrize(
    ("python", "platform", "have", "words"),
    [
        ("3.9", X86, [], "3.9"),
        ("3.12.1", X86, [], "3.10, 3.11"),
        ("3.12", "windows", [], "'windows' is not known"),
        ("3.12", "x86_64-manylinux_2_28; rm", [], "is not known"),
        ("3.12", X86, ["torch>=2"], "NAME or NAME==VERSION"),
        ("3.12", X86, ["torch==2.*"], "NAME or NAME==VERSION"),
        ("3.12", X86, ["--index-url=x"], "is no package"),
        ("3.12", X86, ["torch", "Torch==2.12.1"], "torch twice"),
    ],
)
def test_a_machine_that_cannot_be_read_is_refused(python, platform, have, words):
    with pytest.raises(ValueError, match=words):
        read_node(python, platform, have)


@pytest.mark.parametrize(
    ("tag", "fit"),
    [
        ("cp312-cp312-manylinux_2_17_x86_64", True),
        ("cp312-cp312-manylinux2014_x86_64", True),
        ("cp38-abi3-manylinux_2_28_x86_64", True),
        ("py2.py3-none-any", True),
        ("cp312-cp312-manylinux_2_34_x86_64", False),  # a newer glibc
        ("cp311-cp311-manylinux_2_17_x86_64", False),  # another Python
        ("cp312-cp312-manylinux_2_17_aarch64", False),  # another processor
        ("cp312-cp312-linux_x86_64", False),  # compiled here
        ("cp312-cp312-musllinux_1_2_x86_64", False),
    ],
)
def test_the_tags_of_a_wheel_tell_where_it_runs(tag, fit):
    assert fits([tag], read_node("3.12", X86, [])) == fit


def test_constraints_on_what_the_machine_has_are_disregarded():
    lines = ["# versions", "numpy==1.26.4", "Scikit_Learn==1.7.2; python_version < '3.11'", "plain==1.0  # old", ""]
    assert without(lines, ["numpy", "scikit-learn"]) == ["plain==1.0"]
    with pytest.raises(ValueError, match="no requirement"):
        without(["numpy == = 1"], [])


def test_what_the_machine_has_is_left_out_with_what_only_it_needs(index, tmp_path):
    everything = resolve(index, [], read_node("3.12", X86, []), ["numpy==1.26.4", "plain==1.0"], tmp_path)
    assert set(everything) >= {"numpy==1.26.4", "plain==1.0", "sympy==1.0", "torch==2.13.0"}
    node = read_node("3.12", X86, ["torch==2.12.1", "numpy==2.5.0"])  # gym3 asks for numpy 1
    left = resolve(index, [], node, ["numpy==1.26.4", "plain==1.0"], tmp_path)
    assert [line for line in left if "==" in line] == ["gym3==0.3.3", "plain==1.0"]


@pytest.mark.parametrize(
    ("have", "words"),
    [("trch", "needs no package of this name"), ("torch==2.5", "torch"), ("plain==7", "plain")],
)
def test_a_machine_that_nothing_fits_is_refused_in_a_sentence(index, tmp_path, have, words):
    with pytest.raises(ValueError, match=words) as refused:
        resolve(index, [], read_node("3.12", X86, [have]), [], tmp_path)
    assert "\n" not in str(refused.value)


def made(index: Path, out: Path, **settings):
    return bundle(PYTHON, **{"have": ["torch==2.12.1", "numpy"], "source": index, "out": out} | settings)


@linux
def test_a_bundle_unpacks_where_its_python_is(index, tmp_path):
    said = []
    found = made(index, tmp_path / "out", extras=["fast"], report=said.append)
    assert [each.name for each in found.packages] == ["compiled", "gym3", "learning-challenge-diagnosticator", "plain"]
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted([found.archive, found.script])
    assert len(said) == 5
    have = tmp_path / "have"
    have.mkdir()
    for name, version in (("torch", "2.12.1"), ("numpy", "2.5.0")):
        with zipfile.ZipFile(write_wheel(tmp_path, name, version)) as wheel:
            wheel.extractall(have)
    node = {"PYTHONPATH": str(have), "PATH": "/usr/bin:/bin"}

    def run(*command: object) -> subprocess.CompletedProcess:
        return subprocess.run(list(map(str, command)), env=node, capture_output=True, text=True, check=False)

    done = run(sys.executable, found.script, tmp_path / "a node")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "torch 2.12.1." in done.stdout
    lcd = run(tmp_path / "a node" / "bin" / "lcd", "doctor", "a b")
    assert lcd.stdout == "The LCD runs: doctor a b\n", lcd.stderr
    again = run(sys.executable, found.script, tmp_path / "a node")
    assert (again.returncode, "exists: name a folder" in again.stdout) == (1, True)
    node["PYTHONPATH"] = ""
    alone = run(sys.executable, "-S", found.script, "--check")  # -S: no packages of this machine
    assert (alone.returncode, "torch is missing" in alone.stdout) == (1, True), alone.stdout + alone.stderr


@linux
def test_the_same_inputs_make_the_same_bytes(index, tmp_path, monkeypatch):
    write_source(tmp_path / "index", "plain", "3.0", compiled=False)
    one = made(index, tmp_path / "one")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another cache"))
    other = made(index, tmp_path / "other")
    assert ("plain", "3.0") in {(each.name, each.version) for each in one.packages}
    assert one.archive.read_bytes() == other.archive.read_bytes()
    assert one.script.read_bytes() == other.script.read_bytes()


@linux
def test_a_wheel_that_was_compiled_for_another_machine_is_refused(index, tmp_path):
    write_source(tmp_path / "index", "compiled", "2.0", compiled=True)
    with pytest.raises(ValueError, match=r"compiled 2\.0 has no wheel for Python .* compiled for cp\d+-cp\d+-linux_"):
        made(index, tmp_path / "out", extras=["fast"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"extras": ["slow"]}, "no extra 'slow': choose from fast"),
        ({"source": Path("nowhere")}, "nowhere is no wheel and no source tree"),
        ({"constraints": Path("nowhere.txt")}, "nowhere.txt cannot be read"),
        ({"out": Path(__file__)}, "is a file: choose a folder"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_fetched(tmp_path, settings, words):
    index = write_index(tmp_path / "index")
    with pytest.raises(ValueError, match=words):
        made(index, settings.pop("out", tmp_path / "out"), **settings)
    assert not (tmp_path / "out").exists()


@linux
def test_an_interrupted_packing_leaves_nothing(index, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    whole = tarfile.TarFile.addfile

    def interrupted(archive, member, content=None):
        if member.name.endswith("plain.py"):
            raise KeyboardInterrupt
        whole(archive, member, content)

    monkeypatch.setattr(tarfile.TarFile, "addfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(index, tmp_path / "out")
    assert [*(tmp_path / "out").iterdir(), *temporary.iterdir()] == []


def test_an_archive_keeps_names_contents_and_modes_only(tmp_path):
    for name, mode in (("one", 0o600), ("two", 0o640)):
        folder = tmp_path / name
        (folder / "b").mkdir(parents=True)
        (folder / "b" / "run").write_text("#!/bin/sh")
        (folder / "b" / "run").chmod(0o755)
        (folder / "a").write_text("x")
        (folder / "a").chmod(mode)
        assert write_archive(folder, tmp_path / f"{name}.tar.xz") == 10
    one, two = ((tmp_path / f"{name}.tar.xz").read_bytes() for name in ("one", "two"))
    assert one == two
    with tarfile.open(fileobj=lzma.open(tmp_path / "one.tar.xz")) as archive:
        members = [(each.name, each.mode, each.uid, each.mtime) for each in archive]
    assert members == [("a", 0o644, 0, 0), ("b", 0o755, 0, 0), ("b/run", 0o755, 0, 0)]


@linux
def test_libraries_are_followed_to_those_that_they_need(tmp_path):
    available = here(platform.machine())
    zlib = needs(available["libz.so.1"])
    assert "libc.so.6" in zlib.names
    assert (2, 2) <= zlib.glibc < (3, 0)
    (tmp_path / "data.so").write_bytes(b"\x7fELF of a test")
    assert needs(tmp_path / "data.so") is None
    found = find_libraries([available["libz.so.1"].resolve()], {})
    assert (found.needed, found.packed, found.wheels_glibc) == ((), {}, zlib.glibc)


def test_what_this_machine_lacks_is_told(monkeypatch, tmp_path):
    from lcd.studies.bundle import libraries

    linked = {
        "a.so": ["libGL.so.1", "libb.so", "libc.so.6", "libstdc++.so.6"],
        "libb.so": ["libz.so.1"],
        "libGL.so.1": ["libX11.so.6", "libdl.so.2"],
        "libX11.so.6": ["libGL.so.1", "libxcb.so.1"],
    }
    versions = {"a.so": (2, 17), "libX11.so.6": (2, 36)}
    monkeypatch.setattr(
        libraries,
        "needs",
        lambda file: libraries.Needs(frozenset(linked.get(file.name, ())), versions.get(file.name, (0, 0))),
    )
    available = {name: Path(name) for name in ("libGL.so.1", "libX11.so.6", "libz.so.1", "libb.so")}
    found = find_libraries([Path("a.so"), Path("libb.so")], available)
    assert found.needed == ("libGL.so.1", "libz.so.1")  # libb.so is one of the wheels' own
    assert list(found.packed) == ["libGL.so.1", "libX11.so.6", "libz.so.1"]
    assert (found.absent, found.of_node) == (("libxcb.so.1",), ("libstdc++.so.6",))
    assert (found.wheels_glibc, found.packed_glibc) == ((2, 17), (2, 36))


def test_the_loaders_cache_is_read_for_one_processor():
    listing = (
        "3 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1\n"
        "\tlibz.so.1 (libc6) => /lib/i386-linux-gnu/libz.so.1\n"
        "\tlibz.so.1 (libc6,x86-64, OS ABI: Linux 3.2.0) => /old/libz.so.1\n"
    )
    assert cached_libraries(listing, "x86_64") == {"libz.so.1": Path("/lib/x86_64-linux-gnu/libz.so.1")}
    assert cached_libraries(listing, "aarch64") == {}


def test_a_machine_with_everything_passes():
    assert {each.status for each in unpack.check(facts(), machine(), gpu=True)} == {"ok"}
    assert unpack.lacking(facts(), machine()) == []


def without_libraries(*names):
    return lambda name: name not in names


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"python": ("3.11", "/usr/bin/python3")}, "for CPython 3.12, and /usr/bin/python3 is cpython 3.11"),
        ({"implementation": "pypy"}, "is pypy 3.12"),
        ({"machine": "aarch64"}, "for x86_64, and this machine is aarch64"),
        (
            {"glibc": (2, 17)},
            "and this machine has 2.17: pack again with --platform x86_64-manylinux_2_17",
        ),
        ({"glibc": None}, "not glibc"),
        ({"versions": {}.get}, "torch is missing for this Python: install torch==2.12.1"),
        ({"versions": {"torch": "2.9.1"}.get}, "torch is 2.9.1, and at least 2.11 is needed"),
        ({"loads": without_libraries("libstdc++.so.6")}, "libstdc++.so.6 is missing"),
        (
            {"loads": without_libraries("libGL.so.1"), "glibc": (2, 31)},
            "needs glibc 2.34, of which this machine has 2.31",
        ),
        ({"driver": None}, "No NVIDIA driver"),
        ({"torch_cuda": None}, "not built for CUDA"),
        ({"driver": (11, 8)}, "driver runs CUDA 11.8, and torch was built for 12.8"),
    ],
)
def test_what_is_missing_is_named(changes, words):
    found = unpack.check(facts(), machine(**changes), gpu=True)
    assert [words in each.sentence for each in found if each.status == "problem"] == [True]


def test_libraries_that_were_not_packed_are_named_where_they_are_missing():
    libraries = facts()["libraries"] | {"absent": ["libGL.so.1"], "packed": [], "glibc": [0, 0]}
    there = machine(loads=without_libraries("libGL.so.1"))
    found = unpack.check(facts(libraries=libraries), there)
    assert [each.sentence for each in found if each.status == "problem"] == [
        "The library libGL.so.1 is missing, and was not packed: install it with the system's packages."
    ]


def test_a_missing_gpu_and_another_version_are_notes_unless_a_gpu_is_asked_for():
    there = machine(driver=None, versions={"torch": "2.13.0"}.get)
    assert [each.status for each in unpack.check(facts(), there)].count("note") == 2


def test_a_missing_or_damaged_archive_is_named(tmp_path):
    archive = tmp_path / "lcd.tar.xz"
    assert "is missing: copy it" in unpack.check_archive(facts(), archive).sentence
    archive.write_bytes(b"abc")
    assert "another or damaged file (3 of 3 bytes)" in unpack.check_archive(facts(), archive).sentence
    about = facts()["archive"] | {"sha256": hashlib.sha256(b"abc").hexdigest()}
    assert unpack.check_archive(facts(archive=about), archive).status == "ok"
    assert "MB are free" in unpack.check_folder(facts(unpacked_bytes=10**18), tmp_path / "new").sentence


def test_only_libraries_that_the_machine_lacks_come_before_its_own(tmp_path):
    libraries = facts()["libraries"] | {"packed": ["libGL.so.1", "libz.so.1"]}
    there = machine(loads=without_libraries("libGL.so.1"))
    assert unpack.lacking(facts(libraries=libraries), there) == ["libGL.so.1"]
    (tmp_path / "content" / "libraries").mkdir(parents=True)
    for name in libraries["packed"]:
        (tmp_path / "content" / "libraries" / name).write_text(name)
    write_archive(tmp_path / "content", tmp_path / "lcd.tar.xz")
    for folder, kept in (("all", ["libGL.so.1"]), ("none", [])):
        unpack.unpack(tmp_path / "lcd.tar.xz", tmp_path / folder, "python3", kept)
        assert [file.name for file in (tmp_path / folder / "libraries").iterdir()] == kept
        assert ("LD_LIBRARY_PATH" in (tmp_path / folder / "activate").read_text()) == bool(kept)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
def test_an_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch, error):
    (tmp_path / "content").mkdir()
    write_archive(tmp_path / "content", tmp_path / "lcd.tar.xz")
    (tmp_path / "node").mkdir()

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(tarfile.TarFile, "extractall", fails)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        unpack.unpack(tmp_path / "lcd.tar.xz", tmp_path / "node" / "lcd", "python3", [])
    assert list((tmp_path / "node").iterdir()) == []


@pytest.mark.slow
@linux
@pytest.mark.timeout(3600)
def test_the_lcd_is_packed_for_another_python(tmp_path):
    """From the package index, with numpy 2, so that the project's constraint on it is not kept."""
    pytest.importorskip("uv", reason="uv resolves; it comes with the extra [bundle]")
    node = read_node("3.12", X86, [])
    found = bundle("3.12", have=["torch==2.12.1", "numpy==2.5.0", "scipy"], out=tmp_path)
    versions = {each.name: each.version for each in found.packages}
    assert versions.keys() >= {"procgen-mirror", "gym3", "stable-baselines3", "learning-challenge-diagnosticator"}
    assert not versions.keys() & {"torch", "numpy", "scipy", "triton", "sympy"}
    assert all(fits(each.tags, node) for each in found.packages)
    with tarfile.open(found.archive) as archive:
        names = archive.getnames()
    assert any(name.startswith("site/lcd/teachers/data/") for name in names)
    assert not [name for name in names if "cpython-311" in name or "__pycache__" in name]
