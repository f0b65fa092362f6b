"""Label maps against what Procgen's saved state says is there, drawn again from the state, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lcd.envs import GAMES, ProcgenBatch, ProcgenOptions, class_names
from lcd.envs.procgen.engine import Engine
from lcd.envs.procgen.saved_state import SavedState
from lcd.envs.procgen.semantic import LabelReader, _labels_and_colours

pytestmark = pytest.mark.costly()

BORDER = {
    "caveflyer": 8, "climber": 15, "coinrun": 15, "dodgeball": 10, "fruitbot": 2, "heist": 51, "jumper": 6, "maze": 51,
    "miner": 10, "ninja": 20,
}  # fmt: skip
SPACE = 100
ALIASES = {  # object types that a game draws as other image types
    ("caveflyer", 1003): set(),
    ("chaser", 6): {"enemy", "weak enemy"},
    ("chaser", 1002): {"orb"},
    ("climber", 19): set(),
    ("coinrun", 19): set(),
    ("dodgeball", 5): {"door", "open door"},
    ("miner", 3): {"boulder"},
    ("miner", 4): {"diamond"},
}


def edges(start, length):
    """First and last-plus-one pixel of a filled stretch, as Qt rounds them."""
    start, length = np.asarray(start, np.float64), np.asarray(length, np.float64)
    return np.floor(start + 0.5).astype(int), np.floor(start + length + 0.5).astype(int)


def boxes(x, y, dx, dy, camera, eps=0.0):
    unit, view, x_off, y_off = camera
    eps = np.float32(eps)
    left, right = edges((x - eps) * unit - x_off, (dx + 2 * eps) * unit)
    top, bottom = edges((view - y - eps) * unit + y_off, (dy + 2 * eps) * unit)
    return left, right, top, bottom


def hidden(game, state, entity):
    """Objects that are in the state and not on the screen."""
    if game == "bossfight" and entity["type"] == 3:
        attack_modes = int(state.own[0])
        return state.own[1 + attack_modes + 13] == 0
    if game == "heist" and entity["type"] == 11:
        return state.own[3 + entity["image_theme"]] == 0
    return (game, int(entity["type"])) in ALIASES and not ALIASES[game, int(entity["type"])]


def names_of(game, kind, image_type, theme):
    if (game, kind) in ALIASES:
        return ALIASES[game, kind]
    if kind == 0 and game != "plunder":
        return {"player", "player walking", "player walking left", "player jumping", "player front"}
    name = GAMES[game].classes[image_type]
    return {f"{name} {theme + 1}"} if image_type in GAMES[game].themed else {name}


def true_names(game, engine, index, themes=None):
    """For every pixel, which names its label may have."""
    state = SavedState(engine.get_state(index))
    allowed: list[set[str]] = [{"empty"}]
    image = np.zeros((64, 64), int)

    def paint(box, names):
        left, right, top, bottom = (int(edge) for edge in box)
        allowed.append(names)
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = len(allowed) - 1

    def paint_entities(depth):
        for entity in state.entities[state.entities["render_z"] == depth]:
            if hidden(game, state, entity):
                continue
            x, y, rx, ry = (entity[name] for name in ("x", "y", "rx", "ry"))
            unit, view = state.camera[:2]
            if entity["use_abs_coords"]:
                box = (
                    *edges(view * (x - rx) * unit, 2 * view * rx * unit),
                    *edges(view * (y + ry) * unit, 2 * view * ry * unit),
                )
            else:
                box = boxes(x - rx, y + ry, 2 * rx, 2 * ry, state.camera)
            theme = int(entity["image_theme"]) if themes is None else themes[int(entity["image_theme"])]
            paint(box, names_of(game, int(entity["type"]), int(entity["image_type"]), theme))

    paint_entities(-1)
    height, width = state.grid.shape
    unit, view, x_off, y_off = (float(value) for value in state.camera)
    if state.option("center_agent"):
        low_x, low_y = int(x_off / unit) - 2, int(y_off / unit) - 2
        cells = [(x, y) for x in range(low_x, low_x + int(view) + 5) for y in range(low_y, low_y + int(view) + 5)]
    else:
        cells = [(x, y) for x in range(width) for y in range(height)]
    for x, y in cells:
        inside = 0 <= x < width and 0 <= y < height
        kind = int(state.grid[y, x]) if inside else BORDER.get(game, -1)
        names = set() if kind in (SPACE, -1) else names_of(game, kind, kind, 0)
        if names:
            one = np.float32(1)
            box = boxes(np.float32(x), np.float32(y + 1), one, one, state.camera, eps=0.02)
            if (game, kind) == ("chaser", 1002):  # a dot in the middle of its cell
                left, top = (np.float32(x) - np.float32(0.02)) * unit, (view - y - 1 - 0.02) * unit
                side = (1 + 0.04) * unit
                box = (*edges(left + side * 0.35, side * 0.3), *edges(top + side * 0.35, side * 0.3))
            paint(box, names)
    paint_entities(0)
    paint_entities(1)
    return image, allowed


def disagreements(game, batch, labels, index, names):
    engine = batch._engines[-1]
    image, allowed = true_names(game, engine, index, swapped_themes(engine, index))
    drawn_by_hand = {*GAMES[game].hand_drawn.values(), GAMES[game].glaze}
    wrong = {}
    for kind, expected in enumerate(allowed):
        for label in np.unique(labels[index][image == kind]).tolist():
            if names[label] not in expected | drawn_by_hand:
                wrong[names[label], tuple(sorted(expected))] = int(((image == kind) & (labels[index] == label)).sum())
    return wrong


def swapped_themes(engine: Engine, index: int):
    true_labels = engine._true_labels.get(index)
    if true_labels is None:
        return None
    ships = [engine._labels[f"ship {theme}"] for theme in range(1, 7)]
    return [ships.index(true_labels[label]) for label in ships]


@pytest.mark.parametrize("mode", ["easy", "hard"])
@pytest.mark.parametrize("game", GAMES)
def test_every_pixel_has_the_label_of_what_is_there(game, mode):
    batch = ProcgenBatch(ProcgenOptions(game, distribution_mode=mode), 16, "semantic", seed=4)
    rng = np.random.default_rng(0)
    names = class_names(game)
    wrong: dict = {}
    for step in range(60):
        labels = batch.step(rng.integers(0, 15, 16)).observations
        for what, count in disagreements(game, batch, labels, step % 16, names).items():
            wrong[what] = wrong.get(what, 0) + count
    batch.close()
    assert not wrong


@pytest.mark.parametrize("game", ["bossfight", "fruitbot", "plunder"])
def test_two_classes_in_one_colour_are_refused(game):
    unrepaired = replace(GAMES[game], replaced_themes={}, merged_themes=GAMES[game].sized_themes)
    with pytest.raises(ValueError, match=f"{game}: .* and .* are both drawn in"):
        _labels_and_colours(unrepaired)


def test_a_colour_without_a_class_is_other():
    every_colour = np.stack(np.meshgrid(*3 * [[63, 127, 191, 255]], indexing="ij"), axis=-1).astype(np.uint8)
    labels = LabelReader("maze")(every_colour)
    assert np.array_equal(np.unique(labels), [1, 3, 52, 64])
    assert (labels != 64).sum() == 3


def test_a_saved_state_survives_being_taken_apart():
    for game in GAMES:
        data = Engine(ProcgenOptions(game), 1, 0).get_state(0)
        assert SavedState(data).to_bytes() == data
