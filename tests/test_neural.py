"""The command lcd neural: models, files of responses, tables and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from gymnasium import spaces
from PIL import Image
from test_recordings import IDS, write_assembly
from tiny_vision import TinyVision, pictures

import lcd as package
from lcd.agents import EncoderPolicy, save_backbone, save_policy
from lcd.alignment.layers import LayeredNetwork, find_layers, layer_activations
from lcd.alignment.recordings import Recording
from lcd.alignment.regression import Regression
from lcd.envs import ProcgenOptions
from lcd.studies.layered_networks import inputs_of, load_layers
from lcd.studies.mutual_prediction import BEST, EncoderKind, activity_table, collect_states, mutual_prediction
from lcd.studies.neural import COLUMNS, predict_responses

FRAMES, LABELS = spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Box(0, 64, (64, 64), np.uint8)


def policy(space, seed=0):
    torch.manual_seed(seed)
    return EncoderPolicy(space, spaces.Discrete(15), lambda _: 0.0, "small")


def responses_of(model, images, layer, seed=0, sites=12, noise=0.5):
    """Random sums of the activations of a layer, in four repetitions."""
    network = load_layers(model, images.shape[1:3])
    inputs = inputs_of(network, Recording(np.arange(len(images))[None, :, None] * 1.0, images))
    ((_, found),) = layer_activations(network, inputs, find_layers(network, inputs, [layer]))
    random = np.random.default_rng(seed)
    signal = found.reshape(len(images), -1) @ random.normal(size=(found[0].size, sites))
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    return signal + noise * random.normal(size=(4, *signal.shape))


@pytest.fixture
def recorded(tmp_path):
    """Responses made from the second layer of the small network."""
    images = pictures(300)
    np.savez(tmp_path / "a.npz", responses=responses_of("tiny_vision:TinyVision", images, "second"), images=images)
    return "a.npz"


def test_the_command_finds_the_layer_that_made_the_responses(tmp_path, recorded):
    given = ("tiny_vision:TinyVision", recorded, "--method", "ridge", "--folds", "5")
    done = lcd("neural", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "neural.csv")
    assert list(table.columns) == [*COLUMNS, "model", "components", "folds", "seed", "region", "time"]
    assert set(table["model"]) == {given[0]}
    assert table["layer"].tolist() == ["first", "second", "last"]
    of_layer = table.set_index("layer")
    assert of_layer.loc["second", "corrected_low"] > of_layer.loc[["first", "last"], "corrected_high"].max()
    assert of_layer.loc["second", "ceiling"] == pytest.approx(1 / np.sqrt(1 + 0.25 / 4), abs=0.01)
    assert "Highest: second." in done.stdout
    assert "ceiling 0.97" in done.stdout
    again = package.predict_responses(given[0], tmp_path / recorded, method="ridge", folds=5)
    pd.testing.assert_frame_equal(again.table.round(6), table[list(COLUMNS)])
    assert again.best == "second"


@pytest.mark.parametrize("model", ["tiny_vision:make_tiny", "tiny_vision:INSTANCE"])
def test_a_function_that_makes_a_module_and_a_module_are_measured_alike(tmp_path, recorded, model):
    expected, found = (
        predict_responses(each, tmp_path / recorded, method="ridge", folds=3, layers=["last"]).table
        for each in ("tiny_vision:TinyVision", model)
    )
    pd.testing.assert_frame_equal(expected, found)


def test_agents_and_encoders_are_measured_by_their_names(tmp_path):
    made = policy(FRAMES)
    run = tmp_path / "run"
    run.mkdir()
    save_policy(made, run / "policy.safetensors", {"game": "maze"})
    save_backbone(made.features_extractor, tmp_path / "small.safetensors", "small", {})
    images = pictures(60, side=64)
    np.savez(tmp_path / "a.npz", responses=np.random.default_rng(0).normal(size=(60, 3)), images=images)
    tables = {}
    for model in (str(run), str(run / "policy.safetensors"), f"small@{tmp_path / 'small.safetensors'}", "small"):
        tables[model] = predict_responses(model, tmp_path / "a.npz", folds=3, method="ridge").table
    of_run, of_file, of_backbone, random = tables.values()
    pd.testing.assert_frame_equal(of_run, of_file)
    assert of_run["layer"].tolist() == ["0.1", "0.4", "2"]
    assert of_backbone["layer"].tolist() == ["1", "4"]  # without the linear layer, which no file of an encoder holds
    scores = ["score", "score_low", "score_high"]
    np.testing.assert_allclose(of_run[scores].iloc[:2], of_backbone[scores])
    assert not np.allclose(random[scores], of_backbone[scores])
    assert of_run["ceiling"].isna().all()
    pd.testing.assert_frame_equal(random, predict_responses("small", tmp_path / "a.npz", folds=3, method="ridge").table)
    done = lcd("neural", "run", "a.npz", "--folds", "3", "--layers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no ceiling: it takes repetitions" in done.stdout


def test_images_of_another_size_are_resized_for_an_agent(tmp_path):
    save_policy(policy(FRAMES), tmp_path / "policy.safetensors", {})
    network = load_layers(str(tmp_path / "policy.safetensors"), (128, 128))
    large = np.repeat(np.repeat(pictures(3, side=64), 2, axis=1), 2, axis=2)
    inputs = inputs_of(network, Recording(np.arange(3.0)[None, :, None], large))
    assert inputs.shape == (3, 3, 64, 64)
    assert np.corrcoef(inputs.permute(0, 2, 3, 1).numpy().ravel(), pictures(3, side=64).ravel())[0, 1] > 0.9


def test_an_agent_on_label_maps_takes_those_of_the_file(tmp_path):
    save_policy(policy(LABELS), tmp_path / "policy.safetensors", {})
    labels = np.random.default_rng(0).integers(0, 5, (40, 64, 64)).astype(np.uint8)
    responses = np.random.default_rng(1).normal(size=(40, 2))
    np.savez(tmp_path / "labels.npz", responses=responses, labels=labels)
    np.savez(tmp_path / "images.npz", responses=responses, images=pictures(40, side=64))
    np.savez(tmp_path / "small.npz", responses=responses, labels=labels[:, :32, :32])
    file = str(tmp_path / "policy.safetensors")
    assert len(predict_responses(file, tmp_path / "labels.npz", folds=2).table) == 3
    with pytest.raises(ValueError, match="takes label maps, and the file of responses holds none"):
        predict_responses(file, tmp_path / "images.npz", folds=2)
    with pytest.raises(ValueError, match=r"takes label maps of \(64, 64\) pixels, and these have \(32, 32\)"):
        predict_responses(file, tmp_path / "small.npz", folds=2)


def test_maps_are_predicted_from_the_layers_that_have_places(tmp_path):
    images = pictures(120)
    model = TinyVision().eval()
    network = LayeredNetwork(model, lambda given: model(given.float() / 255))
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2)
    activations = {each.name: found for each, found in layer_activations(network, inputs, find_layers(network, inputs))}
    maps = activations["second"][:, 2] + 0.1 * np.random.default_rng(0).normal(size=(3, 120, 2, 2))
    np.savez(tmp_path / "a.npz", maps=maps, images=images)
    for more in ({}, {"shared_weights": True}):
        found = predict_responses("tiny_vision:TinyVision", tmp_path / "a.npz", method="ridge", folds=4, **more)
        assert found.table["layer"].tolist() == ["first", "second"]
        assert found.best == "second"
        assert found.table["corrected"].iloc[1] == pytest.approx(1, abs=0.02)
    with pytest.raises(ValueError, match="The layer last has no places, which a map needs"):
        predict_responses("tiny_vision:TinyVision", tmp_path / "a.npz", layers=["last"], folds=4)


def test_brain_scores_files_are_measured(tmp_path):
    images = pictures(20, side=16)
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(images):
        Image.fromarray(picture).save(tmp_path / "images" / f"im{number:02}.png")
    values = responses_of("tiny_vision:TinyVision", images, "first", sites=4)[:3].reshape(60, 4)[..., None]
    write_assembly(tmp_path / "a.nc", values, IDS, regions=["IT", "IT", "V4", "IT"], bins=[(70, 170)])
    given = ("a.nc", "--images", "images", "--region", "IT", "--folds", "2", "--components", "1,3", "--over", "sites")
    done = lcd("neural", "tiny_vision:TinyVision", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "neural.csv")
    assert (set(table["sites"]), set(table["repetitions"]), set(table["over"])) == ({3}, {3}, {"sites"})


def test_what_does_not_fit_is_one_sentence_with_status_2(tmp_path, recorded):
    for arguments, sentence in {
        ("tiny_vision:Nothing", recorded): "The module 'tiny_vision:Nothing' cannot be found",
        ("nowhere_at_all:Net", recorded): "cannot be found",
        ("tiny_vision:np", recorded): "'tiny_vision:np' is no torch module, nor makes one",
        ("tiny_vision:pictures", recorded): "'tiny_vision:pictures' needs arguments",
        ("tiny_vision:TinyVision@a.pt", recorded): "takes no file: load its weights in a function",
        (
            "tiny_vision:TinyVision",
            recorded,
            "--folds",
            "50",
        ): "300 images are too few for 50 folds",
        ("tiny_vision:TinyVision", recorded, "--layers", "third"): "The network has no module 'third'",
        ("tiny_vision:TinyVision", recorded, "--shared-weights"): "--shared-weights is for maps",
        ("tiny_vision:TinyVision", recorded, "--region", "IT"): "--region goes with a netCDF file",
        ("tiny_vision:TinyVision", recorded, "--out", recorded): "is read as well, and would be overwritten",
        ("small@lost.pt", recorded): "no file of weights lost.pt",
        ("lost.safetensors", recorded): "There is no policy file",
        ("smal", recorded): "Unknown encoder 'smal'",
        ("small", recorded, "--images", "lost"): "There is no folder lost",
    }.items():
        refused = lcd("neural", *arguments, cwd=tmp_path)
        assert (refused.returncode, sentence in " ".join(refused.stderr.split())) == (2, True), refused.stderr
    np.savez(tmp_path / "b.npz", responses=np.random.default_rng(0).normal(size=(300, 2)))
    refused = lcd("neural", "small", "b.npz", cwd=tmp_path)
    assert "holds no images: name their folder with --images" in " ".join(refused.stderr.split())
    assert not (tmp_path / "neural.csv").exists()


def test_encoders_of_one_kind_are_predicted_by_others_of_it():
    """Two copies of one network explain each other wholly, one with other weights less, and noise not at all."""

    class Noise(torch.nn.Module):
        def forward(self, images):
            generator = torch.Generator().manual_seed(int(images.sum()) % 2**31)
            return torch.randn(len(images), 8, generator=generator)

    def layered(model):
        return LayeredNetwork(model.eval(), lambda images: model(images.float() / 255))

    other = TinyVision()
    with torch.no_grad():
        for weights in other.parameters():
            weights.mul_(-0.7).add_(0.3 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(3)))
    kinds = [
        EncoderKind("copies", (layered(TinyVision()), layered(TinyVision()))),
        EncoderKind("other", (layered(other),)),
        EncoderKind("noise", (layered(Noise()),), None),
    ]
    images = pictures(400)
    states = Recording(np.arange(400.0)[None, :, None], images, groups=np.arange(400) // 4)
    table = mutual_prediction(kinds, states, Regression("ridge", folds=4), units=6)
    best = table[table["layer"] == BEST].set_index(["target", "predictor"])
    assert best.loc[("copies", "copies"), "score"] > 0.99
    assert best.loc[("copies", "copies"), "units"] == 12
    assert best.loc[("copies", "other"), "high"] < best.loc[("copies", "copies"), "low"]
    assert best.loc[("copies", "noise"), "low"] < 0.05
    assert ("other", "other") not in best.index
    assert set(table["target"]) == {"copies", "other"}
    layers = table[(table["target"] == "copies") & (table["predictor"] == "copies")]
    assert layers["layer"].tolist() == ["first", "second", "last", BEST]
    assert layers["depth"].tolist() == [1, 2, 3, 0]


def test_activity_counts_active_units_and_their_dimensions():
    """Of eight units two are silent, and the others are copies of three independent ones."""

    class Copies(torch.nn.Module):
        def forward(self, images):
            three = images.flatten(1)[:, :3]
            return torch.cat([three, three, torch.zeros(len(images), 2)], dim=1)

    model = Copies()
    kind = EncoderKind("copies", (LayeredNetwork(model, lambda images: model(images.float() / 255)),))
    states = Recording(np.arange(2_000.0)[None, :, None], pictures(2_000, side=4))
    (row,) = activity_table([kind], states).to_dict("records")
    assert (row["encoder"], row["seed"], row["depth"], row["units"], row["active"]) == ("copies", 0, 1, 8, 0.75)
    assert row["dimensions"] == pytest.approx(3, abs=0.02)


def test_states_of_a_game_are_clusters():
    states = collect_states(ProcgenOptions("maze"), 4, 3, policy=None)
    assert states.images is not None
    assert states.labels is not None
    assert (len(states), states.clusters.tolist()) == (12, [0, 1, 2, 3] * 3)
    assert len(np.unique(states.images.reshape(12, -1), axis=0)) > 4
