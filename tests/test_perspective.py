"""Probes, fine-tuning and the study of depth order and perspective taking, on cases with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd
from gymnasium import spaces
from scipy import stats
from torch import nn

from lcd.agents import Backbone, Encoder, EncoderPolicy, save_backbone, save_policy
from lcd.alignment.encoding import encoded, random_copy
from lcd.alignment.finetuning import FineTuning, answers_of, fine_tune
from lcd.alignment.probes import STRENGTHS, accuracy, difference, fit_linear, fit_trees
from lcd.analyses.perspective_figure import draw_perspective
from lcd.studies.perspective.models import load_probed
from lcd.studies.perspective.perspective import COLUMNS, perspective
from lcd.studies.perspective.tasks import TASKS, right_answers, stimuli_of

pytestmark = pytest.mark.costly("analyses/*.py", "analyses/templates/*")

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)


class _Outlines(nn.Module):
    """Place and size in the picture of what is red, of what is blue and of what is green."""

    def forward(self, images):
        levels = torch.linspace(-1, 1, 64)
        found = []
        for channel in (0, 2, 1):
            others = [other for other in range(3) if other != channel]
            shown = (images[:, channel] > 2 * images[:, others].amax(dim=1)).float()
            size = shown.sum(dim=(1, 2)).clamp(min=1)
            place = [(shown * grid).sum(dim=(1, 2)) / size for grid in (levels[:, None], levels[None, :])]
            found += [*place, size.sqrt() / 64]
        return torch.stack(found, dim=1)


class Outlines(Encoder):
    """An encoder that holds places and sizes in the picture, and nothing of depth."""

    def __init__(self, observation_space, features_dim=16):
        super().__init__(observation_space, features_dim)
        self.network = self.with_features(_Outlines())


@pytest.fixture
def policy(tmp_path):
    torch.manual_seed(0)
    made = EncoderPolicy(FRAMES, spaces.Discrete(15), lambda _: 0.0, "small")
    (tmp_path / "maze-run").mkdir()
    save_policy(made, tmp_path / "maze-run" / "policy.safetensors", {"game": "maze"})
    return "maze-run"


def observations(count, signal, seed=0):
    random = np.random.default_rng(seed)
    targets = random.random(count) < 0.5
    features = random.normal(size=(count, 8))
    features[:, 3] += signal * targets
    return 100 * features + 7, targets, np.arange(count)


def test_a_linear_probe_finds_what_is_linear_and_is_at_chance_on_shuffled_answers():
    features, targets, groups = observations(2000, 4.0)
    others, answers, _ = observations(2000, 4.0, seed=1)
    found = accuracy(fit_linear(features, targets, groups).predict(others) == answers)
    assert found.share == pytest.approx(stats.norm.cdf(2), abs=0.01)  # means are four standard deviations apart
    shuffled = np.random.default_rng(0).permutation(targets)
    found = accuracy(fit_linear(features, shuffled, groups).predict(others) == answers)
    assert found.low < 0.5 < found.high


def test_trees_find_what_no_linear_probe_does():
    features, _, groups = observations(2000, 0.0)
    opposite = (features[:, 0] > 7) != (features[:, 1] > 7)
    half = slice(0, 1000), slice(1000, 2000)
    linear = fit_linear(features[half[0]], opposite[half[0]], groups[half[0]]).predict(features[half[1]])
    trees = fit_trees(features[half[0]], opposite[half[0]]).predict(features[half[1]])
    assert accuracy(linear == opposite[half[1]]).low < 0.55
    assert accuracy(trees == opposite[half[1]]).low > 0.9


def test_the_penalty_is_chosen_between_groups_not_within_them():
    """Each observation comes ten times: folds that split the copies would think that noise can be predicted."""
    features, targets, _ = observations(60, 0.0)
    random = np.random.default_rng(2)
    many = np.repeat(np.concatenate([features, random.normal(size=(60, 60))], axis=1), 10, axis=0)
    answers, groups = np.repeat(targets, 10), np.repeat(np.arange(60), 10)
    chosen = [
        fit_linear(many, answers, given).best_params_["logisticregression__C"] for given in (groups, np.arange(600))
    ]
    assert chosen[0] <= 1e-3
    assert chosen[1] == max(STRENGTHS)


def test_accuracy_has_wilsons_interval_and_differences_are_paired():
    found = accuracy([True] * 8 + [False] * 2)
    assert (found.share, found.count) == (0.8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Wilson's interval of 8 in 10
    assert accuracy([True] * 20).low == pytest.approx(0.8389, abs=1e-4)
    one = np.array([1, 1, 0, 1, 0, 1.0])
    assert difference(one, one) == (0, 0, 0)
    mean, low, high = difference(one, [0.5] * 6)
    assert mean == pytest.approx(1 / 6)
    assert (high + low) / 2 == pytest.approx(mean)
    assert high - mean == pytest.approx(2.5706 * one.std(ddof=1) / 6**0.5, abs=1e-3)
    for refused, sentence in (
        (lambda: accuracy([]), "list of answers"),
        (lambda: difference([1.0], [1.0]), "cannot be compared"),
        (lambda: fit_linear(np.full((4, 2), np.nan), np.array([True, False] * 2), np.arange(4)), "not finite"),
        (lambda: fit_trees(np.zeros((4, 2)), np.ones(4, dtype=bool)), "probe needs both"),
    ):
        with pytest.raises(ValueError, match=sentence):
            refused()


def test_fine_tuning_learns_and_leaves_the_encoder_as_it_is():
    torch.manual_seed(0)
    encoder = EncoderPolicy(FRAMES, spaces.Discrete(2), lambda _: 0.0, "small+frozen").features_extractor
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    frames = torch.randint(0, 100, (256, 3, 64, 64), dtype=torch.uint8)
    left = np.arange(256) % 2 == 0
    frames[left, 0, 20:30, 5:15] += 120
    frames[~left, 0, 20:30, 45:55] += 120
    network = fine_tune(encoder, frames[:128], left[:128], FineTuning(epochs=4, batch_size=16))
    assert (answers_of(network, frames[128:]) == left[128:]).mean() > 0.95
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert encoder.frozen
    tuned = dict(network[0].backbone.named_parameters())
    assert all(not torch.equal(before[f"network.0.{name}"], value) for name, value in tuned.items())


def test_a_copy_with_random_weights_has_the_architecture_and_none_of_the_weights():
    torch.manual_seed(0)
    encoder = load_probed("nature").encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    frames = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    copies = [random_copy(encoder, frames, seed=seed) for seed in (1, 1, 2)]
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    features = [encoded(each, frames) for each in (encoder, *copies)]
    assert features[0].shape == features[1].shape
    assert np.array_equal(features[1], features[2])
    assert not np.allclose(features[0], features[1])
    assert not np.allclose(features[1], features[3])
    assert encoded(encoder, frames, "features").shape == (8, 512)


class Attending(nn.Module):
    """Attention over places, whose weights torch draws by a method of another name, and a token of its own."""

    def __init__(self, token=False):
        super().__init__()
        self.places = nn.Conv2d(3, 8, 16, 16)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        if token:
            self.token = nn.Parameter(torch.ones(8))

    def forward(self, images):
        places = self.places(images).flatten(2).transpose(1, 2)
        return self.attention(places, places, places)[0].flatten(1)


@pytest.mark.parametrize("encoder", ["phase", Backbone(Attending())])
def test_a_random_copy_keeps_no_trained_weight(encoder):
    torch.manual_seed(0)
    trained = EncoderPolicy(FRAMES, spaces.Discrete(2), lambda _: 0.0, encoder).features_extractor.eval()
    for weight in trained.parameters():
        nn.init.normal_(weight, 3.0)
    before = {name: value.clone() for name, value in trained.named_parameters()}
    frames = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    for name, value in random_copy(trained, frames, seed=0).named_parameters():
        assert not torch.equal(before[name], value), name


def test_weights_that_cannot_be_drawn_again_are_refused():
    encoder = EncoderPolicy(FRAMES, spaces.Discrete(2), lambda _: 0.0, Backbone(Attending(token=True)))
    with pytest.raises(ValueError, match=r"Attending .* weights of its own, token, .* reset_parameters"):
        random_copy(encoder.features_extractor, torch.zeros(8, 3, 64, 64, dtype=torch.uint8), seed=0)


def test_a_random_copy_is_trained_with_the_momentum_of_its_original():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.Flatten())
    encoder = EncoderPolicy(FRAMES, spaces.Discrete(2), lambda _: 0.0, Backbone(body)).features_extractor.eval()
    copied = random_copy(encoder, torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8), seed=0)
    assert [each.momentum for each in copied.modules() if isinstance(each, nn.BatchNorm2d)] == [0.3]


def test_a_named_encoder_is_the_same_whatever_was_drawn_before():
    weights = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        weights.append(load_probed("nature").encoder.network[1].weight)
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(*weights)


def test_batch_normalisation_of_a_random_copy_fits_the_images():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    nn.init.constant_(body[0].weight, 7.0)
    encoder = EncoderPolicy(FRAMES, spaces.Discrete(2), lambda _: 0.0, Backbone(body)).features_extractor.eval()
    frames = torch.randint(0, 256, (300, 3, 64, 64), dtype=torch.uint8)
    found = encoded(random_copy(encoder, frames, seed=0), frames).reshape(300, 4, -1)
    assert found.mean(axis=(0, 2)) == pytest.approx(0, abs=0.05)
    assert found.std(axis=(0, 2)) == pytest.approx(1, abs=0.05)


def test_an_encoder_of_outlines_is_as_good_as_the_shortcuts_and_at_chance_where_scenes_look_alike():
    table = perspective(["test_perspective:Outlines"], train=1200, test=600, copies=1)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == len(TASKS) * 7
    found = table.set_index(["model", "task", "trained_on"])["accuracy"]
    own = "test_perspective:Outlines"
    assert found[own, "depth-order", "depth-order"] > 0.8
    for trained_on in ("vpt-basic", "vpt-strategy"):
        assert found[own, "vpt-strategy", trained_on] == pytest.approx(0.5, abs=0.04)
        assert found["position and size", "vpt-strategy", trained_on] == pytest.approx(0.5, abs=0.04)
        assert found["truth", "vpt-strategy", trained_on] > 0.97
        assert found["chance", "vpt-strategy", trained_on] == 0.5
    assert found["position and size", "vpt-basic", "vpt-basic"] > 0.9
    assert found["truth", "depth-order", "depth-order"] > 0.97
    assert table["gain"].isna().all()  # it has no weights
    assert ((table["low"] <= table["accuracy"]) & (table["accuracy"] <= table["high"])).all()


def test_test_scenes_are_independent_and_their_answers_balanced():
    stimuli = stimuli_of((32, 32), 80, 40, 0)
    assert {name: len(each.scenes) for name, each in stimuli.items()} == {
        "scenes": 80, "fours": 80, "test scenes": 40, "test fours": 40,
    }  # fmt: skip
    for name in ("test scenes", "test fours"):
        assert len(np.unique(stimuli[name].scenes.groups)) == 40
    always = right_answers(lambda training, answers: lambda test: np.ones(40, dtype=bool), stimuli)
    assert [right.mean() for _, right in always] == [0.5] * len(TASKS)


def test_the_command_probes_a_run_against_random_weights_and_draws(tmp_path, policy):
    arguments = ("--train", "80", "--test", "40", "--copies", "2", "--finetune", "--epochs", "1")
    done = lcd("perspective", policy, "small", *arguments, "--figure", "p.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The table is in perspective.csv" in done.stdout
    assert "The figure is in p.png" in done.stdout
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "perspective.csv", keep_default_na=False, na_values=["nan"])
    of_encoders = table[table["weights"] != "none"].groupby(["model", "weights", "readout"]).size()
    assert of_encoders.to_dict() == {
        ("small", "random 0", "linear probe"): 4,
        ("small", "random 0", "fine-tuned"): 4,
        ("small", "random 1", "linear probe"): 4,
        ("maze-run", "trained", "linear probe"): 4,
        ("maze-run", "trained", "fine-tuned"): 4,
    }
    probes = table[table["readout"] == "linear probe"].set_index(["model", "weights", "task", "trained_on"])
    gain = float(probes.loc[("maze-run", "trained", "depth-order", "depth-order"), "gain"])
    random = [float(probes.loc[("small", f"random {n}", "depth-order", "depth-order"), "accuracy"]) for n in (0, 1)]
    trained = float(probes.loc[("maze-run", "trained", "depth-order", "depth-order"), "accuracy"])
    assert gain == pytest.approx(trained - np.mean(random), abs=1e-5)
    again = lcd("perspective", policy, "small", *arguments, "--out", "again.csv", cwd=tmp_path)
    assert again.returncode == 0
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "perspective.csv").read_text()


def test_weights_from_a_file_and_frames_of_another_size_are_probed(tmp_path):
    torch.manual_seed(0)
    large = spaces.Box(0, 255, (3, 84, 72), np.uint8)
    file = tmp_path / "large.safetensors"
    save_policy(EncoderPolicy(large, spaces.Discrete(4), lambda _: 0.0, "small"), file, {})
    probed = load_probed(str(file))
    assert (probed.name, probed.architecture, probed.size) == ("large.safetensors", "small", (84, 72))
    assert probed.is_trained
    save_backbone(load_probed("nature").encoder, tmp_path / "n.safetensors", "nature", {})
    named = load_probed(f"nature@{tmp_path / 'n.safetensors'}")
    assert (named.architecture, named.size, named.is_trained) == ("nature", (64, 64), True)
    assert not load_probed("nature").is_trained
    assert load_probed("efficientnet_lite0").is_trained
    table = perspective([str(file)], train=40, test=40, copies=1)
    assert (table["weights"] == "trained").sum() == len(TASKS)


def test_what_cannot_be_probed_is_refused_before_any_work(tmp_path, policy):
    torch.manual_seed(0)
    for name, space in {
        "labels": spaces.Box(0, 64, (64, 64), np.uint8), "stacked": spaces.Box(0, 255, (12, 64, 64), np.uint8)
    }.items():  # fmt: skip
        save_policy(
            EncoderPolicy(space, spaces.Discrete(4), lambda _: 0.0, "small"), tmp_path / f"{name}.safetensors", {}
        )
    before = sorted(tmp_path.iterdir())
    for arguments, sentence in {
        ("labels.safetensors",): "takes label maps: give one that was trained from single colour images",
        ("stacked.safetensors",): "takes images of 12 channels",
        ("nowhere/policy.safetensors",): "There is no policy file",
        ("vgg",): "Unknown encoder 'vgg'",
        ("nature@lost.safetensors",): "no file of weights lost.safetensors",
        ("nature", "--layer", "last"): "Unknown layer 'last': choose backbone or features",
        ("nature", "--train", "42"): "train must be a multiple of 4",
        ("nature", "--test", "8"): "--test",
        ("nature", "--copies", "0"): "--copies",
        ("nature", "--figure", "figure.gif"): "figure.gif must end in .png or .pdf or .svg",
        ("nature", "--out", "maze-run"): "maze-run is a folder",
        ("nature", "--out", "table.png"): "table.png must end in .csv",
        ("maze-run", "--figure", "maze-run/policy.safetensors"): "is read as well",
        (): "Missing argument",
    }.items():
        refused = lcd("perspective", *arguments, cwd=tmp_path)
        assert (refused.returncode, sentence in " ".join(refused.stderr.split())) == (2, True), refused.stderr
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ValueError, match="No model is given"):
        perspective([])
    with pytest.raises(ValueError, match="models must be a list of names"):
        perspective("nature")


def test_the_figure_shows_each_encoder_in_each_task():
    rows = [
        (model, "nature", weights, "linear probe", task.name, task.trained_on, 0.6, 0.55, 0.65, 100, *[np.nan] * 3)
        for model, weights in (("nature", "random 0"), ("starpilot-pixels-rl-seed1-0123456789ab", "trained"))
        for task in TASKS
    ]
    figure = draw_perspective(pd.DataFrame(rows, columns=list(COLUMNS)))
    panels = figure.axes[8:]
    assert len(panels) == 3
    named = [text.get_text() for text in panels[0].get_yticklabels()]
    assert named == ["nature, random weights", "starpilot rl seed 1 (nature)"]
    drawn = [sum(line.get_xdata()[0] == 0.6 for line in panel.lines if len(line.get_xdata()) == 1) for panel in panels]
    assert drawn == [2, 2, 4]
