"""Scripts that measure speed, at their smallest size: what they count is right, whatever the time is."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from types import SimpleNamespace

import benchmark
import calibration_speed
import harmonizer_cost
import label_cost
import numpy as np
import pandas as pd
import pytest
import random_returns
import saved_state_speed
import shared_levels
import torch
from benchmarking.measuring import Measurement
from gymnasium import spaces
from plain_ppo import PlainPPO
from running import run_script

from lcd.envs.procgen.routes import TERRAINS

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py")


def test_the_benchmark_counts_steps_and_operations(monkeypatch, capsys):
    """A forward pass of the Nature network is known; a backward pass takes twice as much, but for the input's part."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    assert run_script(benchmark, "--measure", "agents, nature", "--rollout", 32, "--steps", 1, "--threads", 1) == 0
    ready, answer = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    found = Measurement(**json.loads(answer))
    assert found.steps_per_second * found.seconds == pytest.approx(32 * 64)
    layers = ((15 * 15 * 32, 3 * 64), (6 * 6 * 64, 32 * 16), (4 * 4 * 64, 64 * 9), (512, 1024), (16, 512))
    outputs = [2 * size * inputs for size, inputs in layers]
    expected = 4 * sum(outputs) + 3 * (2 * sum(outputs) - outputs[0])  # acting, and three epochs
    assert found.gflops * 1e9 * found.seconds / 2048 == pytest.approx(expected, rel=0.05)


def test_the_benchmark_measures_in_fresh_processes(tmp_path):
    arguments = ["--repeats", 1, "--threads", 1, "--rollout", 2, "--steps", 1, "--output", tmp_path / "table.csv"]
    assert run_script(benchmark, *arguments, "--only", "plain PPO, nature") == 0
    (row,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    assert (row["contender"], row["library"], row["game"]) == ("plain PPO, nature", "plain", "coinrun")
    assert row["steps_per_second"] * row["seconds"] == pytest.approx(2 * 64, rel=0.1)  # seconds are rounded
    assert row["peak_mb"] > 100


def test_the_benchmark_compares_rounds_and_medians(capsys):
    def measured(*speeds):
        return [Measurement(speed, 1.0, 1.0, 900.0, 100.0) for speed in speeds]

    speeds = {"agents, nature": measured(400, 90, 600), "SB3, nature": measured(100, 30, 100)}
    benchmark.report(speeds)
    said = " ".join(capsys.readouterr().out.split())
    assert "4.00" in said
    assert "3.00 / 4.00 / 6.00" in said
    assert "met" in said
    benchmark.report({name: list(reversed(measured(100))) for name in speeds})
    assert "missed" in capsys.readouterr().out


class Rewards:
    """Two games that pay 1 and 10 a step and never end."""

    num_envs = 2
    action_space = spaces.Discrete(3)

    def reset(self):
        return np.zeros((2, 64, 64, 3), np.uint8)

    def step(self, actions):
        return self.reset(), np.array([1.0, 10.0]), np.array([False, False]), [{}, {}]


def test_the_plain_ppo_estimates_advantages_as_published():
    """Without discount an advantage is the rest of the rewards and the last value, less the value."""
    model = PlainPPO(Rewards(), n_steps=5, gamma=1.0, gae_lambda=1.0, batch_size=5)
    advantages = model._rollout()
    rest = np.arange(5, 0, -1)[:, None] * np.array([1.0, 10.0])
    values = model.values  # noqa: PD011, of the same frame always
    assert advantages.numpy() == pytest.approx((torch.from_numpy(rest) + values[-1] - values).numpy(), abs=1e-4)
    before = [value.clone() for value in model.policy.parameters()]
    model.learn(10)
    assert any((one != other).any() for one, other in zip(before, model.policy.parameters(), strict=True))


def test_the_speed_of_calibration_games_is_measured(tmp_path):
    assert run_script(calibration_speed, "--steps", 2, "--repeats", 1, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table["game"]) == list(calibration_speed.GAMES)
    assert (table[["pixels", "semantic", "both"]] > 0).all(axis=None)


def test_the_cost_of_saved_states_is_measured(tmp_path):
    arguments = ["--games", "maze", "starpilot", "--repeats", 1]
    assert run_script(saved_state_speed, *arguments, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv").set_index("game")
    assert "maze" in TERRAINS
    assert "starpilot" not in TERRAINS
    assert table.loc["maze", ["step", "save", "take_apart", "find_way", "look_up"]].gt(0).all()
    assert table.loc["starpilot", ["find_way", "look_up"]].isna().all()
    assert table.loc["maze", "bytes"] > 1000
    assert table.loc["starpilot", "entities"] > table.loc["maze", "entities"] >= 1


def test_the_cost_of_labels_is_measured(tmp_path):
    arguments = ["--games", "maze", "--rollouts", 1, "--num-envs", 4, "--rollout-steps", 16]
    assert run_script(label_cost, *arguments, "--output", tmp_path / "table.csv") == 0
    (row,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    assert row["game"] == "maze"
    assert row["teacher"].startswith("floodfill-maze")
    assert row["share"] == pytest.approx(row["labels"] / row["rest"], abs=0.01)
    assert row["labels"] > 0


def test_the_cost_of_the_harmonizer_is_measured(tmp_path, monkeypatch):
    """Without processes of its own, whose peak of memory it would be."""

    def run(command, **_):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert run_script(harmonizer_cost, *command[2:]) == 0
        return argparse.Namespace(stdout=said.getvalue())

    monkeypatch.setattr(harmonizer_cost, "subprocess", SimpleNamespace(run=run, PIPE=None))
    monkeypatch.setitem(harmonizer_cost.NETWORKS, "nature", ((64, 16),))
    arguments = ["--rounds", 1, "--steps", 3, "--threads", 1, "--networks", "nature"]
    assert run_script(harmonizer_cost, *arguments, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv").set_index("step")
    assert table.loc["harmonized", "seconds_a_step"] > table.loc["plain", "seconds_a_step"] > 0
    assert set(table["batch"]) == {16}


def test_shared_levels_are_counted_in_a_table(tmp_path):
    arguments = ["--games", "maze", "--modes", "easy", "--levels", 10, "--unseen", 30]
    assert run_script(shared_levels, *arguments, "--output", tmp_path / "table.csv") == 0
    (row,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    assert (row["game"], row["training"], row["drawn"]) == ("maze", 10, 30)
    assert row["share"] == pytest.approx(row["shared"] / 30)


def test_random_play_is_measured_beside_the_published_range(tmp_path):
    arguments = ["--games", "maze", "--modes", "easy", "hard", "--episodes", 8]
    assert run_script(random_returns, *arguments, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv").set_index("mode")
    assert table["random"].to_dict() == {"easy": 5, "hard": 4}
    assert set((table["return"] * 8 / 10) % 1) == {0.0}  # an episode returns 0 or 10
    assert np.allclose(table["score"], (table["return"] - table["random"]) / (10 - table["random"]), atol=1e-4)
