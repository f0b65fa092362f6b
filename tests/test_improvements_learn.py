"""Every improvement of policy learning learns a game that is small enough to know what is best."""

from __future__ import annotations

from typing import Any

import pytest
from stable_baselines3.common.vec_env import VecMonitor
from toy_games import ColourGame

from lcd.agents import PPO, evaluate
from lcd.agents.improvements.curious import CuriousPPO
from lcd.agents.improvements.curriculum import CurriculumPPO
from lcd.agents.improvements.decoupled import DecoupledPPO
from lcd.agents.improvements.level_replay import LevelReplayPPO
from lcd.agents.improvements.phasic import PhasicPPO
from lcd.envs import make_vec_env
from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.calibration.options import CourierOptions

pytestmark = pytest.mark.costly()

SETTINGS = {"n_epochs": 1, "device": "cpu", "seed": 0}


@pytest.mark.parametrize(
    ("learner", "more"),
    [(PhasicPPO, {"rollouts": 4}), (DecoupledPPO, {}), (CuriousPPO, {})],
    ids=lambda value: str(value),
)
def test_the_colour_is_named(learner: type[PPO], more: dict[str, Any]) -> None:
    """Of five steps each earns 1 for the action that the frame's colour names, of four."""
    usual = {"encoder": "nature:32", "n_steps": 16, "batch_size": 32, "learning_rate": 2e-3, "gamma": 0.9}
    model = learner(env=ColourGame(16), **(SETTINGS | usual | more))
    before = evaluate(model.policy, ColourGame(16), 2, 0).returns.mean()  # type: ignore[arg-type]
    model.learn(4096)
    after = evaluate(model.policy, ColourGame(16), 2, 0).returns.mean()  # type: ignore[arg-type]
    assert before < 2
    assert after > 4


@pytest.mark.parametrize("learner", [LevelReplayPPO, CurriculumPPO])
def test_parcels_are_brought_on_levels_that_were_chosen_and_on_others(learner: type[PPO]) -> None:
    options = CourierOptions(DifficultyFactors(), 50)
    usual = {"encoder": "small", "n_steps": 64, "batch_size": 128, "learning_rate": 2e-3}
    env = VecMonitor(make_vec_env(options, 32, "semantic", 0))
    model = learner(env=env, **(SETTINGS | usual))
    others = make_vec_env(options.unseen_levels(50), 32, "semantic", 1)
    before = evaluate(model.policy, others, 1, 0).returns.mean()  # type: ignore[arg-type]
    model.learn(6 * 2048)
    after = evaluate(model.policy, others, 1, 0).returns.mean()  # type: ignore[arg-type]
    assert after > before + 4
