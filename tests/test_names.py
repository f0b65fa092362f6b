"""Names beside points: none lies on another, and where there is no room they are left out."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lcd.analyses.names import write_names


def written(points: np.ndarray, names: list[str], all_names: bool = True) -> tuple[Axes, FigureCanvasAgg]:
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    write_names(axes, points, names, size=8, all_names=all_names)
    return axes, FigureCanvasAgg(figure)


def test_names_of_near_points_do_not_lie_on_each_other() -> None:
    points = np.array([[0.5, 0.5], [0.53, 0.52], [0.47, 0.51]])
    axes, canvas = written(points, ["starpilot", "caveflyer", "dodgeball"])
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert len(boxes) == 3
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_where_there_is_no_room_names_are_left_out() -> None:
    crowd = np.random.default_rng(0).uniform(0.48, 0.52, (40, 2))
    names = [f"game{number}" for number in range(40)]
    assert len(written(crowd, names)[0].texts) == 40
    axes, canvas = written(np.vstack([crowd, [[0.1, 0.1]]]), [*names, "apart"], all_names=False)
    assert 1 < len(axes.texts) < 25
    assert "apart" in {text.get_text() for text in axes.texts}
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    pairs = [(one, other) for number, one in enumerate(boxes) for other in boxes[:number]]
    assert not any(one.overlaps(other) for one, other in pairs)
