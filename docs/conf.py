"""Settings of Sphinx, with which `scripts/build_docs.py` builds the documentation's site."""

from __future__ import annotations

project = "Learning Challenge Diagnosticator"
extensions = ["myst_parser", "sphinx.ext.autodoc", "documentation.rendering"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),  # types in signatures: other packages' classes, type variables
    ("py:.*", r"(?!lcd\.).*"),  # parameters, files, and names of other packages
    ("py:.*", r"lcd\.(io|cli)\..*"),  # which have no pages: they are no part of the API
]

html_theme = "furo"
html_title = project
html_theme_options = {"light_css_variables": {"code-font-size": "81.25%"}}  # 90 characters in a line
html_show_copyright = False
html_copy_source = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

myst_heading_anchors = 3  # headings can be linked to, as on GitHub

default_role = "py:obj"  # names in single backticks are links
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_typehints_format = "short"
autodoc_use_type_comments = False
