"""Pages of the API reference, one a package: first what the package exports, then what its modules define."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sphinx.pycode import ModuleAnalyzer

import lcd

INTERNAL = ("lcd.cli", "lcd.io")
"""Packages that are no part of the API."""

INTRODUCTION = """\
Here is what people use first. A page for each package follows: what the package exports comes first, then, for those
who extend it, what its modules define besides.
"""


@cache
def public_names(folder: Path = Path(lcd.__file__).parent, package: str = "lcd") -> list[str]:
    """Names of all packages and modules of the API, each package before its modules."""
    found = [package]
    for path in sorted(folder.iterdir()):
        name = f"{package}.{path.stem}"
        if name in INTERNAL or path.name.startswith("_"):
            continue
        if path.is_dir() and any(path.glob("*.py")):
            found += public_names(path, name)
        elif path.suffix == ".py":
            found.append(name)
    return found


def is_package(module: ModuleType) -> bool:
    """Whether it has a page of its own."""
    return hasattr(module, "__path__")


def exports(package: ModuleType) -> list[str]:
    """What a package exports, constants last; `lcd` itself begins with functions, which people call first."""
    names = [name for name in getattr(package, "__all__", ()) if is_package(package) and not name.startswith("_")]

    def place(name: str) -> tuple[bool, bool]:
        value = getattr(package, name)
        return not callable(value), package is lcd and inspect.isclass(value)

    return sorted(names, key=place)


def comment(module: str, name: str) -> str:
    """The docstring below a constant; empty if it has none."""
    return "\n".join(ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name), []))


def is_function(value: object) -> bool:
    """Whether it is a function, cached or not."""
    return not inspect.isclass(value) and inspect.isfunction(inspect.unwrap(value))  # type: ignore[arg-type]


def home(package: ModuleType, name: str) -> str:
    """Module that defines what a package exports."""
    value = getattr(package, name)
    if inspect.isclass(value) or is_function(value):
        return value.__module__
    modules = (each for each in public_names() if getattr(import_module(each), name, None) is value)
    return next((each for each in modules if comment(each, name)), package.__name__)


@cache
def homes() -> dict[str, str]:
    """Names under which exported objects are documented, by those under which they are defined."""
    packages = [import_module(name) for name in public_names()]
    return {f"{home(each, name)}.{name}": f"{each.__name__}.{name}" for each in packages for name in exports(each)}


def entry(package: ModuleType, name: str, defined: str) -> str:
    """Directive for what a package exports."""
    value = getattr(package, name)
    if inspect.isclass(value):
        return f".. autoclass:: {name}\n   :members:\n"
    if is_function(value):
        return f".. autofunction:: {name}\n"
    text = comment(defined, name).replace("\n", "\n   ")
    return f".. py:data:: {name}\n   :canonical: {defined}.{name}\n\n   {text}\n"


def section(module: str, documented: Mapping[str, str]) -> str:
    """What a module defines, but for what a package exports."""
    exported = [name.rpartition(".")[2] for name in documented if name.rpartition(".")[0] == module]
    options = [":members:", ":ignore-module-all:", *([f":exclude-members: {', '.join(exported)}"] if exported else [])]
    title = module.rpartition(".")[2]
    return "\n   ".join([f"{title}\n{'-' * len(title)}\n\n.. automodule:: {module}", *options]) + "\n"


def page(package: ModuleType, documented: Mapping[str, str]) -> str:
    """The page of a package, in reStructuredText."""
    path = package.__name__
    defined = {shown: own.rpartition(".")[0] for own, shown in documented.items()}
    below = [import_module(name) for name in public_names() if name.rpartition(".")[0] == path]
    packages = [each.__name__ for each in below if is_package(each)]
    parts = [f"{path}\n{'=' * len(path)}\n", f".. automodule:: {path}\n   :no-members:\n"]
    if path == "lcd":
        parts.append(INTRODUCTION)
    elif packages:
        parts.append("\n   ".join([".. toctree::", ":hidden:", "", *packages]) + "\n")
    parts.append(f".. currentmodule:: {path}\n")
    parts += [entry(package, name, defined[f"{path}.{name}"]) for name in exports(package)]
    parts += [section(each.__name__, documented) for each in below if not is_package(each)]
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """The pages of all packages, by their names."""
    documented = homes()
    packages = [each for name in public_names() if is_package(each := import_module(name))]
    return {each.__name__: page(each, documented) for each in packages}
