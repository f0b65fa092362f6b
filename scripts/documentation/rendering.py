"""Extension of Sphinx: signatures that can be read, and links from names as the code knows them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from functools import cache
from typing import Any

from docutils import nodes
from numpydoc.docscrape import get_doc_object
from numpydoc.docscrape_sphinx import SphinxClassDoc, SphinxDocString, SphinxFunctionDoc, SphinxObjDoc
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature

from documentation.reference import homes, public_names

LONGEST_VALUE = 60
"""Characters of a constant's value that are shown; longer ones are left out."""

TEMPLATE = SphinxDocString("").template
"""Numpydoc's own extension compiles it anew for every docstring."""


class _Pair(typing.NamedTuple):
    field: int


class _Anew:
    def __repr__(self) -> str:
        return "..."


@cache
def classes_in(module: str) -> dict[str, str]:
    """Classes of the API by the names that a module has for them."""
    known = vars(sys.modules[module]).items() if module in sys.modules else ()
    public = set(public_names())
    return {
        name: f"{value.__module__}.{value.__qualname__}"
        for name, value in known
        if inspect.isclass(value) and value.__module__ in public and not value.__name__.startswith("_")
    }


def from_numpy_style(app: Sphinx, what: str, name: str, obj: Any, options: object, lines: list[str]) -> None:
    """Turn the sections of a docstring into reStructuredText; classes of the API that stand as types become links."""
    text = re.sub(r"^(\s*)(lcd(?:\.\w+)+)$", r"\1`\2`", "\n".join(lines), flags=re.MULTILINE)
    classes = classes_in(getattr(getattr(obj, "fget", obj), "__module__", None) or "")
    config = {"template": TEMPLATE, "show_class_members": False}
    config |= {"xref_param_type": True, "xref_aliases": classes, "xref_ignore": "all"}
    kinds = {"class_doc": SphinxClassDoc, "func_doc": SphinxFunctionDoc, "obj_doc": SphinxObjDoc}
    lines[:] = str(get_doc_object(obj, what, text, config=config, **kinds)).split("\n")


def is_field(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out fields of named tuples: their docstrings only number them."""
    return True if isinstance(obj, type(_Pair.field)) else None


def types_of(fields: type) -> dict[str, Any]:
    """Types of a dataclass's fields; none where only type checkers import one: then all are shown as written."""
    try:
        return typing.get_type_hints(fields)
    except NameError:
        return {}


def plain_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: object, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Types of a dataclass's fields without their limits, defaults that are made anew as an ellipsis; no protocol's."""
    if getattr(obj, "_is_protocol", False):
        return "", None
    if not (dataclasses.is_dataclass(obj) and isinstance(obj, type) and signature):
        return None
    types, found = types_of(obj), inspect.signature(obj)
    parameters = [
        each.replace(
            annotation=types.get(each.name, each.annotation),
            default=_Anew() if repr(each.default) == "<factory>" else each.default,
        )
        for each in found.parameters.values()
    ]
    plain = inspect.Signature(parameters)
    return stringify_signature(plain, unqualified_typehints=True), result


def without_long_values(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out values that fill lines: of constants, and of names for types."""
    values = [node for node in doctree.findall(addnodes.desc_annotation) if node.astext().startswith(" = ")]
    aliases = [node for node in doctree.findall(nodes.paragraph) if node.astext().startswith("alias of ")]
    for node in [*values, *aliases]:
        if len(node.astext()) > LONGEST_VALUE:
            node.parent.remove(node)


def module_of(node: addnodes.pending_xref) -> str:
    """Module in whose source a name stands: a docstring is in the module that defines its object."""
    parents: list[nodes.Element] = [node]
    while parents[-1].parent is not None:
        parents.append(parents[-1].parent)
    descriptions = [each for each in parents if isinstance(each, addnodes.desc)]
    if not descriptions:
        return node.get("py:module") or ""
    signature = typing.cast("nodes.Element", descriptions[-1][0])
    shown = f"{signature.get('module')}.{signature.get('fullname')}"
    return next((own for own, name in homes().items() if name == shown), shown).rpartition(".")[0]


def link(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Link a name as its module's code knows it, or as it is where it is defined, to where it is documented."""
    if node.get("refdomain") != "py":
        return None
    first, _, rest = node["reftarget"].partition(".")
    target, module = node["reftarget"], module_of(node)
    known: Any = getattr(sys.modules.get(module), first, None)
    if hasattr(known, "__qualname__"):
        target = ".".join([known.__module__, known.__qualname__, *([rest] if rest else [])])
    elif known is not None:
        target = f"{module}.{target}"
    for own, shown in homes().items():
        if target == own or target.startswith(f"{own}."):
            target = shown + target.removeprefix(own)
    if not target.startswith("lcd."):
        return None
    python, kind = env.domains.python_domain, node["reftype"]
    return python.resolve_xref(env, node["refdoc"], app.builder, kind, target, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add it to Sphinx."""
    app.connect("autodoc-process-docstring", from_numpy_style)
    app.connect("autodoc-skip-member", is_field)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("doctree-read", without_long_values)
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True}
