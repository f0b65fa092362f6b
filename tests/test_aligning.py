"""The command lcd align, on a policy and on folders."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from gymnasium import spaces
from PIL import Image
from test_alignment import SIZE, judge, true_importance
from tiny import TINY

from lcd.agents import EncoderPolicy, load_policy, save_policy
from lcd.alignment.importance import importance_maps, policy_scores
from lcd.alignment.measuring import COLUMNS, align
from lcd.alignment.references import ReferenceMaps
from lcd.envs.family import game_options
from lcd.experiments.plan import plan_game
from lcd.studies.aligning import unseen_levels


def test_a_network_aligned_with_its_reference_scores_high_in_every_aspect():
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (12, SIZE, SIZE, 3)).astype(np.uint8)
    good = np.tile(true_importance(), (12, 1, 1)).astype(np.float32)
    tables = [
        align(
            judge, ReferenceMaps(images, maps, "privileged", ceilings={"dice": 0.5}), methods=["gradient"], attacked=6
        )
        for maps in (good, 1 - good)
    ]
    assert list(tables[0].columns) == list(COLUMNS)
    right, wrong = (table.set_index(["aspect", "method", "measure"]) for table in tables)
    assert (
        right.loc[("where", "gradient", "spearman"), "mean"]
        > 0.9
        > wrong.loc[("where", "gradient", "spearman"), "mean"]
    )
    assert right.loc[("where", "gradient", "dice"), "share"] == 2 * right.loc[("where", "gradient", "dice"), "mean"]
    assert right.loc[("how", "revealed", "area"), "mean"] > wrong.loc[("how", "revealed", "area"), "mean"]
    assert right.loc[("how", "hidden", "area"), "mean"] < wrong.loc[("how", "hidden", "area"), "mean"]
    gains = [
        table.loc[("how", "revealed", "gain"), "mean"] - table.loc[("how", "hidden", "gain"), "mean"]
        for table in (right, wrong)
    ]
    assert gains[0] > 0 > gains[1]
    assert right.loc[("robustness", "smallest perturbation", "L2 norm"), "images"] == 6
    assert right.loc[("robustness", "smallest perturbation", "found"), "mean"] == 1
    other = align(
        judge,
        ReferenceMaps(images, good, "privileged"),
        decisions=lambda images: judge(images) * 0 + torch.tensor([1.0, 0.0]),
        methods=["gradient"],
        attacked=6,
    ).set_index(["aspect", "method", "measure"])
    assert other.loc[("robustness", "smallest perturbation", "found"), "mean"] == 0
    assert other.loc[("where", "gradient", "spearman"), "mean"] > 0.9
    assert right.loc[("robustness", "smallest perturbation", "spearman"), "mean"] > 0.9


def test_how_tells_order_from_confidence_and_counts_maps_without_any():
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (24, SIZE, SIZE, 3)).astype(np.uint8)
    maps = random.random((24, SIZE, SIZE)).astype(np.float32)
    maps[:2] = 1.0
    tables = [
        align(
            lambda images, times=times: times * judge(images),
            ReferenceMaps(images, maps, "human"),
            methods=[],
            attacked=2,
        )
        for times in (1, 4)
    ]
    flat, peaked = (table.set_index(["aspect", "method", "measure"])["mean"]["how"] for table in tables)
    for method in ("revealed", "hidden"):
        assert peaked[method, "area"] > flat[method, "area"]
        assert peaked[method, "same"] == flat[method, "same"]
        assert abs(flat[method, "gain"]) < 0.15  # such maps order pixels no better than chance
    assert (tables[0].loc[tables[0]["aspect"] == "how", "undefined"] == 2).all()
    blank = align(judge, ReferenceMaps(images, np.ones_like(maps), "human"), methods=[], attacked=2)
    how = blank[blank["aspect"] == "how"]
    assert how["mean"].isna().all()
    assert (how["undefined"] == 24).all()


def test_a_policy_that_imitated_has_no_value_to_explain(tmp_path, policy):
    made, _ = load_policy(tmp_path / policy)
    (run,) = [
        run for run in plan_game("maze", TINY).cells if (run.view, run.learning, run.seed) == ("pixels", "imitation", 0)
    ]
    save_policy(made, tmp_path / policy, {"run": run.as_dict()})
    done = lcd("align", policy, "--count", "4", "--methods", "gradient", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Imitation trains no value" in done.stdout
    assert "value" not in set(pd.read_csv(tmp_path / "alignment.csv")["aspect"])


@pytest.fixture
def policy(tmp_path):
    torch.manual_seed(0)
    made = EncoderPolicy(spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(15), lambda _: 0.0, "small")
    save_policy(made, tmp_path / "policy.safetensors", {"game": "maze"})
    return "policy.safetensors"


def test_the_command_measures_a_policy_on_its_game(tmp_path, policy):
    done = lcd("align", policy, "--count", "8", "--methods", "gradient", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "alignment.csv")
    assert set(table["aspect"]) == {"where", "how", "robustness", "value", "invariance"}
    of_game = table["aspect"] == "invariance"
    assert set(table["source"][~of_game]) == {"privileged"}
    assert set(table["method"][of_game]) == {"no-backgrounds", "restricted-themes", "monochrome"}
    found = table[of_game & (table["measure"] != "chance")]
    assert (found["mean"].isna() == (found["undefined"] == found["images"])).all()  # themes of maze look alike
    assert found["mean"].dropna().between(0, 2).all()
    values, actions = (table[table["aspect"] == aspect].set_index("measure")["mean"] for aspect in ("value", "where"))
    assert (values != actions).any()
    assert "human" not in done.stdout


@pytest.mark.parametrize("encoder", ["small+frozen", "nature+frozen", "efficientnet_lite0"])
def test_maps_of_a_policy_with_a_frozen_backbone_reach_the_image(encoder):
    torch.manual_seed(0)
    frames = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    policy = EncoderPolicy(frames, spaces.Discrete(15), lambda _: 0.0, encoder).eval()
    maps = importance_maps(policy_scores(policy), torch.rand(2, 3, 64, 64))
    assert (maps.std(dim=(1, 2)) > 0).all()


def test_a_policy_is_measured_on_unseen_levels_in_the_appearance_of_its_training():
    plan = plan_game(game_options("maze", distribution_mode="hard", appearance=("monochrome",)), TINY)
    run = plan.cells[0]
    levels = unseen_levels({"run": run.as_dict()})
    assert levels == run.options.unseen_levels(run.options.num_levels)
    assert levels.distribution_mode == "hard"
    assert unseen_levels({}) is None


def test_images_and_folders_that_do_not_fit_are_refused_beforehand(tmp_path, policy):
    for name in ("images", "maps"):
        (tmp_path / name).mkdir()
        picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / name / "one.png")
    refused = lcd("align", policy, "--maps", "images,maps", "--source", "human", cwd=tmp_path)
    sentence = "The policy takes images of 64 x 64 pixels, and these have 32 x 32: resize them beforehand."
    assert (refused.returncode, sentence in " ".join(refused.stderr.split())) == (2, True)
    refused = lcd("align", policy, "--out", "images/one.png/table.csv", cwd=tmp_path)
    assert (refused.returncode, "Nothing can be written to" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [("align", "--maps", "images,maps", "--source", "human"), ("visualize", "--size", "8")]
)
def test_images_that_are_too_small_for_a_classifier_are_refused(tmp_path, command):
    for name in ("images", "maps"):
        (tmp_path / name).mkdir()
        for number in range(2):
            picture = np.random.default_rng(number).integers(0, 255, (7, 7, 3)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{number}.png")
    name, *options = command
    of = ["--target", "logit:7"] * (name == "visualize")
    refused = lcd(name, "efficientnet_lite0", *options, *of, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.strip().count("\n")) == (2, 0)
    assert "efficientnet_lite0 takes no images of " in refused.stderr


def test_the_command_reads_folders_and_says_what_is_wrong(tmp_path, policy):
    for folder, mode in (("images", "RGB"), ("maps", "L")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / folder / f"{number}.png")
    given = ("--maps", "images,maps", "--methods", "gradient", "--out", "a.csv")
    done = lcd("align", policy, *given, "--source", "human", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "a.csv")["source"]) == {"human", "redrawn"}
    for arguments, sentence in {
        (policy, "--methods", "staring"): "Unknown method 'staring'",
        (policy, "--maps", "nowhere"): "none of ClickMe's files",
        (policy, *given): "add --source human or privileged",
        (policy, *given, "--source", "martian"): "--source martian does not fit",
        ("efficientnet_lite0@lost.pt",): "no file of weights lost.pt",
        ("efficientnet_lite0",): "this model names none",
        ("nowhere.safetensors",): "There is no policy file",
    }.items():
        wrong = lcd("align", *arguments, cwd=tmp_path)
        assert (wrong.returncode, sentence in wrong.stderr) == (2, True), wrong.stderr


@pytest.mark.parametrize(
    "card",
    [
        {"game": "colour"},
        {"game": "maze", "distribution_mode": "of my own"},
        {"run": {"game": "colour", "steps": 5}},
    ],
)
def test_a_policy_of_somebodys_own_game_is_measured_on_maps_that_are_given(tmp_path, policy, card):
    made, _ = load_policy(tmp_path / policy)
    save_policy(made, tmp_path / policy, card)
    for folder, mode in (("images", "RGB"), ("maps", "L")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / folder / f"{number}.png")
    given = ("--maps", "images,maps", "--source", "human", "--methods", "gradient")
    done = lcd("align", policy, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "alignment.csv")["source"]) == {"human"}
    refused = lcd("align", policy, cwd=tmp_path)
    assert (refused.returncode, "this model names none: give others with --maps" in refused.stderr) == (2, True)


def test_features_of_a_policy_of_other_frames_are_not_compared_on_procgens(tmp_path):
    torch.manual_seed(0)
    made = EncoderPolicy(spaces.Box(0, 255, (3, 84, 84), np.uint8), spaces.Discrete(15), lambda _: 0.0, "small")
    save_policy(made, tmp_path / "policy.safetensors", {"game": "maze"})
    for folder, mode in (("images", "RGB"), ("maps", "L")):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(0).integers(0, 255, (84, 84, 3)).astype(np.uint8)
        for number in range(2):
            Image.fromarray(pixels).convert(mode).save(tmp_path / folder / f"{number}.png")
    given = ("--maps", "images,maps", "--source", "human", "--methods", "gradient")
    done = lcd("align", "policy.safetensors", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "invariance" not in set(pd.read_csv(tmp_path / "alignment.csv")["aspect"])
