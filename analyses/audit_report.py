"""The page of an audit: one self-contained HTML file, in which every claim leads to its table and command."""

from __future__ import annotations

import base64
import io
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, StrictUndefined

import lcd
from lcd.analyses.audit_figure import draw_audit
from lcd.io.files import replacing
from lcd.measurement.hidden_losses import ALL_GAMES
from lcd.studies.audit.columns import COLUMNS
from lcd.studies.audit.result import Audit

MOST_ROWS = 40
"""Rows of a table that the page shows; its file has all."""

_TEMPLATE = "templates/audit.html.j2"


def write_audit_report(audit: Audit, path: Path, title: str = "What the mean over the games hides") -> None:
    """Write the page.

    Parameters
    ----------
    audit : Audit
        What was found.
    path : pathlib.Path
        The HTML file; it appears whole or not at all.
    title : str
        Of the page.
    """
    template = resources.files("lcd.analyses").joinpath(_TEMPLATE).read_text("utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    tables = {name: table.round(6) for name, table in audit.as_tables().items()}
    topics: dict[str, list[Any]] = {}
    for claim in audit.claims:
        topics.setdefault(claim.topic, []).append(claim)
    with replacing(path) as partial:
        partial.write_text(
            page.render(
                title=title,
                version=lcd.__version__,
                audit=audit,
                topics=topics,
                figure=_figure(audit),
                tables=[_shown(name, table) for name, table in tables.items()],
                columns=COLUMNS,
            ),
            encoding="utf-8",
        )


def _shown(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """A table for the page: its first rows, those that matter first, and a link with all of it."""
    rows = table
    if name == "gains":
        rows = table[table["grouping"] != ALL_GAMES].sort_values(["hidden_loss", "gain"], ascending=[False, True])
    elif name == "rankings" and len(table):
        first = table.iloc[0]
        same = (table[["split", "normalisation", "aggregate"]] == first[["split", "normalisation", "aggregate"]]).all(1)
        rows = table[same].sort_values("rank")
    elif name == "influence":
        rows = table.sort_values("share", ascending=False)
    elif name == "decided":
        rows = table.sort_values("lead", ascending=False)
    content = base64.b64encode(table.to_csv(index=False).encode()).decode()
    numbers = {str(column): table[column].dtype.kind in "iuf" for column in table.columns}
    return {
        "name": name,
        "link": f"data:text/csv;base64,{content}",
        "heads": list(numbers.items()),
        "rows": [
            [(_cell(row[column]), number) for column, number in numbers.items()]
            for row in rows.head(MOST_ROWS).to_dict("records")
        ],
        "count": len(table),
    }


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        if value != value:
            return ""
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)


def _figure(audit: Audit) -> str:
    """The figure as a URI; the same bytes from the same audit."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "lcd", "svg.fonttype": "none"}):
        draw_audit(audit).savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
