"""Build the documentation's site: the README, the pages in docs/, and an API reference made from the docstrings.

    python scripts/build_docs.py --output site

It can be read from that folder without a server, from ``index.html`` on. A page that no menu leads to, a link that
leads nowhere and a docstring that names what does not exist end it with an error.
"""

from __future__ import annotations

import argparse
import gc
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from documentation.reference import pages
from sphinx.cmd.build import main as build

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

BESIDE_DOCS = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie beside docs/, and their names in the site."""

MENU = {
    "Guide": [
        "usage",
        "own-game",
        "reading",
        "method",
        "encoders",
        "visualisation",
        "neural",
        "audit",
        "validity",
        "cluster",
        "object-storage",
        "learner",
        "gpu",
        "offline-node",
    ],
    "Results": [
        "taxonomy",
        "calibration",
        "improvements",
        "perspective",
        "scaling",
        "tracking",
        "teachers",
        "semantic-view",
        "actions",
        "speed",
    ],
    "Project": ["contributing", "changelog"],
}
"""Pages by the headings of the menu; the API reference comes before the last."""


def listing(folder: Path) -> str:
    """A page that links to the files of a folder, which a link to a folder leads to on GitHub."""
    names = sorted(path.name for path in folder.iterdir())
    return "\n".join(["---", "orphan: true", "---", f"# {folder.name}", "", *(f"- [{name}]({name})" for name in names)])


def menu(reference: Iterable[str]) -> str:
    """The menu, as the start page has it; pages of packages inside others are in theirs."""
    *first, last = MENU.items()
    entries = [*first, ("API reference", [f"api/{name}" for name in reference if name.count(".") < 2]), last]
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", *names, "```", ""]) for title, names in entries
    )


def write_sources(folder: Path) -> None:
    """Write what Sphinx reads: the pages in docs/ and beside it, and those that are made."""
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("conf.py"))
    reference = pages()
    for source, page in BESIDE_DOCS.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        for name, other in BESIDE_DOCS.items():
            text = text.replace(f"]({name})", f"]({other})")
        (folder / page).write_text(text + (menu(reference) if page == "index.md" else ""), "utf-8")
    for file in folder.glob("*.md"):
        text = file.read_text("utf-8")
        for name in set(re.findall(r"\]\(([\w/-]+)\)", text)):
            if (DOCS / name).is_dir():
                (folder / name / "files.md").write_text(listing(DOCS / name), "utf-8")
                text = text.replace(f"]({name})", f"]({name}/files.md)")
        file.write_text(text, "utf-8")
    (folder / "api").mkdir()
    for name, text in reference.items():
        (folder / "api" / f"{name}.rst").write_text(text, "utf-8")


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("site"))
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        source, doctrees = Path(folder) / "source", Path(folder) / "doctrees"
        write_sources(source)
        strictly = ["--fail-on-warning", "--fresh-env", "--quiet"]
        folders = ["--conf-dir", DOCS, "--doctree-dir", doctrees, source, options.output]
        gc.disable()  # a document is a tree of many small objects: looking for garbage takes a quarter of the time
        try:
            sys.exit(build([*strictly, *map(str, folders)]))
        finally:
            gc.enable()


if __name__ == "__main__":
    main()
