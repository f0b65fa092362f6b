"""Import of modules that a user names."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from lcd.io.limits import short


def import_named(module: str) -> ModuleType:
    """Import a module, from the working directory too, as ``python`` would find it there.

    This runs the module's code: what a file names is never given here, only what its user does.

    Raises
    ------
    ImportError
        If there is none, or its own imports fail.
    """
    if not all(re.fullmatch(r"[\w-]+", part) for part in module.split(".")):
        raise ImportError(f"{short(module)} is no name of a module, such as my_package.games")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # at the end: it hides nothing
    return importlib.import_module(module)
