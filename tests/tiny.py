"""A plan so small that tests can train it for real."""

from lcd.experiments.presets import Preset
from lcd.experiments.settings import Hyperparameters

TINY = Preset(
    steps=512,
    seeds=2,
    evaluations=2,
    evaluation_episodes=2,
    teacher_factor=2,
    hyperparameters=Hyperparameters(num_envs=8, rollout_steps=16, minibatches=2, epochs=1),
)

GAME = "starpilot"
