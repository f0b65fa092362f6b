"""Check a machine without internet for what a bundle of the LCD needs, and unpack it there.

    python3 unpack.py --check       names what is missing on this machine, and changes nothing
    python3 unpack.py FOLDER        checks, unpacks the archive beside this script, and makes FOLDER/bin/lcd

Use the Python that is to run the LCD. FOLDER/bin/lcd is the command; ``source FOLDER/activate`` sets the paths for
scripts and notebooks. The exit status is 1 if something is missing. This file needs nothing but Python 3.7;
`lcd.bundle` writes the facts of its archive into it.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

FACTS = "{}"
"""JSON that `lcd.bundle` writes: what the archive was made for and holds."""

ACTIVATE = """\
# source this file: it sets the paths of the LCD in this folder.
export PATH={bin}:"$PATH" PYTHONPATH={site}"${{PYTHONPATH:+:$PYTHONPATH}}"
"""
LOADER = """export LD_LIBRARY_PATH={libraries}"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n"""
COMMAND = """\
#!/bin/sh
. {activate}
exec {python} {start} "$@"
"""
START = """\
if __name__ == "__main__":
    from lcd.cli.main import main

    main()
"""
"""A file, as ``python -m lcd`` would look for the LCD in the folder that it is called from first."""


class Finding(NamedTuple):
    """One thing that was checked: ``"ok"``, ``"note"`` for what limits, ``"problem"`` for what prevents."""

    status: str
    sentence: str


class Machine(NamedTuple):
    """What is there.

    Attributes
    ----------
    python
        Version, such as ``"3.12"``, and the interpreter's file.
    implementation
        Such as ``"cpython"``.
    machine
        The processor.
    glibc
        Its version; None for another C library.
    versions
        Version of an installed package by its name; None if it is not there.
    loads
        Whether a shared library can be loaded, by its name.
    driver
        Version of CUDA that the NVIDIA driver can run; None without one.
    torch_cuda
        Version of CUDA that torch was built for; None for another build or none.
    """

    python: tuple[str, str]
    implementation: str
    machine: str
    glibc: tuple[int, int] | None
    versions: Callable[[str], str | None]
    loads: Callable[[str], bool]
    driver: tuple[int, int] | None
    torch_cuda: tuple[int, int] | None


def numbers(version: str) -> tuple[int, ...]:
    """Numbers in front of a version, such as (2, 12, 1) of ``"2.12.1+cu128"``."""
    matched = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in matched.group().split(".")) if matched else ()


def _without_zeros(version: str) -> tuple[int, ...]:
    """The numbers of a version without zeros at their end: 2.0 and 2.0.0 are one."""
    found = numbers(version)
    while found and found[-1] == 0:
        found = found[:-1]
    return found


def this_machine() -> Machine:
    """What is there on this machine."""
    try:
        import importlib.metadata as metadata
    except ImportError:  # Python 3.7, for which there is no bundle
        return Machine(
            _python(), sys.implementation.name, platform.machine(), _glibc(), _no_version, _loads, None, None
        )

    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    try:
        torch = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text("utf-8")
    except (metadata.PackageNotFoundError, OSError):
        torch = ""
    cuda = re.search(r"^cuda\b[^=]*= *'(\d+)\.(\d+)", torch, re.MULTILINE)
    built = (int(cuda.group(1)), int(cuda.group(2))) if cuda else None
    return Machine(_python(), sys.implementation.name, platform.machine(), _glibc(), version, _loads, _driver(), built)


def _python() -> tuple[str, str]:
    return "{}.{}".format(*sys.version_info[:2]), sys.executable


def _no_version(name: str) -> str | None:
    return None


def _glibc() -> tuple[int, int] | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    found = numbers(version)
    return (found[0], found[1]) if name == "glibc" and len(found) > 1 else None


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _driver() -> tuple[int, int] | None:
    try:
        library = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int(0)
        if library.cuInit(0) or library.cuDriverGetVersion(ctypes.byref(version)):
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10


def check(facts: dict[str, Any], there: Machine, *, gpu: bool = False) -> list[Finding]:
    """Check a machine.

    Parameters
    ----------
    facts
        What the archive was made for and holds.
    there
        What is there.
    gpu
        Whether it is a problem, not a note, if runs cannot use a GPU.

    Returns
    -------
    list of Finding
        In the order of the checks.
    """
    found = [*_interpreter(facts, there), *_c_library(facts, there)]
    if there.python[0] == facts["python"]:  # another Python's packages are other packages
        found += [_package(each, there) for each in facts["have"]]
    return [*found, *_libraries(facts, there), _gpu(there, gpu)]


def _interpreter(facts: dict[str, Any], there: Machine) -> Iterable[Finding]:
    version, file = there.python
    if version != facts["python"] or there.implementation != "cpython":
        yield Finding(
            "problem",
            "The bundle is for CPython {0}, and {1} is {2} {3}: run this script with CPython {0}, or pack again with "
            "--python {3}.".format(facts["python"], file, there.implementation, version),
        )
    else:
        yield Finding("ok", f"Python {version}.")
    if there.machine != facts["machine"]:
        yield Finding(
            "problem",
            "The bundle is for {}, and this machine is {}: pack again with --platform.".format(
                facts["machine"], there.machine
            ),
        )
    else:
        yield Finding("ok", f"Processor {there.machine}.")


def _c_library(facts: dict[str, Any], there: Machine) -> Iterable[Finding]:
    least = tuple(facts["glibc"])
    if there.glibc is None:
        yield Finding("problem", "The C library is not glibc, which wheels for manylinux need: use another image.")
    elif there.glibc < least:
        yield Finding(
            "problem",
            "The wheels need glibc {}.{}, and this machine has {}.{}: pack again with "
            "--platform {}-manylinux_2_{}.".format(*least, *there.glibc, facts["machine"], there.glibc[1]),
        )
    else:
        yield Finding("ok", "glibc {}.{}; the wheels need {}.{}.".format(*there.glibc, *least))


def _package(had: dict[str, Any], there: Machine) -> Finding:
    name, packed_for, least = had["name"], had["version"], had["at_least"]
    version = there.versions(name)
    if version is None:
        wanted = name if packed_for is None else f"{name}=={packed_for}"
        return Finding(
            "problem", f"{name} is missing for this Python: install {wanted}, or pack without --have {name}."
        )
    if least is not None and _without_zeros(version) < _without_zeros(least):
        return Finding(
            "problem", f"{name} is {version}, and at least {least} is needed: install a newer one, or pack it as well."
        )
    if packed_for is not None and _without_zeros(version) != _without_zeros(packed_for):
        return Finding(
            "note", f"{name} is {version}, and the bundle was made for {packed_for}: pack again if something fails."
        )
    return Finding("ok", f"{name} {version}.")


def lacking(facts: dict[str, Any], there: Machine) -> list[str]:
    """Packed libraries that the machine lacks: its own are preferred, which other programs there were built with."""
    libraries = facts["libraries"]
    if all(there.loads(name) for name in libraries["needed"]):
        return []
    return [name for name in libraries["packed"] if not there.loads(name)]


def _libraries(facts: dict[str, Any], there: Machine) -> Iterable[Finding]:
    libraries = facts["libraries"]
    for name in [name for name in libraries["of_node"] if not there.loads(name)]:
        yield Finding("problem", f"The library {name} is missing: install it with the system's packages.")
    missing = [name for name in libraries["needed"] if not there.loads(name)]
    if not missing:
        if libraries["needed"]:
            yield Finding("ok", "This machine has {} itself.".format(", ".join(libraries["needed"])))
        return
    for name in [name for name in libraries["absent"] if not there.loads(name)]:
        yield Finding(
            "problem", f"The library {name} is missing, and was not packed: install it with the system's packages."
        )
    least = tuple(libraries["glibc"])
    if there.glibc is not None and there.glibc < least:
        yield Finding(
            "problem",
            "{} is missing, and the one in the bundle needs glibc {}.{}, of which this machine has {}.{}: install it "
            "with the system's packages, or pack on a system as old as this.".format(missing[0], *least, *there.glibc),
        )
    else:
        packed = [name for name in missing if name not in libraries["absent"]]
        if packed:
            yield Finding("ok", "{} come with the bundle.".format(", ".join(packed)))


def _gpu(there: Machine, needed: bool) -> Finding:
    status = "problem" if needed else "note"
    if there.driver is None:
        return Finding(status, "No NVIDIA driver with a GPU is found (libcuda.so.1): runs compute on the processor.")
    if there.torch_cuda is None:
        return Finding(status, "A GPU is there, but torch was not built for CUDA: runs compute on the processor.")
    if there.driver[0] < there.torch_cuda[0]:
        return Finding(
            status,
            "The NVIDIA driver runs CUDA {}.{}, and torch was built for {}.{}: update the driver, or install another "
            "torch.".format(*there.driver, *there.torch_cuda),
        )
    return Finding("ok", "A GPU, with a driver for CUDA {}.{}.".format(*there.driver))


def check_archive(facts: dict[str, Any], archive: Path) -> Finding:
    """Check that the archive lies beside this script, and is whole."""
    about = facts["archive"]
    if not archive.is_file():
        return Finding("problem", f"{archive} is missing: copy it into the folder of this script.")
    found = hashlib.sha256()
    with archive.open("rb") as file:
        for part in iter(lambda: file.read(2**20), b""):
            found.update(part)
    if found.hexdigest() != about["sha256"]:
        size = archive.stat().st_size
        return Finding(
            "problem",
            "{} is another or damaged file ({:,} of {:,} bytes): copy both files again.".format(
                archive, size, about["bytes"]
            ),
        )
    return Finding("ok", "The archive is whole.")


def check_folder(facts: dict[str, Any], folder: Path) -> Finding:
    """Check that a folder is free to be made, with space for the files."""
    if folder.exists():
        return Finding("problem", f"{folder} exists: name a folder that does not, or remove it.")
    above = next(path for path in folder.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(str(above), os.W_OK):
        return Finding("problem", f"Nothing can be written to {above}: name another folder than {folder}.")
    free, wanted = shutil.disk_usage(str(above)).free, facts["unpacked_bytes"]
    if free < wanted * 1.1:
        return Finding("problem", f"{wanted / 1e6:,.0f} MB are needed in {above}, and {free / 1e6:,.0f} MB are free.")
    return Finding("ok", f"{wanted / 1e6:,.0f} MB go to {folder}.")


def unpack(archive: Path, folder: Path, python: str, libraries: Iterable[str]) -> None:
    """Unpack an archive, and write the command and the paths; an interrupted one leaves no folder.

    Parameters
    ----------
    archive
        A whole archive, as `lcd.bundle` makes it.
    folder
        The folder to make.
    python
        The interpreter for the command.
    libraries
        Packed system libraries to keep; without any, the loader's path is left as it is.
    """
    folder = folder.absolute()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        with tarfile.open(str(archive), "r:xz") as packed:
            if hasattr(tarfile, "data_filter"):
                packed.extractall(str(partial), filter="data")
            else:  # its checksum was compared
                packed.extractall(str(partial))
        inside = {
            name: shlex.quote(str(folder / name)) for name in ("bin", "bin/start.py", "site", "libraries", "activate")
        }
        inside["start"] = inside.pop("bin/start.py")
        kept = set(libraries)
        for file in (partial / "libraries").glob("*"):
            if file.name not in kept:
                file.unlink()
        text = ACTIVATE + (LOADER if kept else "")
        (partial / "activate").write_text(text.format(**inside), "utf-8")
        (partial / "bin").mkdir()
        (partial / "bin" / "start.py").write_text(START, "utf-8")
        command = partial / "bin" / "lcd"
        command.write_text(COMMAND.format(python=shlex.quote(python), **inside), "utf-8")
        command.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(str(partial), ignore_errors=True)


def main() -> None:
    """Check, and unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("lcd-node"), metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="only check")
    parser.add_argument("--gpu", action="store_true", help="take it for a problem if runs cannot use a GPU")
    options = parser.parse_args()
    facts: dict[str, Any] = json.loads(FACTS)
    archive = Path(__file__).absolute().parent / facts["archive"]["name"]
    there = this_machine()
    found: list[Finding] = check(facts, there, gpu=options.gpu)
    found.append(check_archive(facts, archive))
    if not options.check:
        found.append(check_folder(facts, options.folder))
    for each in found:
        print(f"{each.status:8}{each.sentence}", flush=True)
    if any(each.status == "problem" for each in found):
        sys.exit(1)
    if options.check:
        return
    try:
        unpack(archive, options.folder, there.python[1], lacking(facts, there))
    except KeyboardInterrupt:
        sys.exit("Interrupted: nothing was unpacked.")
    except (OSError, tarfile.TarError) as error:
        sys.exit(f"Error: {error}. Nothing was unpacked.")
    print(f"Unpacked. Begin with: {options.folder / 'bin' / 'lcd'} doctor starpilot")


if __name__ == "__main__":
    main()
