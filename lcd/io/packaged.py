"""Folders of tables that come with the package: those in ``reference`` beside the module that reads them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path

from lcd.io.limits import path


def packaged_folders(package: str) -> list[str]:
    """Names of the folders that come with a package, such as ``"lcd.studies.survey"``."""
    folder = resources.files(package) / "reference"
    return sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []


def packaged_folder(package: str, name: str) -> AbstractContextManager[Path]:
    """The folder of this name that comes with a package, as one of the file system."""
    return resources.as_file(resources.files(package) / "reference" / name)


def folder_or_packaged(package: str, asked: Path | str, what: str) -> AbstractContextManager[Path]:
    """A folder, or where there is none, the one of that name that comes with a package.

    Parameters
    ----------
    package
        That reads such folders.
    asked
        The folder or the name.
    what
        What it is, for messages.

    Raises
    ------
    ValueError
        If it is no path.
    """
    folder = path(what, asked)
    if str(asked) in packaged_folders(package) and not folder.exists():
        return packaged_folder(package, str(asked))
    return nullcontext(folder)
