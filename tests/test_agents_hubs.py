"""Encoders of timm and of the hub: preprocessing as published, and nothing fetched without need."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn
from toy_games import ColourGame

from lcd.agents import PPO, Backbone, EncoderPolicy
from lcd.agents.encoders.pretrained import load_backbone

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)


def policy(encoder, space=FRAMES):
    return EncoderPolicy(space, spaces.Discrete(15), lambda _: 5e-4, encoder, mixed_precision=False)


class States(nn.Module):
    """In the place of a model of transformers: its last state is the mean colour that it gets."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(image_size=32)
        self.layer = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, pixel_values):
        return SimpleNamespace(last_hidden_state=self.layer(pixel_values))


def hub_of(monkeypatch, processor, model=States):
    """A module in the place of transformers."""
    module = ModuleType("transformers")
    module.AutoModel = SimpleNamespace(from_pretrained=lambda name, **settings: (model(), {"missing_keys": []}))
    module.AutoImageProcessor = SimpleNamespace(from_pretrained=lambda name: processor)
    monkeypatch.setitem(sys.modules, "transformers", module)


def features_of_colour(encoder, colour):
    """Features of a frame of one colour."""
    frame = torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64).contiguous()
    return policy(encoder).encode(frame)[0].float().tolist()


HALF = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ({}, [1, -1.6, -1.5]),
        ({"do_normalize": False}, [1, 0, 0]),
        ({"do_normalize": None}, [1, 0, 0]),
        ({"do_normalize": False, "do_flip_channel_order": True}, [0, 0, 1]),
        ({"do_flip_channel_order": True}, [-1.5, -1.6, 1]),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, [2, 0, 0]),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}, [1, -1, -1]),
        ({"rescale_factor": 1 / 127.5}, [3, -1.6, -1.5]),
        ({"do_normalize": False, "do_rescale": False}, [255, 0, 0]),
        ({"do_rescale": False, "rescale_factor": 1 / 127.5}, [509, -1.6, -1.5]),
        ({"include_top": True}, [2, -6.4, -7.5]),
        ({"image_mean": None, "image_std": None}, [1, 0, 0]),
        ({"image_mean": 0.5, "image_std": 0.25}, [2, -2, -2]),
    ],
)
def test_a_red_frame_is_what_the_processor_makes_of_it(monkeypatch, does, expected):
    hub_of(monkeypatch, SimpleNamespace(**({"size": {"height": 32, "width": 32}} | HALF | does)))
    assert features_of_colour("hf:some/model", (255, 0, 0)) == pytest.approx(
        expected, abs=0.2 if 509 in expected else 5e-3
    )


@pytest.mark.parametrize(
    ("does", "size"),
    [
        ({"size": {"height": 96, "width": 96}}, 96),
        ({"size": {"height": 96, "width": 64}}, (96, 64)),
        ({"size": {"shortest_edge": 80}}, 80),
        ({"size": 48}, 48),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}, 224),
        ({"size": {"height": 96, "width": 96}, "do_center_crop": False, "crop_size": {"height": 64, "width": 64}}, 96),
        ({"size": {"height": 96, "width": 96}, "do_resize": False}, 32),  # the model's own
    ],
)
def test_frames_are_resized_as_the_processor_does(monkeypatch, does, size):
    hub_of(monkeypatch, SimpleNamespace(**(HALF | does)))
    assert load_backbone("hf:some/model").size == size


@pytest.mark.parametrize(
    ("resample", "name"), [(0, "nearest-exact"), (2, "bilinear"), (3, "bicubic"), (None, "bilinear")]
)
def test_frames_are_resampled_as_the_processor_does(monkeypatch, resample, name):
    hub_of(monkeypatch, SimpleNamespace(size={"height": 96, "width": 96}, resample=resample, **HALF))
    backbone = load_backbone("hf:some/model")
    assert backbone.resampling == name
    assert policy("hf:some/model").encode(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_backbone_of_any_precision_learns_and_encodes(dtype, frozen):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.ReLU())
    expected = policy(Backbone(module, frozen=frozen))
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    made = policy(Backbone(module.to(dtype), frozen=frozen))
    assert {value.dtype for value in made.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert torch.allclose(made.encode(frames).float(), expected.encode(frames).float(), atol=0.05)
    model = PPO(
        env=ColourGame(4), encoder=Backbone(module.to(dtype), frozen=frozen), n_steps=16, batch_size=32, device="cpu"
    )
    model.learn(64)


@pytest.mark.parametrize(("name", "value"), [("resampling", "lanczos"), ("size", 0), ("size", (64, -1)), ("size", 1.5)])
def test_an_impossible_preparation_is_one_clear_sentence(name, value):
    with pytest.raises(ValueError, match="resampling 'lanczos'" if name == "resampling" else "of pixels above 0"):
        Backbone(nn.Flatten(), **{name: value})


def timm_of(monkeypatch, asked, **more):
    """A module in the place of timm, on a machine without network."""

    def create_model(name, pretrained=False, num_classes=0):
        asked.append(pretrained)
        if pretrained:
            raise OSError("no network")
        model = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten())
        model.pretrained_cfg = {}
        return model

    module = ModuleType("timm")
    module.create_model = create_model
    wanted = {"input_size": (3, 64, 64), "mean": (0.0,) * 3, "std": (1.0,) * 3} | more
    module.data = SimpleNamespace(resolve_data_config=lambda *arguments, **settings: wanted)
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_weights_of_ones_own_take_the_place_of_those_that_would_be_fetched(monkeypatch, tmp_path):
    asked = []
    own = timm_of(monkeypatch, asked).create_model("resnet18")
    torch.save(own.state_dict(), tmp_path / "own.pth")
    made = policy(f"timm:resnet18@{tmp_path / 'own.pth'}")
    assert made.is_frozen
    assert not any(asked)
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.allclose(made.encode(frames).float(), own(frames / 255), atol=5e-3)
    model = PPO(env=ColourGame(4), encoder=f"timm:resnet18@{tmp_path / 'own.pth'}+tuned", n_steps=16, batch_size=32)
    assert not model.policy.is_frozen
    shorter = policy(f"resnet18@{tmp_path / 'own.pth'}")
    assert torch.equal(shorter.encode(frames), made.encode(frames))
    assert not any(asked)
    with pytest.raises(ValueError, match="no network"):
        policy("timm:resnet18")
    monkeypatch.delitem(sys.modules, "timm")
    monkeypatch.setattr("lcd.agents.encoders.registry.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Unknown encoder 'resnet18': .* install timm"):
        policy(f"resnet18@{tmp_path / 'own.pth'}")


@pytest.mark.parametrize(
    ("interpolation", "name"), [("bicubic", "bicubic"), ("bilinear", "bilinear"), (None, "bilinear")]
)
def test_a_model_of_timm_is_resampled_as_its_authors_did(monkeypatch, interpolation, name):
    timm_of(monkeypatch, [], interpolation=interpolation)
    assert load_backbone("timm:some", pretrained=False).resampling == name


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
WHOLE = {"height": 64, "width": 64}
REAL = {
    "ViT": ("ViTConfig", TINY | {"image_size": 64, "patch_size": 16}, "ViTImageProcessor", {"size": WHOLE}),
    "ViT without normalisation": (
        "ViTConfig",
        TINY | {"image_size": 64, "patch_size": 16},
        "ViTImageProcessor",
        {"size": WHOLE, "do_normalize": False, "rescale_factor": 1 / 127.5},
    ),
    "MobileViT": (
        "MobileViTConfig",
        {
            "image_size": 64,
            "hidden_sizes": [8, 8, 8],
            "neck_hidden_sizes": [4, 4, 4, 8, 8, 8, 16],
            "num_attention_heads": 2,
        },
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_size": WHOLE},
    ),
    "EfficientNet": (
        "EfficientNetConfig",
        {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320},
        "EfficientNetImageProcessor",
        {"size": WHOLE, "rescale_factor": 1 / 127.5, "rescale_offset": True},
    ),
    "DINOv2": (
        "Dinov2Config",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 14},
        "BitImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_size": WHOLE},
    ),
    "ConvNeXT": (
        "ConvNextConfig",
        {"image_size": 64, "hidden_sizes": [4, 4, 8, 8], "depths": [1, 1, 1, 1]},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_pct": 1.0},
    ),
    "CLIP": (
        "CLIPVisionConfig",
        TINY | {"image_size": 64, "patch_size": 16},
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_size": WHOLE},
    ),
}


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", REAL)
def test_real_models_get_what_their_real_processors_give(tmp_path, monkeypatch, name, precision):
    """Models of transformers made here, with random weights, saved and read again as those of the hub are."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config, settings, processor, does = REAL[name]
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, config)(**settings))
    model.to(getattr(torch, precision)).save_pretrained(tmp_path)
    prepared = getattr(transformers, processor)(**does)
    prepared.save_pretrained(tmp_path)
    made = policy(f"hf:{tmp_path}")
    given = []
    backbone = made.features_extractor.backbone.module
    backbone.register_forward_pre_hook(lambda module, images: given.append(images[0]))
    frames = np.random.default_rng(0).integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    frames[0] = (255, 0, 0)
    features = made.encode(torch.from_numpy(frames).permute(0, 3, 1, 2))
    theirs = prepared(images=list(frames), return_tensors="pt")["pixel_values"]
    assert torch.allclose(given[0], theirs, atol=1e-4)
    assert torch.isfinite(features).all()
    if name == "MobileViT":
        assert given[0][0, :, 0, 0].tolist() == [0, 0, 1]
    larger = np.kron(frames[1:, ::2, ::2], np.ones((1, 4, 4, 1), np.uint8))  # resized down to 64 pixels
    policy_of_larger = policy(f"hf:{tmp_path}", spaces.Box(0, 255, (3, 128, 128), np.uint8))
    policy_of_larger.features_extractor.backbone.module.register_forward_pre_hook(
        lambda module, images: given.append(images[0])
    )
    policy_of_larger.encode(torch.from_numpy(larger).permute(0, 3, 1, 2))
    theirs = prepared(images=list(larger), return_tensors="pt")["pixel_values"]
    span = float(theirs.max() - theirs.min())
    assert float((given[-1] - theirs).abs().max()) < 0.02 * span  # theirs are rounded to bytes in between


def test_a_real_model_with_weights_of_ones_own_fetches_none(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config, settings, processor, does = REAL["ViT"]
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(getattr(transformers, config)(**settings)).eval()
    model.config.save_pretrained(tmp_path)
    getattr(transformers, processor)(**does).save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    made = policy(f"hf:{tmp_path}@{tmp_path / 'own.pt'}")
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(pixel_values=(frames / 255 - 0.5) / 0.5).pooler_output
    assert torch.allclose(made.encode(frames).float(), expected, atol=5e-3)
