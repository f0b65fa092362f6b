"""The report of a taxonomy: one self-contained HTML page."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image
from plotly.offline import get_plotlyjs

import lcd
from lcd.analyses.diagnosis_figure import CELL_STYLES
from lcd.analyses.palette import DEMAND_STYLES
from lcd.analyses.taxonomy_figure import CLASS_STYLES, FLOOR_LIMITED, map_range
from lcd.envs import GameOptions, make_vec_env, paint
from lcd.envs.family import game_options, random_actions, runs_others_code
from lcd.envs.procgen.library import ProcgenMissing
from lcd.io.files import replacing
from lcd.measurement.demands import CONTRASTS
from lcd.measurement.rule import NEGLIGIBLE, VerdictName
from lcd.measurement.scores import CELLS, LEVELS, mean_curves
from lcd.studies.scaling import more_steps
from lcd.studies.survey.columns import COLUMNS as SURVEY_COLUMNS
from lcd.studies.survey.columns import TABLES
from lcd.studies.taxonomy.columns import COLUMNS
from lcd.studies.taxonomy.positions import PLANE
from lcd.studies.taxonomy.taxonomy import Taxonomy

FRAME_STEPS, FRAME_SCALE = 40, 3
"""Random steps after which a game's frame is taken, and pixels for each of its pixels."""

VERDICTS: Mapping[VerdictName, tuple[str, str]] = {
    "perception-limited": (
        "Pixels cost much even with expert labels; learning from reward costs little, or surely less.",
        "pretrained or larger encoders, augmentation, auxiliary losses on frames.",
    ),
    "policy-limited": (
        "Learning from reward costs much even with label maps; pixels cost little, or surely less.",
        "exploration, credit assignment, more steps, demonstrations.",
    ),
    "limited by both": (
        "Each help alone leaves much undone.",
        "what the two gains say; often both are needed.",
    ),
    "limited jointly": ("Either help alone suffices: only learning both at once is hard.", "either."),
    "not limited": (
        "Neither help brings anything.",
        "nothing of the two; a better teacher or budget if there is headroom.",
    ),
    "inconclusive": (
        "The intervals do not decide what limits these games.",
        "what would decide it, in the game's panel below.",
    ),
}
"""What each verdict says, and what it points to, in the order of the page; docs/reading.md has more."""


def write_report(taxonomy: Taxonomy, path: Path, title: str = "Taxonomy") -> None:
    """Write the page.

    Parameters
    ----------
    taxonomy : Taxonomy
        What to report.
    path : pathlib.Path
        The HTML file; it appears whole or not at all.
    title : str
        Of the page.
    """
    template = resources.files("lcd.analyses").joinpath("templates/report.html.j2").read_text("utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    tables = taxonomy.as_tables()
    with replacing(path) as partial:
        partial.write_text(
            page.render(
                title=title,
                version=lcd.__version__,
                plotly=_plotly(),
                data=_json(page_data(taxonomy)),
                games=_records(taxonomy.tables.games),
                seeds=sorted({taxonomy.tables.games["seeds"].min(), taxonomy.tables.games["seeds"].max()}),
                configuration=_configuration(taxonomy.tables.games),
                verdicts=_verdict_rows(taxonomy),
                floor_limited=bool((taxonomy.positions["floor_limited"] == FLOOR_LIMITED).any()),
                classes=_class_rows(taxonomy),
                reliability=tables["reliability"].to_dict("records"),
                families=tables["families"].to_dict("records"),
                cheap=tables["cheap_agreement"].to_dict("records"),
                aggregates=tables["aggregates"].to_dict("records"),
                selection=tables["class_selection"].to_dict("records"),
                confirmed=taxonomy.confirmation.confirmed,
                confirmation=str(taxonomy.confirmation),
                orders=_orders(taxonomy),
                cheaper=tables["cheaper"].to_dict("records"),
                percent=_percent,
                downloads=_downloads(taxonomy, tables),
                columns=SURVEY_COLUMNS | COLUMNS,
                threshold=NEGLIGIBLE,
            ),
            encoding="utf-8",
        )


def page_data(taxonomy: Taxonomy) -> dict[str, Any]:
    """Data of the page's figures, as JSON-able values."""
    tables = taxonomy.tables
    styles = dict(zip(taxonomy.classes.names, CLASS_STYLES, strict=False))
    games = {}
    measured = {row["game"]: row for row in _records(tables.games)}
    more = more_steps(tables.curves)
    for row in taxonomy.positions.to_dict("records"):
        game, known = row["game"], measured[row["game"]]
        games[game] = {
            "class": row["class"],
            "probability": row["probability"],
            "floor_limited": row["floor_limited"] == FLOOR_LIMITED,
            "verdict": row["verdict"],
            "reason": known["reason"],
            "notes": [
                text for text in (known["would_decide"], known["cautions"], more.get(game)) if isinstance(text, str)
            ],
            "teacher": row["teacher_score"],
            "quantities": {name: [row[name], row[f"{name}_low"], row[f"{name}_high"]] for name in CONTRASTS},
            "frames": _pictures(known),
            "curves": _curves(tables.curves[tables.curves["game"] == game]),
        }
    return {
        "games": games,
        "classes": {name: {"colour": style.colour, "symbol": style.symbol} for name, style in styles.items()},
        "cells": {
            letter: {"name": style.name, "colour": style.colour, "dashed": style.line != "-"}
            for letter, style in CELL_STYLES.items()
        },
        "demands": {name: {"name": style.name, "colour": style.colour} for name, style in DEMAND_STYLES.items()},
        "threshold": NEGLIGIBLE,
        "ranges": [map_range(taxonomy.positions, demand) for demand in PLANE],
        "seeds": taxonomy.seeds.to_dict("list"),
        "steps": taxonomy.steps.to_dict("list"),
        "cheap": taxonomy.cheap.to_dict("records"),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, with None for missing values."""
    known = table.notna()
    return [{name: table[name][row] if known[name][row] else None for name in table.columns} for row in table.index]


def _configuration(games: pd.DataFrame) -> dict[str, str]:
    """Settings of the survey, for display."""
    first = _records(games)[0]
    hours, decided = games["core_hours"].sum(), int((games["verdict"] != "inconclusive").sum())
    settings = {
        "preset": first["preset"],
        "steps a cell": f"{first['budget']:,}",
        "encoder": first["encoder"],
        "Procgen's distribution mode": first["mode"],
        "levels that the learners train on": first["training_levels"] and f"{first['training_levels']:,.0f}",
        "appearance": first["appearance"] or "as published",
        "cost of all runs": f"{hours:.1f} core-hours" if hours else None,
        "games with a verdict": f"{decided} of {len(games)}",
        "cost of a game with a verdict": f"{hours / decided:.1f} core-hours" if hours and decided else None,
    }
    return {name: str(value) for name, value in settings.items() if value is not None}


def _pictures(game: dict[str, Any]) -> list[str] | None:
    """A frame and its label map as URIs; None where the game cannot be made here, or a table's file names code."""
    if (options := _as_measured(game)) is None or runs_others_code(options):
        return None
    try:
        frames = twin_frames(options)
    except ProcgenMissing:
        return None
    return [_data_uri(_png(frame), "image/png") for frame in frames]


def _as_measured(game: dict[str, Any]) -> GameOptions | None:
    """Options of a game as it was measured, from its row in the table of games; None for a game that is not known."""
    try:
        appearance = (game["appearance"] or "").split() or None
        return game_options(game["game"], distribution_mode=game["mode"] or None, appearance=appearance)
    except ValueError:
        return None


def twin_frames(options: GameOptions, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame of a game in both views, after some random steps.

    Returns
    -------
    pixels, labels : numpy.ndarray, shape (192, 192, 3), uint8
        The frame, and the label map in the colours of `lcd.envs.paint`.
    """
    env = make_vec_env(options, 1, "both", seed)
    random = np.random.default_rng(seed)
    try:
        observed = env.reset()
        for _ in range(FRAME_STEPS):
            observed = env.step(random_actions(options, random, 1))[0]
        assert isinstance(observed, dict)
        views = observed["pixels"][0], paint(observed["semantic"][0])
    finally:
        env.close()
    enlarged = [view.repeat(FRAME_SCALE, axis=0).repeat(FRAME_SCALE, axis=1) for view in views]
    return enlarged[0], enlarged[1]


def _curves(curves: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Mean curve of each cell on each kind of levels, with the range of its seeds."""
    means = mean_curves(curves)
    found: dict[str, dict[str, Any]] = {}
    for levels in LEVELS:
        found[levels] = {}
        for letter, (view, learning) in CELLS.items():
            chosen = (means["view"] == view) & (means["learning"] == learning) & (means["levels"] == levels)
            found[levels][letter] = means.loc[chosen, ["step", "mean", "low", "high"]].round(4).to_dict("list")
    return found


def _verdict_rows(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """The verdicts that some game has, what they say, and these games, those with the largest demand first."""
    positions = taxonomy.positions
    sizes = positions[list(PLANE)].max(axis=1)
    rows = []
    for name, (says, advice) in VERDICTS.items():
        chosen = positions[positions["verdict"] == name]
        order = sizes[chosen.index].sort_values(ascending=False, kind="stable").index
        games = [
            {"name": game, "floor_limited": floor == FLOOR_LIMITED}
            for game, floor in zip(chosen["game"][order], chosen["floor_limited"][order], strict=True)
        ]
        if games:
            rows.append({"name": name, "says": says, "advice": advice, "games": games})
    return rows


def _class_rows(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    positions = taxonomy.positions
    rows = []
    for name in taxonomy.classes.names:
        members = positions[positions["class"] == name]
        rows.append({"name": name, "games": members["game"].tolist(), "count": len(members)})
    return rows


def _orders(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """The games in the order of each demand, the largest first."""
    return [
        {
            "name": DEMAND_STYLES[demand].name,
            "games": taxonomy.positions.sort_values(demand, ascending=False)["game"].tolist(),
        }
        for demand in PLANE
    ]


def _percent(share: float) -> str:
    """A share for a table; empty where there is none."""
    return "" if np.isnan(share) else f"{100 * share:.0f} %"


def _downloads(taxonomy: Taxonomy, tables: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """Every table as a link with its content."""
    everything = {name: getattr(taxonomy.tables, name) for name in TABLES} | dict(tables)
    return [
        {"name": f"{name}.csv", "link": _data_uri(table.round(6).to_csv(index=False).encode(), "text/csv")}
        for name, table in everything.items()
    ]


def _plotly() -> str:
    """The drawing library, compressed and in letters; the same text from the same library."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _json(value: Any) -> str:
    """JSON that is safe within a script element, with null for non-finite numbers."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(key): plain(each) for key, each in item.items()}
        if isinstance(item, (list, tuple)):
            return [plain(each) for each in item]
        if isinstance(item, (float, np.floating)):
            return round(float(item), 5) if np.isfinite(item) else None
        return item.item() if isinstance(item, np.generic) else item

    return json.dumps(plain(value), allow_nan=False).replace("<", "\\u003c")  # neither a tag nor a comment begins
