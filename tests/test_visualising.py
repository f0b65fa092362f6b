"""The command lcd visualize, on policies, a pretrained encoder and a classifier."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from gymnasium import spaces
from PIL import Image

from lcd.agents import EncoderPolicy, save_backbone, save_policy
from lcd.alignment.spectra import spectrum_of
from lcd.alignment.visualisation import Visualisation
from lcd.analyses.visualisation_figure import MOST_COLUMNS, draw_visualisations
from lcd.studies.visible_networks import frames_of, images_of, load_visible
from lcd.studies.visualising import file_of, transparent, visualize

QUICK = ("--steps", "3", "--crops", "2", "--count", "64")


def made_policy(file, encoder: str = "small", seed: int = 0, card=None, actions=15, **arguments) -> EncoderPolicy:
    torch.manual_seed(seed)
    frames = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    policy = EncoderPolicy(frames, spaces.Discrete(actions), lambda _: 0.0, encoder, **arguments)
    torch.nn.init.normal_(policy.value_net.weight)
    save_policy(policy, file, {"game": "maze"} if card is None else card)
    return policy


@pytest.fixture
def policy(tmp_path):
    made_policy(tmp_path / "policy.safetensors")
    return "policy.safetensors"


def test_the_command_makes_images_of_a_policy_and_compares_them(tmp_path, policy):
    made_policy(tmp_path / "other.safetensors", seed=1)
    names = "logit:3,value,features:2,backbone.2:5,backbone.2:5@1x2"
    done = lcd("visualize", policy, "--target", names, "--others", "other.safetensors", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "magnitude of 64 frames of maze" in done.stdout
    folder = tmp_path / "visualisations"
    table = pd.read_csv(folder / "visualisations.csv")
    assert list(table["target"].unique()) == names.split(",")
    own, other = (table[table["network"] == name].set_index("target") for name in (policy, "other.safetensors"))
    assert (own["matched"] == own.index).all()
    assert own[["deviations", "exceeds", "distance", "outside"]].notna().all(axis=None)
    assert (own["correlation"] == 1).all()
    assert (other.loc[["logit:3", "value"], "correlation"] == 1).all()
    assert other.loc["backbone.2:5", "matched"].startswith("backbone.2:")
    assert other.loc["backbone.2:5@1x2", "matched"].endswith("@1x2")
    assert other["correlation"].between(-1, 1).all()
    with np.load(folder / "visualisations.npz") as arrays:
        assert list(arrays["targets"]) == names.split(",")
        images, attributions = torch.from_numpy(arrays["images"]), arrays["attributions"]
    assert attributions.shape == (5, 64, 64)
    spectrum = spectrum_of(frames_of(load_visible(str(tmp_path / policy), "cpu"), 64, 0), "the same frames")
    error = (spectrum.components(images).abs() - spectrum.magnitude).abs().max()
    assert error < 1e-5 * spectrum.magnitude.max()
    for name in names.split(","):
        with Image.open(folder / f"{file_of(name)}.png") as image:
            assert (image.size, image.mode) == ((64, 64), "RGBA")
    assert (folder / "visualisations.png").is_file()
    assert (folder / "SHA256SUMS").read_text().count("\n") == 8


def test_outputs_of_other_games_and_of_classifiers_do_not_mean_the_same(tmp_path, policy):
    made_policy(tmp_path / "heist.safetensors", card={"game": "heist"}, seed=1)
    made_policy(tmp_path / "unnamed.safetensors", card={}, seed=2)
    own, heist, unnamed = (
        load_visible(str(tmp_path / name), "cpu") for name in (policy, "heist.safetensors", "unnamed.safetensors")
    )
    classifier = load_visible("efficientnet_lite0", "cpu")
    assert own.shares_outputs_with(own)
    assert own.shares_outputs_with(unnamed)
    assert classifier.shares_outputs_with(classifier)
    assert not own.shares_outputs_with(heist)
    assert not own.shares_outputs_with(classifier)
    done = lcd("visualize", policy, "--target", "logit:3", "--others", "heist.safetensors", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(none like it)" in done.stdout
    table = pd.read_csv(tmp_path / "visualisations" / "visualisations.csv").set_index("network")
    assert table.loc["heist.safetensors", ["matched", "correlation", "deviations"]].isna().all()


def test_a_policys_own_targets_are_its_logits_and_a_value_that_was_trained(tmp_path):
    made_policy(tmp_path / "both.safetensors", action_classes=[[0, 1, 2], list(range(3, 15))])
    assert load_visible(str(tmp_path / "both.safetensors"), "cpu").outputs == ("logit:0", "logit:3", "value")
    made_policy(tmp_path / "imitation.safetensors", card={"run": {"learning": "imitation"}})
    assert load_visible(str(tmp_path / "imitation.safetensors"), "cpu").outputs[-1] == "logit:14"
    found = visualize(str(tmp_path / "imitation.safetensors"), steps=1, crops=1)
    assert list(found.images) == [f"logit:{action}" for action in range(15)]
    assert found.magnitude == "the 1/f law of natural images"  # no game is known
    assert "No real images are known" in found.left_out
    assert found.table["deviations"].isna().all()


def test_a_direction_is_read_from_a_file_without_unpickling(tmp_path, policy):
    along = np.zeros(32)
    along[5] = 2.0
    np.savez(tmp_path / "along.npz", direction=along)
    names = ("backbone.2:5", f"backbone.2:{tmp_path}/along.npz")
    found = visualize(str(tmp_path / policy), names, steps=3, crops=1, count=40)
    one, other = found.images.values()
    assert torch.allclose(one.image, other.image, atol=1e-3)
    assert file_of(names[1]) == "backbone.2-along"
    np.savez(tmp_path / "pickled.npz", direction=np.array([{}], dtype=object))
    refused = lcd("visualize", policy, "--target", "backbone.2:pickled.npz", *QUICK, cwd=tmp_path)
    assert (refused.returncode, "holds object, not real numbers" in refused.stderr) == (2, True)


def test_the_magnitude_of_a_folder_of_images_is_kept(tmp_path, policy):
    (tmp_path / "images").mkdir()
    for number, size in enumerate([(64, 64), (90, 70), (64, 128)]):
        pixels = np.random.default_rng(number).integers(0, 255, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    folder = tmp_path / "images"
    images = images_of(folder, (64, 64), 10)
    assert images.shape == (3, 3, 64, 64)
    with Image.open(folder / "0.png") as first:
        assert torch.allclose(images[0].permute(1, 2, 0) * 255, torch.from_numpy(np.array(first)).float(), atol=1e-3)
    found = visualize(str(tmp_path / policy), ["logit:1"], magnitude=str(folder), steps=2, crops=1)
    spectrum = spectrum_of(images, "the same")
    assert found.magnitude == f"3 images in {folder}"
    made = spectrum.components(found.images["logit:1"].image).abs()
    assert torch.allclose(made, spectrum.magnitude, atol=1e-5 * float(spectrum.magnitude.max()))


def test_a_pretrained_encoder_has_layers_and_no_outputs(tmp_path):
    policy = made_policy(tmp_path / "policy.safetensors", "nature")
    file = tmp_path / "encoder.safetensors"
    save_backbone(policy.features_extractor, file, "nature", {"game": "maze", "objective": "segmentation"})
    both = [load_visible(str(path), "cpu") for path in (file, tmp_path / "policy.safetensors")]
    images = torch.rand(2, 3, 64, 64)
    one, other = (network.visible.activations("backbone.4")(images) for network in both)
    assert torch.allclose(one, other, atol=1e-5)
    assert "features" not in both[0].visible.modules  # random, as only the backbone is in the file
    refused = lcd("visualize", "encoder.safetensors", *QUICK, cwd=tmp_path)
    assert (refused.returncode, "No target is named" in refused.stderr) == (2, True)
    done = lcd("visualize", "encoder.safetensors", "--target", "backbone.4:1", *QUICK, "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_classifier_has_no_game_and_any_size(tmp_path):
    done = lcd(
        "visualize", "efficientnet_lite0", "--target", "logit:207", "--size", "32", *QUICK, "--space", "fourier",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the 1/f law of natural images" in done.stdout
    with np.load(tmp_path / "visualisations" / "visualisations.npz") as arrays:
        assert arrays["images"].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "conv"), "has no layer 'conv': choose among logit, value, backbone.0, backbone.2, features"),
        (("--target", "logit:99"), "logit:99 does not exist: logit has channels 0 to 14"),
        (("--target", "logit:1,logit:1"), "The target logit:1 is named twice"),
        (("--target", "logit:?"), "'logit:?' is no target: write"),
        (("--target", "logit:lost.npz"), "lost.npz"),
        (("--space", "waves"), "Unknown space 'waves': choose one of phase, fourier, pixels"),
        (("--crop", "0"), "crop must be a share from 0.01 to 1, not 0"),
        (("--noise", "nan"), "noise must be a number from 0 to 1, not nan"),
        (("--steps", "0"), "--steps"),
        (("--size", "32"), "takes images of 64 x 64 pixels, not of 32: leave the size out"),
        (("--magnitude", "nowhere"), "There is no folder nowhere"),
        (("--others", "nowhere.safetensors"), "There is no policy file nowhere.safetensors"),
        (
            ("--target", "logit:12", "--others", "nine.safetensors"),
            "logit:12 does not exist: logit has channels 0 to 8",
        ),
        (("--out", "policy.safetensors"), "policy.safetensors is a file: choose a folder with --out"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, policy, arguments, sentence):
    if "nine.safetensors" in arguments:
        made_policy(tmp_path / "nine.safetensors", actions=9)
    before = set(tmp_path.iterdir())
    refused = lcd("visualize", policy, *QUICK, *arguments, cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert sentence in " ".join(refused.stderr.split())
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((64, 64), "takes label maps: give one"),
        ((4, 64, 64), "takes images of 4 channels: give one that was trained from single colour images"),
    ],
)
def test_policies_on_other_observations_are_refused(tmp_path, shape, sentence):
    largest = 64 if len(shape) == 2 else 255
    policy = EncoderPolicy(spaces.Box(0, largest, shape, np.uint8), spaces.Discrete(3), lambda _: 0.0, "small")
    save_policy(policy, tmp_path / "policy.safetensors", {"game": "maze"})
    refused = lcd("visualize", "policy.safetensors", cwd=tmp_path)
    assert (refused.returncode, sentence in refused.stderr) == (2, True), refused.stderr


def test_the_attribution_is_the_opacity():
    attribution = torch.zeros(10, 10)
    attribution[2, 3], attribution[4, 5] = 1.0, 0.5
    image = transparent(Visualisation(torch.full((3, 10, 10), 1.5), attribution, torch.zeros(1)))
    assert image.shape == (10, 10, 4)
    assert (image[..., :3] == 255).all()  # limited to what a screen shows
    assert image[2, 3, 3] == 255
    assert 120 < image[4, 5, 3] <= 255
    assert (image[..., 3] > 0).sum() == 2


def test_the_figure_wraps_rows_and_names_images_once():
    image = np.full((8, 8, 4), 128, np.uint8)
    names = [f"logit:{number}" for number in range(MOST_COLUMNS + 2)]
    rows = {"image": dict.fromkeys(names, image), "real": dict.fromkeys(names, image[..., :3])}
    figure = draw_visualisations(rows, "title")
    assert len(figure.axes) == 4 * MOST_COLUMNS
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 2 * len(names)
    assert [axes.get_title() for axes in drawn if axes.get_title()] == names
    others = draw_visualisations({"one": {"a": image}, "other": {"b": image, "c": image}})
    assert [axes.get_title() for axes in others.axes] == ["a", "", "b", "c"]  # each row from its first column on
