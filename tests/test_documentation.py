"""The documentation's site is built strictly, and all that packages export is in its API reference."""

from __future__ import annotations

import inspect
import zlib
from importlib import import_module
from types import ModuleType

import build_docs
import pytest
from documentation.reference import comment, home, homes, is_function, public_names
from running import run_script_apart
from test_layout import LAYERS

EXPORTS = [
    (path, name)
    for path in public_names()
    for name in getattr(import_module(path), "__all__", ())
    if hasattr(import_module(path), "__path__") and not name.startswith("__")
]

built = pytest.mark.costly(
    "*.md",
    "docs/*.md",
    "docs/conf.py",
    "scripts/build_docs.py",
    "scripts/documentation/*.py",
    "lcd/**/*.py",
    "agents/**/*.py",
    "envs/**/*.py",
    "analyses/**/*.py",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site; its build fails where a warning is given. Sphinx changes the functions that it documents."""
    folder = tmp_path_factory.mktemp("site")
    run_script_apart(build_docs, "--output", folder)
    return folder


def entries(site) -> set[str]:
    """Names of all objects of Python that have an entry, from the inventory of the site."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[-1]
    lines = (line.split() for line in zlib.decompress(packed).decode().splitlines())
    return {name for name, kind, *_ in lines if kind.startswith("py:")}


def docstring(package: ModuleType, name: str) -> str | None:
    value = getattr(package, name)
    return value.__doc__ if inspect.isclass(value) or is_function(value) else comment(home(package, name), name)


def defined_by(module: ModuleType) -> set[str]:
    """Classes and functions of a module that are for others."""
    values = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {
        f"{module.__name__}.{name}"
        for name, value in values.items()
        if (inspect.isclass(value) or is_function(value)) and value.__module__ == module.__name__
    }


def test_all_that_packages_export_has_a_docstring():
    assert len(EXPORTS) > 60
    assert not {f"{path}.{name}" for path, name in EXPORTS if not docstring(import_module(path), name)}


def test_each_package_of_the_api_is_known_by_one_name():
    named = {name for name in public_names() if name.count(".") < 2}
    assert named == {"lcd", *(f"lcd.{name}" for name in LAYERS if name not in ("io", "cli"))}
    files = [import_module(name).__spec__.origin for name in public_names()]
    assert len({file for file in files if file}) == sum(file is not None for file in files)


@built
def test_all_that_packages_export_has_an_entry(site):
    found = entries(site)
    assert {f"{path}.{name}" for path, name in EXPORTS} <= found
    assert {name.partition(".")[0] for name in found} == {"lcd"}


@built
def test_what_modules_define_has_an_entry(site):
    defined = set().union(*(defined_by(import_module(name)) for name in public_names()))
    assert len(defined) > 300
    assert {homes().get(name, name) for name in defined} <= entries(site)


@built
def test_names_in_docstrings_are_links_as_their_module_knows_them(site):
    """`load_network` is no name of `lcd`, but of the module that defines the function in whose docstring it is."""
    page = (site / "api" / "lcd.html").read_text("utf-8")
    assert 'href="lcd.studies.html#lcd.studies.aligning.load_network"' in page
    assert 'href="lcd.measurement.html#lcd.measurement.intervals.Interval"' in page


@built
def test_pages_beside_docs_lead_to_those_in_it(site):
    assert 'href="usage.html"' in (site / "index.html").read_text("utf-8")
    assert (site / "contributing.html").is_file()
    assert 'href="taxonomy/files.html"' in (site / "taxonomy.html").read_text("utf-8")
