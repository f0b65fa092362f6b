"""What a run learns is held: who changes it raises TRAINING_VERSION, so that old runs are not mixed with new ones.

``python tests/test_training_is_the_same.py`` writes the numbers of the present code.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from lcd.agents import load_policy
from lcd.envs.family import game_options
from lcd.experiments.run import train
from lcd.experiments.settings import EXPERT, TRAINING_VERSION, Evaluation, Hyperparameters, RunSettings
from lcd.teachers.library import shipped_teacher

pytestmark = pytest.mark.costly("lcd/teachers/data/*", "lcd/teachers/encoders/*.py", "tests/training.json")

FILE = Path(__file__).parent / "training.json"
HYPER = Hyperparameters(num_envs=8, rollout_steps=16, minibatches=4, epochs=2)
STEPS = 4 * HYPER.rollout


def settings_of(game: str, view: str, learning: str, **others: object) -> RunSettings:
    evaluation = Evaluation((0, STEPS), 2)
    options = game_options(game, num_levels=20)
    return RunSettings(
        options, view, learning, 1, STEPS, evaluation, hyperparameters=HYPER, precision="float32", **others
    )


RUNS = {
    "reward from pixels": settings_of("maze", "pixels", "rl"),
    "reward from label maps": settings_of("starpilot", "semantic", "rl", encoder="impala:4,8"),
    "imitation from pixels": settings_of("maze", "pixels", "imitation", teacher="shipped"),
    "imitation of a growing data set": replace(
        settings_of("courier", "semantic", "imitation", teacher=EXPERT, encoder="small"),
        hyperparameters=replace(HYPER, memory=2, mixing=0.5),
    ),
    "harmonized": settings_of("maze", "pixels", "rl", harmonizer=1.0, encoder="small"),
}


def numbers_of(settings: RunSettings, folder: Path) -> dict[str, float]:
    """Losses of each update, and the size of each layer at the end."""
    teacher = None
    if settings.teacher is not None:
        teacher = load_policy(shipped_teacher(settings.game)[0])[0] if settings.teacher != EXPERT else _expert(settings)
    torch.set_num_threads(1)
    train(settings, folder, teacher=teacher, device="cpu")
    log = pd.read_csv(folder / "progress.csv")
    losses = [name for name in log.columns if name.startswith("train/") and "loss" in name]
    found = {f"{name} {row}": log[name][row] for name in losses for row in log.index if log[name].notna()[row]}
    weights = load_policy(folder / "policy.safetensors")[0].state_dict()
    sizes = {name: float(value.double().abs().mean()) for name, value in weights.items() if value.is_floating_point()}
    return {name: float(f"{value:.6g}") for name, value in (found | sizes).items()}


def _expert(settings: RunSettings) -> object:
    from lcd.experiments.run import teacher_of

    return teacher_of(settings, None)


@pytest.mark.parametrize("name", RUNS)
def test_training_with_the_same_version_is_the_same(name, tmp_path):
    held = json.loads(FILE.read_text())
    assert held["training_version"] == TRAINING_VERSION, f"run python {Path(__file__).name}"
    found = numbers_of(RUNS[name], tmp_path)
    wanted = held["runs"][name]
    assert found.keys() == wanted.keys()
    # Processors round differently, most where biases that began at 0 are still tiny. What is learned otherwise differs
    # in the first digits after some updates.
    alike = {key: pytest.approx(value, rel=2e-3, abs=1e-5) for key, value in wanted.items()}
    differing = {key: (found[key], value) for key, value in wanted.items() if found[key] != alike[key]}
    assert not differing, "what a run learns has changed: raise TRAINING_VERSION, and write these numbers again"


def test_a_changed_loss_is_noticed(tmp_path, monkeypatch):
    from lcd.agents import PPO

    original = PPO.minibatch_loss

    def heavier(self, batch, clip_range):
        self.vf_coef = 0.6
        return original(self, batch, clip_range)

    monkeypatch.setattr(PPO, "minibatch_loss", heavier)
    wanted = json.loads(FILE.read_text())["runs"]["reward from pixels"]
    found = numbers_of(RUNS["reward from pixels"], tmp_path)
    assert any(found[key] != pytest.approx(value, 2e-3) for key, value in wanted.items())


if __name__ == "__main__":
    runs = {}
    for title, run in RUNS.items():
        with tempfile.TemporaryDirectory() as made:
            runs[title] = numbers_of(run, Path(made))
    FILE.write_text(json.dumps({"training_version": TRAINING_VERSION, "runs": runs}, indent=1) + "\n")
    sys.exit()
