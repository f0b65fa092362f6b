"""Encoder ablations: the share of the perceptual demand that each encoder recovers."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from commands import lcd
from rich.console import Console
from scipy import stats
from tiny import GAME, TINY

from lcd.agents import import_encoder, save_backbone
from lcd.agents.encoders.convolutional import Small
from lcd.cli.display import ablation_rows
from lcd.envs import ProcgenOptions
from lcd.envs.family import game_options, policy_spaces
from lcd.experiments.plan import plan_game
from lcd.experiments.resources import Resources
from lcd.experiments.store import Store
from lcd.measurement.intervals import cell_samples, contrast_intervals, fieller_limits
from lcd.measurement.scores import CELLS
from lcd.pretraining.pretraining import Pretrained, pretrain
from lcd.studies.encoder_ablation import (
    EncoderAblation,
    _is_privileged,
    ablation_table,
    missing_runs,
    resolve_encoders,
    shares_over_games,
)
from lcd.studies.game_encoders import GameEncoder, pretrain_all

FRAMES = policy_spaces(ProcgenOptions("maze"), "pixels")[0]


def scores(heights, *, noise=0.0, seeds=3, seed=0):
    """Scores of cells at given heights."""
    random = np.random.default_rng(seed)
    rows = [
        ("maze", *CELLS[letter], number, levels, height + noise * random.standard_normal(), 0.0)
        for letter, height in heights.items()
        for number in range(seeds)
        for levels in ("unseen", "training")
    ]
    return pd.DataFrame(rows, columns=["game", "view", "learning", "seed", "levels", "area", "area_error"])


def test_the_share_is_the_gain_divided_by_the_demand():
    diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9})
    table = ablation_table(diagnosed, {"half": scores({"a": 0.3, "c": 0.7}), "none": scores({"a": 0.2, "c": 0.5})})
    shares = table.set_index(["encoder", "learning"])["share"]
    assert shares["half", "imitation"] == pytest.approx(0.5)
    assert shares["half", "rl"] == pytest.approx(0.5)
    assert shares["none", "imitation"] == pytest.approx(0)
    assert table["demand"].tolist() == pytest.approx([0.4, 0.2] * 2)
    assert np.allclose(table["share_low"], table["share_high"])  # nothing varies


def test_a_gain_that_does_not_vary_leaves_the_share_as_certain_as_its_demand():
    floored = scores({"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.8})
    floored.loc[floored["area"] == 0.8, "area"] += np.tile([-0.2, 0.0, 0.2], (2, 1)).T.ravel()
    row = ablation_table(floored, {"as low": scores({"c": 0.0})}).iloc[0]
    assert row["demand_low"] > 0
    assert (row["gain_low"], row["gain_high"], row["share_low"], row["share_high"]) == (0, 0, 0, 0)


def test_a_learning_algorithm_whose_cells_are_missing_is_left_out():
    found = ablation_table(scores({"c": 0.5, "d": 0.9}), {"half": scores({"c": 0.7})})
    assert found[["encoder", "learning", "share"]].to_numpy().tolist() == [["half", "imitation", pytest.approx(0.5)]]
    only_imitation = ablation_table(scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9}), {"half": scores({"c": 0.7})})
    assert only_imitation["learning"].tolist() == ["imitation"]


def test_limits_hold_the_true_share_and_are_infinite_where_there_may_be_no_demand():
    held = 0
    for seed in range(200):
        diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9}, noise=0.04, seed=seed)
        other = scores({"a": 0.3, "c": 0.7}, noise=0.04, seed=1000 + seed)
        row = ablation_table(diagnosed, {"half": other}).iloc[0]
        held += row["share_low"] <= 0.5 <= row["share_high"]
    assert held >= 0.92 * 200
    nothing = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.5}, noise=0.04)
    row = ablation_table(nothing, {"half": scores({"a": 0.3, "c": 0.7}, noise=0.04, seed=9)}).iloc[0]
    assert (row["share_low"], row["share_high"]) == (-np.inf, np.inf)


def test_the_noise_of_the_shared_cell_cancels_where_a_share_is_near_one():
    widths, held = [], 0
    for seed in range(200):
        diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9}, noise=0.005, seed=seed)
        own = (diagnosed["view"] == "pixels") & (diagnosed["learning"] == "imitation")
        diagnosed.loc[own, "area"] += 0.04 * np.random.default_rng(seed).standard_normal(own.sum())
        row = ablation_table(diagnosed, {"most": scores({"c": 0.86}, noise=0.005, seed=1000 + seed)}).iloc[0]
        held += row["share_low"] <= 0.9 <= row["share_high"]
        widths.append(row["share_high"] - row["share_low"])
    assert held >= 0.92 * 200
    assert np.median(widths) < 0.15  # with independent errors it would be 0.64


def test_a_share_is_not_more_certain_than_its_gain_where_seeds_agree_by_chance():
    random, open_gains = np.random.default_rng(0), 0
    for seed in range(100):
        noise, error = random.choice([0.001, 0.02], 2), random.choice([0.001, 0.1])
        diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9}, noise=noise[0], seed=seed)
        other = scores({"a": 0.25, "c": 0.55}, noise=noise[1], seed=1000 + seed)
        tables = (table.assign(area_error=error) for table in (diagnosed, other))
        for row in ablation_table(next(tables), {"slightly": next(tables)}).to_dict("records"):
            for of in ("gain", "demand"):
                if row[f"{of}_low"] <= 0 <= row[f"{of}_high"]:
                    open_gains += of == "gain"
                    assert row["share_low"] <= 0 <= row["share_high"], row
    assert open_gains > 50
    without = ablation_table(diagnosed.assign(area_error=np.nan), {"slightly": other.assign(area_error=np.nan)})
    pd.testing.assert_frame_equal(without, ablation_table(diagnosed, {"slightly": other}))


def test_a_demand_has_the_interval_that_the_diagnosis_gives_it_however_unequal_the_cells():
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9})
        spread = np.where((diagnosed["view"] == "pixels"), 0.005, 0.08)
        diagnosed["area"] += spread * random.standard_normal(len(diagnosed))
        row = ablation_table(diagnosed, {"half": scores({"a": 0.3, "c": 0.7})}).iloc[0]
        held += row["demand_low"] <= 0.4 <= row["demand_high"]
    own = contrast_intervals(*cell_samples(diagnosed, "unseen", "area"))["perceptual"]
    assert (row["demand_low"], row["demand_high"]) == pytest.approx((own.low, own.high))
    assert held >= 0.93 * 400


def test_fieller_limits_are_where_the_ratio_is_just_significant():
    covariance = np.array([[0.04, 0.01], [0.01, 0.02]])
    for ratio in fieller_limits(1.0, 2.0, covariance, 2.0):
        error = np.sqrt(np.array([1, -ratio]) @ covariance @ np.array([1, -ratio]))
        assert abs(1.0 - ratio * 2.0) == pytest.approx(2.0 * error)


def shares_of(gains, demands):
    """One encoder's row of each game."""
    table = pd.DataFrame({"gain": gains, "demand": demands})
    return table.assign(encoder="half", learning="imitation", score=table["gain"] + 0.1)


def test_over_games_the_share_is_that_of_the_mean_demand_however_small_one_of_them_is():
    gains = np.array([0.2, 0.15, 0.2, 0.15, 0.2, 0.0])
    row = shares_over_games(shares_of(gains, 2 * gains)).iloc[0]
    assert (row["games"], row["share"], row["score"]) == (6, pytest.approx(0.5), pytest.approx(0.25))
    assert row["share_low"] == pytest.approx(0.5) == row["share_high"]  # the same in each that has a demand
    expected = stats.t.interval(0.95, 5, gains.mean(), stats.sem(gains))
    assert (row["gain_low"], row["gain_high"]) == pytest.approx(expected)
    alone = shares_over_games(shares_of([0.2], [0.4])).iloc[0]
    assert alone["share"] == pytest.approx(0.5)
    assert np.isnan(alone[["gain_low", "demand_high", "share_low", "share_high"]].astype(float)).all()


def test_limits_over_games_hold_the_share_of_all_such_games():
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        demands = 0.3 + 0.1 * random.standard_normal(6)
        gains = 0.5 * demands + 0.05 * random.standard_normal(6)
        row = shares_over_games(shares_of(gains, demands + 0.05 * random.standard_normal(6))).iloc[0]
        held += row["share_low"] <= 0.5 <= row["share_high"]
    assert 0.92 * 400 <= held <= 0.98 * 400


def test_only_cells_from_pixels_are_trained_again():
    plan = plan_game("maze", TINY)
    ablation = EncoderAblation(plan, {"random": "nature+frozen"})
    runs = ablation.as_plan().runs
    assert len(runs) == len(set(runs)) == len(plan.runs) + 2 * TINY.seeds
    assert {(run.view, run.encoder) for run in runs if run not in plan.runs} == {("pixels", "nature+frozen")}


def test_short_names_resolve_to_encoders(tmp_path):
    pretrained = []

    def pretrain(objective):
        pretrained.append(objective)
        return tmp_path / f"{objective}.safetensors"

    found = resolve_encoders(["scratch", "random", "slow-features", "efficientnet_lite0", "random"], "nature", pretrain)
    assert found == {
        "random": "nature+frozen",
        "slow-features": f"nature@{tmp_path}/slow-features.safetensors",
        "efficientnet_lite0": "efficientnet_lite0",
    }
    assert pretrained == ["slow-features"]
    tuned = resolve_encoders(["slow-features+tuned", "segmentation+tuned=1e-4"], "nature", pretrain)
    assert list(tuned.values()) == [
        f"nature@{tmp_path}/slow-features.safetensors+tuned",
        f"nature@{tmp_path}/segmentation.safetensors+tuned=1e-4",
    ]
    with pytest.raises(ValueError, match="after that \\+frozen, \\+tuned or"):
        resolve_encoders(["slow-features+tamed"], "nature", pretrain)
    assert len(pretrained) == 3  # nothing is pretrained for an invalid name
    with pytest.raises(ValueError, match="Unknown encoder 'resnet'"):
        resolve_encoders(["resnet"], "nature", pretrain)
    with pytest.raises(ValueError, match="scratch is the encoder of the diagnosis itself"):
        resolve_encoders(["scratch"], "nature", pretrain)
    assert resolve_encoders([], "nature", pretrain) == {}
    for names in (["nature"], ["random", "nature+frozen"]):
        with pytest.raises(ValueError, match="is that of the diagnosis, or of another name that is compared"):
            resolve_encoders(names, "nature", pretrain)


@pytest.mark.parametrize(
    ("card", "privileged"),
    [
        ({"objective": "segmentation"}, True),
        ({"objective": "autoencoding"}, False),
        ({"run": {"view": "semantic", "learning": "rl"}}, True),
        ({"run": {"view": "pixels", "learning": "imitation"}}, True),
        ({"run": {"view": "pixels", "learning": "rl", "harmonizer": 1.0}}, True),
        ({"run": {"view": "pixels", "learning": "rl", "harmonizer": 0.0}}, False),
        ({"run": {"view": "pixels", "learning": "rl", "encoder_checksum": "0" * 64}}, True),
        ({"objective": "of another version"}, False),
    ],
)
def test_an_encoder_trained_with_the_games_state_is_privileged(tmp_path, card, privileged):
    save_backbone(Small(FRAMES), tmp_path / "encoder.safetensors", "small", card)
    assert _is_privileged(f"small@{tmp_path / 'encoder.safetensors'}") == privileged


@pytest.mark.usefixtures("short_timing")
def test_every_encoder_of_an_ablation_can_be_timed(tmp_path, tiny_preset):
    options = ["--preset", tiny_preset, "--seeds", "1", "--encoder", "small", "--dry-run"]
    encoders = "scratch,random,segmentation,segmentation+tuned,harmonized"
    done = lcd("diagnose", "maze", *options, "--encoders", encoders, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 runs" in done.stdout  # four cells, and two with each
    assert "harmonized" in done.stdout


def test_missing_runs_are_those_that_would_be_trained(tmp_path):
    plan, store, folder = plan_game("maze", TINY), Store(tmp_path / "runs"), tmp_path / "encoders"
    names = ["random", "autoencoding"]
    random = EncoderAblation(plan, {"random": "nature+frozen"}).runs_with("nature+frozen")
    for run in random:
        store.folder(run).mkdir(parents=True)
    assert missing_runs(plan, names, store, folder) == [("autoencoding", run) for run in random]  # stand-ins
    file = GameEncoder.of(plan, "autoencoding", folder).file
    folder.mkdir()
    save_backbone(Small(FRAMES), file, "small", {})
    pretrained = EncoderAblation(plan, {}).runs_with(f"nature@{file}")
    assert missing_runs(plan, names, store, folder) == [("autoencoding", run) for run in pretrained]
    store.folder(pretrained[0]).mkdir()
    assert missing_runs(plan, names, store, folder) == [("autoencoding", run) for run in pretrained[1:]]


def test_the_control_has_random_weights_whatever_the_diagnosis_has(tmp_path):
    def pretrain(objective):
        return tmp_path / "pretrained.safetensors"

    for preset in ("nature:64", "nature:64@other.safetensors", "nature:64@other.safetensors+tuned"):
        found = resolve_encoders(["random", "autoencoding"], preset, pretrain)
        assert found == {"random": "nature:64+frozen", "autoencoding": f"nature:64@{tmp_path}/pretrained.safetensors"}
    with pytest.raises(ValueError, match="no control 'random' for 'efficientnet_lite0', which is always pretrained"):
        resolve_encoders(["random"], "efficientnet_lite0", pretrain)
    with pytest.raises(ValueError, match="The encoder 'random' is that of the diagnosis"):
        resolve_encoders(["random"], "nature:64+frozen", pretrain)
    with pytest.raises(ValueError, match="is frozen, so the harmonizer cannot train it"):
        resolve_encoders(["harmonized"], "nature+frozen", pretrain)


def test_an_encoder_is_pretrained_again_for_another_appearance(tmp_path, monkeypatch):
    pretrained = []

    def pretrain(options, settings):
        pretrained.append(options)
        return Pretrained(Small(FRAMES), {})

    monkeypatch.setattr("lcd.pretraining.pretraining.pretrain", pretrain)
    for appearance in ((), ("monochrome",), ()):
        plan = plan_game(game_options("maze", appearance=appearance), TINY)
        pretrain_all([GameEncoder.of(plan, "autoencoding", tmp_path)] * 2, Resources(workers=1), print)
    assert len(pretrained) == len(list(tmp_path.iterdir())) == 2


@pytest.mark.costly()
def test_encoders_of_ones_own_are_pretrained_in_processes_as_in_this_one(tmp_path):
    plan = plan_game("maze", replace(TINY, encoder=import_encoder("own_encoders:OfAnyChannels")))
    said = []

    def once(objective, folder):
        encoder = GameEncoder.of(plan, objective, folder)
        return replace(encoder, settings=replace(encoder.settings, epochs=1))

    both = [once(objective, tmp_path) for objective in ("autoencoding", "segmentation")]
    pretrain_all(both, Resources(workers=2), said.append)
    assert "2 of 2" in said[-1]
    alone = once("autoencoding", tmp_path / "alone")
    pretrain_all([alone], Resources(workers=2), said.append)
    assert alone.file.read_bytes() == both[0].file.read_bytes()


@pytest.mark.costly("analyses/*.py")
@pytest.mark.usefixtures("trained_copy")
def test_a_diagnosis_compares_other_encoders(tmp_path, tiny_preset, monkeypatch):
    def once(options, settings):
        return pretrain(options, replace(settings, epochs=1))

    monkeypatch.setattr("lcd.pretraining.pretraining.pretrain", once)
    options = ["--preset", tiny_preset, "--seeds", "1", "--train-teacher"]
    done = lcd("diagnose", GAME, *options, "--encoders", "scratch,random,segmentation", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "diagnoses" / f"{GAME}-tiny-1seed" / "encoders.csv")
    assert table["encoder"].tolist() == ["random", "random", "segmentation", "segmentation"]
    assert table["privileged"].tolist() == [False, False, True, True]
    assert table["learning"].tolist() == ["imitation", "rl"] * 2
    assert "Other encoders" in done.stdout
    for wrong, sentence in (("resnet", "Unknown encoder 'resnet'"), ("small@missing.pt", "no file of weights")):
        refused = lcd("diagnose", GAME, *options, "--out", "refused", "--encoders", wrong, cwd=tmp_path)
        assert (refused.returncode, sentence in refused.stderr) == (2, True)
    assert not (tmp_path / "refused").exists()


def test_what_is_unknown_is_not_printed_as_a_number():
    cells = {"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.5}
    found = ablation_table(scores(cells, seeds=1), {"half": scores({"a": 0.3, "c": 0.7}, seeds=1)})
    table = ablation_rows(found)
    assert list(table.columns[5].cells) == ["unknown", "50%"]


def test_names_that_differ_in_their_ends_are_shown_whole_in_a_narrow_terminal():
    diagnosed = scores({"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.9}, noise=0.04)
    other = scores({"a": 0.3, "c": 0.7}, noise=0.04, seed=1)
    console = Console(width=80, record=True, file=StringIO())
    console.print(ablation_rows(ablation_table(diagnosed, {"segmentation": other, "segmentation+tuned": other})))
    shown = console.export_text()
    assert "…" not in shown and shown.count("+tuned") == 2
