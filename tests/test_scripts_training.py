"""Scripts that train: with rollouts of a few steps they make their tables, and a later start goes on from them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import compare_learners
import compare_learning
import encoder_study
import first_values
import harmonizer_weights
import improvement_study
import interrupted_run
import numpy as np
import pandas as pd
import pytest
from in_process import InProcess
from matplotlib.image import imread
from running import run_script
from tiny import TINY

from lcd.experiments.presets import PRESETS
from lcd.studies import harmonization

pytestmark = pytest.mark.costly("scripts/*.py", "scripts/*/*.py")

STUDY = replace(
    encoder_study.PRESET,
    evaluations=1,
    evaluation_episodes=2,
    inverse_temperatures=(1.0,),
    hyperparameters=TINY.hyperparameters,
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)


def test_settings_of_committed_results_do_not_follow_the_presets(monkeypatch):
    """Runs are found by their settings: when a preset changes, these must stay the same."""

    def names():
        study = [run.name for run in encoder_study.planned("coinrun").cells]
        return [*study, interrupted_run.settings(interrupted_run.ROLLOUTS).name]

    before = names()
    learner = replace(PRESETS["quick"].hyperparameters, minibatches=8, learning_rate=1e-3)
    changed = replace(PRESETS["quick"], evaluations=2, evaluation_episodes=8, hyperparameters=learner)
    for module in ("lcd.experiments.presets", "lcd.studies.planning"):
        monkeypatch.setattr(f"{module}.PRESETS", dict(PRESETS) | {"quick": changed})
    assert names() == before


def test_learners_are_compared_by_returns_per_second(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_learners, "PRESETS", {"standard": TINY})
    monkeypatch.setattr(compare_learners, "BASE", TINY.hyperparameters)
    rollout, rate, output = TINY.hyperparameters.rollout, 256.0, tmp_path / "encoders.csv"
    rates = pd.DataFrame([{"learner": "nature", "cell": "d", "device": "cpu", "steps_per_second": rate}])
    rates.to_csv(tmp_path / "encoders_rates.csv", index=False)
    asked = ["encoders", "--games", "starpilot", "--only", "nature", "--cells", "d", "--seconds", 8 * rollout / rate]
    asked += ["--workers", 1, "--device", "cpu", "--store", tmp_path / "store", "--output", output]
    assert run_script(compare_learners, *asked) == 0
    table = pd.read_csv(output)
    assert table["step"].tolist() == [0, 256, 512, 768, 1024]
    assert table["seconds"].tolist() == [step / rate for step in table["step"]]
    assert set(table["view"]) == {"semantic"}
    best = table["unseen_return"].max()
    assert table.loc[table["unseen_return"] == best, "score"].max() == table["score"].max()
    assert imread(output.with_suffix(".png")).ndim == 3
    monkeypatch.setattr(compare_learners, "steps_per_second", lambda *_, **__: pytest.fail("measured again"))
    before = output.read_text()
    assert run_script(compare_learners, *asked) == 0
    assert output.read_text() == before
    (run,) = (path for path in (tmp_path / "store").glob("starpilot-*"))
    assert "semantic-imitation-seed0" in run.name


def test_first_values_of_zero_are_compared_with_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(first_values, "PRESETS", {"standard": TINY})
    output = tmp_path / "first_values.csv"
    asked = ["--game", "bossfight", "--seeds", 2, "--steps", 1500, "--output", output]
    assert run_script(first_values, *asked) == 0
    table = pd.read_csv(output)
    assert (
        table.groupby(["first_values", "seed"])["step"].apply(list).tolist() == [[256, 512, 768, 1024, 1280, 1536]] * 4
    )
    assert table["training_return"].notna().equals(table["episodes"] > 0)
    returns = table.pivot_table(index=["seed", "step"], columns="first_values", values="episodes")
    assert not returns["zero"].equals(returns["noise"])
    assert imread(output.with_suffix(".png")).ndim == 3
    monkeypatch.setattr(first_values, "episodes_of", lambda *_: pytest.fail("trained again"))
    before = output.read_text()
    assert run_script(first_values, *asked) == 0
    assert output.read_text() == before


def test_improvements_are_compared_with_plain_ppo(tmp_path, monkeypatch):
    monkeypatch.setattr(improvement_study, "PRESETS", {"standard": TINY})
    output = tmp_path / "bossfight.csv"
    asked = ["bossfight", "--improvements", "curriculum", "shorter-credit", "--steps", 256, "--seeds", 2]
    asked += ["--evaluations", 1, "--workers", 1, "--store", tmp_path / "store", "--output", output]
    assert run_script(improvement_study, *asked) == 0
    table = pd.read_csv(output)
    runs = [f"{name} {seed}" for name in ("none", "curriculum", "shorter-credit") for seed in (0, 1)]
    assert list(dict.fromkeys(table["improvement"] + " " + table["seed"].astype(str))) == runs
    assert set(table["step"]) == {0, 256}
    assert len(list((tmp_path / "store").glob("bossfight-*"))) == 6
    assert imread(output.with_suffix(".png")).ndim == 3
    gains = improvement_study.summary(table)["unseen_gain"]
    last = table[table["step"] == 256].set_index(["improvement", "seed"])["unseen_return"]
    wanted = (last["curriculum"] - last["none"]).mean()
    assert gains.loc["curriculum", "mean"] == pytest.approx(wanted, abs=1e-3)
    assert gains.loc["none", "mean"] == 0


def test_the_speed_of_a_learner_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_learners, "PRESETS", {"standard": TINY})
    learners = {"nature": compare_learners.Learner()}
    first = compare_learners.measured(learners, "d", "cpu", tmp_path / "rates.csv")
    assert first["nature", "d"] > 0
    cost_the_same = {"gamma": 0.9, "entropy": 0.0, "learning_rate": 1e-4}
    learners["other"] = compare_learners.Learner(changes=cost_the_same, num_levels=3)
    monkeypatch.setattr(compare_learners, "steps_per_second", lambda *_, **__: 1.5)
    other = compare_learners.measured(learners, "d", "cpu", tmp_path / "rates.csv")
    assert other == first | {("other", "d"): first["nature", "d"]}
    learners["fewer passes"] = compare_learners.Learner(changes={"epochs": 1})
    assert compare_learners.measured(learners, "d", "cpu", tmp_path / "rates.csv")["fewer passes", "d"] == 1.5
    learners["as few"] = compare_learners.Learner(changes={"epochs": 1, "clip_range": 0.1})
    monkeypatch.setattr(compare_learners, "steps_per_second", lambda *_, **__: pytest.fail("measured again"))
    asked = compare_learners.measured(learners, "d", "cpu", tmp_path / "rates.csv", ["as few"])
    assert asked["as few", "d"] == 1.5
    learners = {"nature": compare_learners.Learner()}
    assert compare_learners.measured(learners, "d", "cpu", tmp_path / "rates.csv").items() >= first.items()


def test_two_libraries_learn_the_same_number_of_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_learning, "train_apart", compare_learning.train)  # a process each takes long to begin
    output = tmp_path / "comparison.csv"
    asked = ["--games", "starpilot", "--seeds", 1, "--steps", 128, "--num-envs", 2, "--rollout-steps", 32]
    asked += ["--episodes", 1, "--workers", 1, "--output", output]
    assert run_script(compare_learning, *asked) == 0
    table = pd.read_csv(output)
    curves = table[table["levels"] == "training"]
    assert curves.groupby("library")["step"].apply(list).to_dict() == {"agents": [64, 128], "sb3": [64, 128]}
    final = table[table["levels"] != "training"]
    assert final.groupby("library")["levels"].apply(set).to_dict() == {
        library: {"training, final", "unseen, final"} for library in ("agents", "sb3")
    }
    assert (final["episodes"] == 2).all()
    assert imread(output.with_suffix(".png")).ndim == 3
    monkeypatch.setattr(compare_learning, "train_apart", lambda *_: pytest.fail("trained again"))
    assert run_script(compare_learning, *asked) == 0


def test_encoders_are_studied_game_by_game(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_study, "PRESET", STUDY)
    monkeypatch.setattr(encoder_study, "ProcessPoolExecutor", lambda workers, _: ThreadPoolExecutor(workers))
    asked = [
        "--games",
        "starpilot",
        "--encoders",
        "random",
        "--steps",
        128,
        "--seeds",
        2,
        "--frames",
        4,
        "--attacked",
        1,
    ]
    asked += ["--workers", 1, "--store", tmp_path / "store", "--out", tmp_path / "out", "--stages", "64"]
    assert run_script(encoder_study, *asked) == 0
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert runs.groupby("encoder")["seed"].apply(list).to_dict() == {"random": [0, 1], encoder_study.SCRATCH: [0, 1]}
    assert np.isfinite(runs[["score", "training", "unseen"]]).all(axis=None)
    stages = pd.read_csv(tmp_path / "out" / "stages.csv")
    assert stages.groupby("step")["encoder"].apply(set).to_dict() == {
        64: set(runs["encoder"]),
        128: set(runs["encoder"]),
    }
    end = stages[stages["step"] == 128].reset_index(drop=True)
    pd.testing.assert_series_equal(end["robustness"], runs["robustness"])
    assert imread(tmp_path / "out" / "stages.png").ndim == 3
    assert run_script(encoder_study, "--draw-stages", "--out", tmp_path / "out") == 0
    shares = pd.read_csv(tmp_path / "out" / "shares.csv")
    assert set(shares["encoder"]) == {"random"}
    for name in ("mean_shares", "harmonizer", "ranks", "predictive_validity"):
        assert (tmp_path / "out" / f"{name}.csv").is_file()
    assert imread(tmp_path / "out" / "encoders.png").ndim == 3
    monkeypatch.setattr(encoder_study, "measure", lambda *_: pytest.fail("measured again"))
    assert run_script(encoder_study, *asked) == 0
    assert run_script(encoder_study, "--encoders", "unheard-of") == 2


def test_the_effect_of_the_harmonizer_is_measured_by_its_weight(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_study, "PRESET", STUDY)
    for module in (harmonizer_weights, harmonization):
        monkeypatch.setattr(module, "FRAMES", 4)
    asked = ["--games", "starpilot", "--steps", 128, "--seeds", 2, "--weights", 0.5, "--store", tmp_path / "store"]
    assert run_script(harmonizer_weights, *asked, "--output", tmp_path / "weights.csv") == 0
    table = pd.read_csv(tmp_path / "weights.csv")
    assert set(table["weight"]) == {0.5}
    assert set(table["measure"]) == {*harmonization.MEASURES, "loss", "peak"}
    assert table["change"].to_numpy() == pytest.approx((table["with"] - table["without"]).to_numpy(), abs=2e-6)
    plain = list((tmp_path / "store").glob("starpilot-*"))
    assert len(plain) == 4


class Killed:
    """A process that is killed twice at a random moment, and then carries its run out in this one."""

    def __init__(self, folder, rollouts, deaths):
        self.folder, self.rollouts, self.deaths, self.returncode = folder, rollouts, deaths, None

    def wait(self, seconds=None):
        if self.returncode is None and self.deaths and "undisturbed" not in self.folder.name:
            raise interrupted_run.subprocess.TimeoutExpired("run", seconds)
        if self.returncode is None:
            interrupted_run.carry_out(self.folder, self.rollouts)
            self.returncode = 0
        return self.returncode

    def send_signal(self, sent):
        self.deaths.pop()
        self.returncode = -sent


@pytest.mark.parametrize("differs", [False, True])
def test_an_interrupted_run_is_compared_with_an_undisturbed_one(monkeypatch, capsys, differs):
    deaths = [None, None]

    def start(folder, rollouts):
        (folder / "errors.txt").touch()
        return Killed(folder, rollouts + 2 * (differs and "undisturbed" not in folder.name), deaths)

    monkeypatch.setattr(interrupted_run, "start", start)
    settings, teacher = interrupted_run.settings, interrupted_run.shipped_teacher

    def shorter(rollouts):  # episodes of starpilot end sooner than those of coinrun
        run = settings(rollouts)
        evaluation = replace(run.evaluation, num_envs=1, inverse_temperatures=(1.0,))
        return replace(run, options=replace(run.options, game="starpilot"), evaluation=evaluation)

    monkeypatch.setattr(interrupted_run, "settings", shorter)
    monkeypatch.setattr(interrupted_run, "shipped_teacher", lambda game: teacher("starpilot"))
    assert run_script(interrupted_run, "--kills", 2, "--rollouts", 2) == int(differs)
    assert f"2 kills, 1 runs, {int(differs)} of them differ" in capsys.readouterr().out
