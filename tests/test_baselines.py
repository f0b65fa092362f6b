"""Baselines: blind learners, and how much of a teacher a view can hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd as lcd_command
from in_process import InProcess
from tiny import GAME, TINY
from torch import nn
from toy_games import COLOURS, ColourGame

import lcd
from lcd.experiments.plan import plan_game
from lcd.studies.baselines import baselines_of, imitability


class Tells:
    """A policy that gives each action the colour's, with some certainty; as a teacher, and as a student."""

    def __init__(self, table):
        self.table = torch.as_tensor(table, dtype=torch.float32).log()

    def log_probabilities(self, observations):
        return self.table[observations[:, 5, 5].long() - 1]

    def set_training_mode(self, mode):
        pass


def mixed(certainty):
    return np.full((COLOURS, COLOURS), (1 - certainty) / COLOURS) + certainty * np.eye(COLOURS)


class Dropping(nn.Module):
    """A teacher that is another one in training mode."""

    def __init__(self, certain, unsure):
        super().__init__()
        self.tables = certain.table, unsure.table

    def log_probabilities(self, observations):
        return self.tables[self.training][observations[:, 5, 5].long() - 1]


@pytest.fixture
def colours(monkeypatch):
    """A run whose game is of colours, in label maps."""
    run = next(run for run in plan_game(GAME, TINY).cells if (run.view, run.learning) == ("semantic", "imitation"))
    monkeypatch.setattr(
        "lcd.studies.baselines.make_vec_env", lambda options, count, view, seed: ColourGame(count, "semantic")
    )
    return run


def test_the_teacher_itself_recovers_all_and_a_constant_nothing(colours):
    teacher = Tells(mixed(0.8))
    assert imitability(teacher, teacher, colours) == pytest.approx(1, abs=1e-6)
    assert imitability(Tells(mixed(0.0)), teacher, colours) == pytest.approx(0, abs=0.01)
    assert imitability(Tells(np.roll(mixed(0.8), 1, axis=1)), teacher, colours) < -0.5
    assert np.isnan(imitability(teacher, Tells(mixed(0.0)), colours))


def test_a_teacher_is_asked_in_evaluation_mode(colours):
    certain = Tells(mixed(0.8))
    assert imitability(certain, Dropping(certain, Tells(mixed(0.1))), colours) == pytest.approx(1, abs=1e-6)


def test_what_a_student_recovers_is_the_share_of_the_divergence(colours):
    wanted, student = mixed(0.8), mixed(0.5)
    divergence = [(wanted * np.log(wanted / other)).sum(axis=1).mean() for other in (student, mixed(0.0))]
    found = imitability(Tells(student), Tells(wanted), colours)
    assert found == pytest.approx(1 - divergence[0] / divergence[1], abs=0.01)


def test_an_action_that_the_teacher_never_takes_is_no_fault_and_one_that_the_student_never_takes_is(colours):
    sure = Tells(np.eye(COLOURS))
    assert imitability(sure, sure, colours) == pytest.approx(1)
    assert imitability(sure, Tells(mixed(0.5)), colours) < -1e6


def test_the_runs_are_blind_or_clone_the_teacher():
    plan = plan_game(GAME, TINY)
    found = baselines_of(plan)
    assert {(run.view, run.learning, run.seed) for run in found.blind} == {
        ("blind", learning, seed) for learning in ("rl", "imitation") for seed in range(TINY.seeds)
    }
    assert {(run.view, run.learning, run.seed, run.hyperparameters.mixing) for run in found.cloned} == {
        ("pixels", "imitation", 0, 1.0),
        ("semantic", "imitation", 0, 1.0),
    }
    assert {run.steps for run in (*found.blind, *found.cloned)} == {plan.budget}


def test_a_diagnosis_with_an_encoder_as_its_view_has_controls_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="has controls of its own: leave baselines out"):
        lcd.diagnose("maze", "smoke", baselines=True, semantic="expert")


@pytest.mark.costly()
@pytest.mark.usefixtures("trained_copy")
def test_the_command_measures_baselines(tmp_path, tiny_preset, monkeypatch):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    monkeypatch.setattr("lcd.studies.baselines.STATES", 256)
    done = lcd_command("diagnose", GAME, "--preset", tiny_preset, "--train-teacher", "--baselines", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "diagnoses" / f"{GAME}-tiny" / "baselines.csv")
    assert list(table["baseline"]) == ["blind"] * 2 + ["imitability"] * 2
    blind = table[table["baseline"] == "blind"]
    assert (blind["low"] <= blind["value"]).all()
    assert (blind["value"] <= blind["high"]).all()
    assert table["value"].notna().all()
    assert (table[table["baseline"] == "imitability"]["value"] < 1).all()
