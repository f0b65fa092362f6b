"""The command lcd align, on a policy and on folders."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from test_alignment import SIZE, judge, where_it_looks
from test_command_line import lcd

from agents import EncoderPolicy, save_policy
from lcd.alignment.measuring import COLUMNS, align
from lcd.alignment.references import ReferenceMaps


def test_a_network_that_looks_where_it_should_scores_high_in_every_aspect():
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (12, SIZE, SIZE, 3)).astype(np.uint8)
    good = np.tile(where_it_looks(), (12, 1, 1)).astype(np.float32)
    tables = [
        align(
            judge, ReferenceMaps(images, maps, "privileged"), methods=["gradient"], ceilings={"dice": 0.5}, attacked=6
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
    assert right.loc[("robustness", "smallest perturbation", "L2 norm"), "images"] == 6
    assert right.loc[("robustness", "smallest perturbation", "spearman"), "mean"] > 0.9


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
    assert set(table["source"]) == {"privileged"}
    assert set(table["aspect"]) == {"where", "how", "robustness"}
    assert "human" not in done.stdout


def test_the_command_reads_folders_and_says_what_is_wrong(tmp_path, policy):
    for folder, mode in (("images", "RGB"), ("maps", "L")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / folder / f"{number}.png")
    done = lcd("align", policy, "--maps", "images,maps", "--methods", "gradient", "--out", "a.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "a.csv")["source"]) == {"human"}
    for arguments, sentence in {
        (policy, "--methods", "staring"): "Unknown method 'staring'",
        (policy, "--maps", "nowhere"): "none of ClickMe's files",
        ("efficientnet_lite0",): "which this model does not name",
        ("nowhere.safetensors",): "There is no policy file",
    }.items():
        wrong = lcd("align", *arguments, cwd=tmp_path)
        assert (wrong.returncode, sentence in wrong.stderr) == (2, True), wrong.stderr
