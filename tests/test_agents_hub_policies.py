"""Saved policies whose encoder is of timm or of the hub: their weights are in the file, and none are fetched."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from test_agents_hubs import HALF, States, hub_of, policy, timm_of
from torch import nn
from toy_games import ColourGame

from lcd.agents import PPO, EncoderPolicy, load_policy, save_backbone, save_policy
from lcd.agents.encoders.weights import write_tensors
from lcd.agents.policy_file import PolicyFileError
from lcd.cli.main import main
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.io.untrusted import read_safetensors


def saved_policy_of_timm(monkeypatch, tmp_path, asked, card=None):
    """A policy on frames whose encoder is of timm, with weights that nobody fetched, and its file."""
    own = timm_of(monkeypatch, asked).create_model("resnet18")
    torch.save(own.state_dict(), tmp_path / "own.pth")
    space = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    made = EncoderPolicy(space, spaces.Discrete(15), lambda _: 1e-3, f"timm:resnet18@{tmp_path / 'own.pth'}")
    save_policy(made, tmp_path / "policy.safetensors", card or {})
    (tmp_path / "own.pth").unlink()
    return made, tmp_path / "policy.safetensors"


@pytest.mark.parametrize("trust", [False, True])
def test_a_saved_policy_of_timm_is_loaded_and_no_weights_are_fetched(monkeypatch, tmp_path, trust):
    asked = []
    made, file = saved_policy_of_timm(monkeypatch, tmp_path, asked)
    loaded, _ = load_policy(file, trust=trust)
    assert asked
    assert not any(asked)
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(loaded.log_probabilities(frames), made.log_probabilities(frames))
    assert loaded.is_frozen == made.is_frozen


@pytest.mark.parametrize("name", ["hf-hub:somebody/model", "somebody/model", "local-dir:/etc", "../model", ""])
def test_what_timm_would_fetch_itself_is_not_built_unless_the_file_is_trusted(monkeypatch, tmp_path, name):
    asked = []
    _, file = saved_policy_of_timm(monkeypatch, tmp_path, asked)
    tensors, metadata = read_safetensors(file, 2**30, remedy="")
    write_tensors(tensors, file, metadata | {"encoder": f"timm:{name}+frozen"})
    before = len(asked)
    with pytest.raises(PolicyFileError, match="trust=True" if name else "Unknown encoder"):
        load_policy(file)
    assert len(asked) == before


def test_a_policy_of_timm_without_timm_says_how_to_install_it(monkeypatch, tmp_path):
    _, file = saved_policy_of_timm(monkeypatch, tmp_path, [])
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PolicyFileError, match=r"needs the package timm .*pip install '[^']*\[timm\]'\.$"):
        load_policy(file)


def test_a_forged_file_does_not_make_timm_build_a_larger_model(monkeypatch, tmp_path):
    """Shapes are compared before any memory is allocated."""
    _, file = saved_policy_of_timm(monkeypatch, tmp_path, [])
    built = []

    def create_model(name, pretrained=False, num_classes=0):
        layer = nn.Conv2d(3, 10**6, 64)
        built.append(layer.weight.device.type)
        model = nn.Sequential(layer, nn.Flatten())
        model.pretrained_cfg = {}
        return model

    monkeypatch.setattr(sys.modules["timm"], "create_model", create_model)
    with pytest.raises(PolicyFileError, match="do not fit the encoder"):
        load_policy(file)
    assert built == ["meta"]


def test_the_commands_load_policies_of_timm(monkeypatch, tmp_path, capsys):
    asked = []
    run = next(run for run in plan_game("maze", PRESETS["smoke"]).cells if run.view == "pixels")
    card = {"game": "maze", "run": run.as_dict()}
    _, file = saved_policy_of_timm(monkeypatch, tmp_path, asked, card)
    monkeypatch.chdir(tmp_path)
    for command in (
        ["align", str(file), "--count", "2", "--methods", "gradient"],
        ["watch", "--run", str(file), "--max-steps", "2", "--episodes", "1"],
    ):
        monkeypatch.setattr(sys, "argv", ["lcd", *command])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    assert not any(asked)
    assert set(pd.read_csv("alignment.csv")["aspect"]) >= {"where", "value", "invariance"}
    assert Path("maze.gif").read_bytes().startswith(b"GIF8")


def test_learners_of_timm_are_loaded_and_no_weights_are_fetched(monkeypatch, tmp_path):
    asked = []
    own = timm_of(monkeypatch, asked).create_model("resnet18")
    torch.save(own.state_dict(), tmp_path / "own.pth")
    model = PPO(env=ColourGame(4), encoder=f"timm:resnet18@{tmp_path / 'own.pth'}", n_steps=16, batch_size=32)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pt")
    frames = torch.randint(256, (2, *model.observation_space.shape), dtype=torch.uint8)
    for loaded in (PPO.load(tmp_path / "model.zip").policy, EncoderPolicy.load(tmp_path / "policy.pt")):
        assert torch.equal(loaded.log_probabilities(frames), model.policy.log_probabilities(frames))
    assert not any(asked)


def test_a_policy_of_the_hub_is_loaded_from_the_cache_with_the_features_that_it_was_trained_on(monkeypatch, tmp_path):
    """A pooler without pretrained weights is left out; that its weights are in the file must not bring it back."""
    hub_of(monkeypatch, SimpleNamespace(**HALF))
    library, asked = sys.modules["transformers"], []
    cached: list[str] = []

    class Pooling(States):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace()

        def forward(self, pixel_values):
            found = super().forward(pixel_values)
            return SimpleNamespace(
                last_hidden_state=found.last_hidden_state, pooler_output=torch.full((len(pixel_values), 3), 9.0)
            )

    def read(name, local_files_only=False, **settings):
        asked.append(local_files_only)
        if local_files_only and not cached:
            raise OSError("not in the cache")
        return SimpleNamespace(**HALF)

    def read_processor(name, local_files_only=False, **settings):
        if local_files_only and cached == ["the configuration alone"]:
            raise OSError("not in the cache")
        return read(name, local_files_only)

    library.AutoModel.from_pretrained = lambda name, **settings: (Pooling(), {"missing_keys": ["pooler.weight"]})
    library.AutoModel.from_config = lambda config: Pooling()
    library.AutoConfig = SimpleNamespace(from_pretrained=read)
    library.AutoImageProcessor = SimpleNamespace(from_pretrained=read_processor)
    made = policy("hf:somebody/model")
    save_policy(made, tmp_path / "policy.safetensors", {})
    for held in ([], ["the configuration alone"]):
        cached[:] = held
        with pytest.raises(PolicyFileError, match="fetched over the network"):
            load_policy(tmp_path / "policy.safetensors")
    cached[:] = ["everything"]
    asked.clear()
    loaded, _ = load_policy(tmp_path / "policy.safetensors")
    assert asked
    assert all(asked)
    frames = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.allclose(loaded.encode(frames), made.encode(frames), atol=0.01)  # one of them in bfloat16
    save_backbone(made.features_extractor, tmp_path / "encoder.safetensors", "hf:somebody/model", {})
    for file in ("encoder", "policy"):
        again = policy(f"hf:somebody/model@{tmp_path / file}.safetensors").features_extractor.backbone
        assert torch.equal(again(frames / 255), made.features_extractor.backbone(frames / 255))
