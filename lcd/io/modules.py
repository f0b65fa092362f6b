"""Import of modules that a user names, and what tells one version of them from another."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType

from lcd.io.files import checksum
from lcd.io.limits import short

SOURCE = "source "
"""Begins the part of a version that is a checksum of source of the user's own."""

_THIS_PACKAGE = __name__.partition(".")[0]


def import_named(module: str) -> ModuleType:
    """Import a module, from the working directory too, as ``python`` would find it there.

    This runs the module's code: what a file names is never given here, only what its user does.

    Raises
    ------
    ImportError
        If there is none, or its code fails.
    """
    if not all(re.fullmatch(r"[\w-]+", part) for part in module.split(".")):
        raise ImportError(f"{short(module)} is no name of a module, such as my_package.games")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # at the end: it hides nothing
    try:
        return importlib.import_module(module)
    except ImportError:
        raise
    except (Exception, SystemExit) as error:  # of many types: it is the user's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ImportError(f"the code of {module} fails ({reason[:300]})") from error


def version_of_modules(*modules: str) -> str | None:
    """What tells these modules from later ones of the same names.

    Parameters
    ----------
    *modules
        Names of imported modules.

    Returns
    -------
    str or None
        The distributions that they are from, ``"minigrid 3.0.0"``, and behind them, for modules of the user's own, a
        checksum of `source_of`, ``"source 0123456789ab"``; None where neither is known.
    """
    names = dict.fromkeys(found[0] for module in modules if (found := _distributions_of(module)))
    parts = [f"{name} {version(name)}" for name in names]
    if own := [module for module in modules if is_own(module)]:
        parts.append(f"{SOURCE}{checksum(source_of(*own))[:12]}")
    return ", ".join(parts) or None


def is_own(module: str) -> bool:
    """Whether a module is of the user's own: no installed distribution, and not Python, holds its file.

    One that is installed in place, by ``pip install --editable``, is of the user's own.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in (_THIS_PACKAGE, "__main__"):
        return False
    spec = _spec_of(top)
    if spec is None:
        return False
    place = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), "")).resolve()
    homes = (Path(str(distribution(name).locate_file(""))).resolve() for name in _distributions_of(top))
    return not any(place.is_relative_to(home) for home in homes)


def is_importable(module: str) -> bool:
    """Whether another process with the same search path can import a module, or at least the package around it."""
    top = module.partition(".")[0]
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)


def source_of(*modules: str) -> bytes:
    """Source of some modules, and of the modules of the user's own that they import, directly or through others."""
    sources: dict[str, bytes] = {}
    waiting = list(reversed(modules))
    while waiting:
        name = waiting.pop()
        spec = None if name in sources else _spec_of(name)
        if spec is None:
            continue
        sources[name] = b""
        if spec.has_location and spec.origin is not None:
            sources[name] = Path(spec.origin).read_bytes()
            waiting += sorted(_own_imports(sources[name], spec), reverse=True)
    return b"".join(sources.values())


def _own_imports(source: bytes, spec: ModuleSpec) -> set[str]:
    """Names of modules of the user's own that a module's source imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a compiled module
        return set()
    is_package = spec.submodule_search_locations is not None
    names = set(_imported(tree, spec.name if is_package else spec.parent or ""))
    return {name for name in names if is_own(name)}


def _imported(tree: ast.AST, package: str) -> Iterable[str]:
    """Names that may be modules in the imports of a module in a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                module = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # above the topmost package, so that it is never imported
                continue
            yield module
            yield from (f"{module}.{each.name}" for each in node.names)


def _spec_of(module: str) -> ModuleSpec | None:
    """Where a module is; None for a name that is none. Packages of the user's own around it are imported."""
    try:
        return find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None


def _distributions_of(module: str) -> list[str]:
    """Names of the distributions that a module is from."""
    return list(_distributions().get(module.partition(".")[0], ()))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
