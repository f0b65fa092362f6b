"""Pretraining learns: on a game's own frames better than chance, and from large ones."""

from __future__ import annotations

import numpy as np
import pytest
from wandering_square import wandering_square

from lcd.envs import ProcgenOptions
from lcd.pretraining.objectives import OBJECTIVES
from lcd.pretraining.pretraining import Pretraining, pretrain, pretrain_on_frames

FOUR = ((0,), (1,), (2,), (3,))
SMALL = {"architecture": "small", "frames": 4_096, "epochs": 3, "batch_size": 128, "learning_rate": 2e-3}

pytestmark = pytest.mark.costly()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_learned_better_than_an_untrained_encoder_does_it(name):
    sparing = {"epochs": 1, "frames": 2_048} if name == "segmentation" else {}
    card = pretrain(ProcgenOptions("coinrun"), Pretraining(name, **(SMALL | sparing))).card
    lower_is_better = card["measure"] in ("squared error", "slowness")
    assert (card["score"] < card["untrained"]) == lower_is_better
    assert (card["game"], card["num_levels"], card["objective"]) == ("coinrun", 200, name)
    if name in ("slow-features", "predictive-coding"):  # the others take more frames
        assert (card["score"] < card["chance"]) == lower_is_better
    if name == "predictive-coding":
        assert card["score"] > 10 / SMALL["batch_size"]  # chance is one in a batch


@pytest.mark.parametrize(
    ("name", "game", "settings", "gain"),
    [
        ("inverse-dynamics", "coinrun", {"epochs": 6}, 0.05),
        ("autoencoding", "maze", {"epochs": 3}, -0.005),
        ("segmentation", "maze", {"epochs": 3}, 0.01),
    ],
)
def test_on_unseen_levels_an_encoder_is_better_than_chance(name, game, settings, gain):
    card = pretrain(ProcgenOptions(game), Pretraining(name, **(SMALL | {"frames": 8_000} | settings))).card
    assert (card["score"] - card["chance"]) * np.sign(gain) > abs(gain)


@pytest.mark.parametrize(("name", "least"), [("segmentation", 0.95), ("inverse-dynamics", 0.9)])
def test_large_frames_are_learned_from_as_well(name, least):
    frames, others = (wandering_square(32, steps=32, seed=seed, side=128, anywhere=False) for seed in (0, 1))
    settings = Pretraining(name, "small", epochs=6, batch_size=16, learning_rate=2e-3)
    assert pretrain_on_frames(frames, others, FOUR, settings)[1]["score"] >= least
