"""Policy files come back as they were written, hold no code, and say in a sentence what is wrong with them."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces
from limited import little
from safetensors import safe_open
from safetensors.torch import save_file

from lcd.agents import EncoderPolicy, PolicyFileError, load_policy, save_policy

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)
LABELS = spaces.Box(0, 64, (64, 64), np.uint8)
VECTORS = spaces.Box(-np.inf, np.inf, (128,), np.float32)


def policy_of(space=LABELS, encoder="impoola:4,8", seed=0):
    torch.manual_seed(seed)
    policy = EncoderPolicy(space, spaces.Discrete(15), lambda _: 1e-3, encoder=encoder)
    with torch.no_grad():
        policy.action_net.weight.normal_()
        policy.value_net.weight.normal_()
    return policy


@pytest.fixture
def path(tmp_path):
    save_policy(policy_of(), tmp_path / "policy.safetensors", {"game": "maze", "returns": [1.5, None]})
    return tmp_path / "policy.safetensors"


def rewritten(path, **changes):
    """The file with other metadata; None takes an entry out."""
    with safe_open(path, "pt") as file:
        changed = file.metadata() | {"sha256": None} | changes  # whoever forges a file writes no seal
        metadata = {name: text for name, text in changed.items() if text is not None}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    ("space", "encoder"), [(LABELS, "impoola:4,8"), (FRAMES, "impala:4"), (FRAMES, "nature"), (VECTORS, "mlp")]
)
def test_a_policy_comes_back_with_its_card(space, encoder, tmp_path):
    policy, card = policy_of(space, encoder), {"game": "maze", "scores": {"training": 7.5}, "note": "ünicode\n"}
    save_policy(policy, tmp_path / "p.safetensors", card)
    random = torch.get_rng_state().clone()
    loaded, loaded_card = load_policy(tmp_path / "p.safetensors")
    assert torch.equal(torch.get_rng_state(), random)  # reading a file draws no random numbers
    assert loaded_card == card
    assert (loaded.encoder_name, loaded.training) == (encoder, False)
    observations = torch.randint(65, (6, *space.shape), dtype=torch.uint8)
    if space is VECTORS:
        observations = torch.randn(6, *space.shape)
    with torch.no_grad():
        assert torch.equal(loaded.log_probabilities(observations), policy.log_probabilities(observations))
        assert torch.equal(loaded.predict_values(observations), policy.predict_values(observations))


def test_the_same_policy_makes_the_same_file(path, tmp_path):
    for _ in range(8):  # the library's own order of the header changes from call to call
        save_policy(policy_of(), tmp_path / "again.safetensors", {"game": "maze", "returns": [1.5, None]})
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_half_precision_halves_the_file_and_rounds_the_weights(path, tmp_path):
    policy = policy_of()
    save_policy(policy, tmp_path / "half.safetensors", {}, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * path.stat().st_size
    loaded = load_policy(tmp_path / "half.safetensors")[0].state_dict()
    assert all(torch.equal(loaded[name], value.half().float()) for name, value in policy.state_dict().items())


def test_every_weight_is_written_once(path):
    with safe_open(path, "pt") as file:
        size = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert size == sum(parameter.numel() for parameter in policy_of().parameters())


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_a_file_cut_short_is_refused(path, kept):
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(PolicyFileError, match=r"^[^\n]*not a whole safetensors file[^\n]*$"):
        load_policy(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "policy.safetensors"
    for write in (lambda: path.write_bytes(pickle.dumps(Bomb())), lambda: torch.save(Bomb(), path)):
        write()
        with pytest.raises(PolicyFileError, match="not a whole safetensors file"):
            load_policy(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "lcd-policy-99"}, "lcd-policy-99"),
        ({"format": None}, "is not a policy file"),
        ({"encoder": "vgg"}, "vgg"),
        ({"encoder": "impoola:4,16"}, "do not fit"),
        ({"encoder": "impala:4,8"}, "do not fit"),
        ({"encoder": None}, "encoder"),
        ({"observation_shape": "[2, 64, 64]"}, "do not fit"),
        ({"observation_shape": "64"}, "policy"),
        ({"observation_shape": '["a", 64]'}, "policy"),
        ({"observation_shape": "[-1, 64]"}, "policy"),
        ({"actions": "many"}, "many"),
        ({"actions": "0"}, "policy"),
        ({"actions": "4"}, "do not fit"),
        ({"card": "{"}, "policy"),
    ],
)
def test_a_wrong_description_is_refused_in_a_sentence(path, changes, message):
    with pytest.raises(PolicyFileError, match=rf"^[^\n]*{message}[^\n]*$") as caught:
        load_policy(rewritten(path, **changes))
    assert str(path) in str(caught.value)


def test_other_tensors_are_refused(tmp_path, path):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in list(file.keys())[1:]}
    save_file(tensors, path, metadata)
    with pytest.raises(PolicyFileError, match="do not fit"):
        load_policy(path)
    save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(PolicyFileError, match="is not a policy file"):
        load_policy(tmp_path / "other.safetensors")


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(PolicyFileError, match="There is no policy file"):
            load_policy(path)


def test_a_policy_that_the_file_cannot_describe_is_not_written(tmp_path):
    policy = EncoderPolicy(LABELS, spaces.Discrete(15), lambda _: 1e-3, encoder="impoola:4", net_arch=[8])
    with pytest.raises(ValueError, match="net_arch"):
        save_policy(policy, tmp_path / "p.safetensors", {})
    with pytest.raises(TypeError):
        save_policy(policy_of(), tmp_path / "p.safetensors", {"card": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nature@{}", "nature@{}+frozen", "efficientnet_lite0@{}+tuned=1e-4"])
def test_a_file_that_names_another_is_refused_and_the_other_not_opened(path, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    with pytest.raises(PolicyFileError, match=r"names another file.*its weights are inside"):
        load_policy(rewritten(path, encoder=name.format(tmp_path / "pipe")))


@pytest.mark.parametrize("hub", ["timm", "hf"])
@pytest.mark.parametrize("name", ["{}:somebody/model", "{}:somebody/model+frozen", "{}:/etc/passwd+tuned"])
def test_no_hub_is_asked_unless_the_reader_trusts_the_file(path, monkeypatch, hub, name):
    asked = []

    def ask(model, *_):
        asked.append(model)
        raise ValueError("nobody answers")

    monkeypatch.setattr("lcd.agents.encoders.pretrained.HUBS", {"timm": ask, "hf": ask})
    rewritten(path, encoder=name.format(hub))
    with pytest.raises(PolicyFileError, match=r"fetched over the network.*trust=True"):
        load_policy(path)
    assert not asked
    with pytest.raises(PolicyFileError, match="nobody answers"):
        load_policy(path, trust=True)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": str(10**12)},
        {"actions": "9" * 5000},
        {"actions": str(10**9), "action_classes": "null"},
        {"encoder": "impala:100000,100000,100000"},
        {"encoder": "impala:4096,4096,4096"},
        {"encoder": "impoola:" + ",".join(["4096"] * 16)},
        {"encoder": "nature:4096"},
        {"encoder": "nature:" + "9" * 5000},
        {"encoder": "recurrent:4096,4096,4096"},
        {"encoder": "floodfill-maze:4096"},
        {"encoder": "floodfill-chaser:4096"},
        {"observation_shape": "[3, 60000, 60000]"},
        {"observation_shape": "[60000, 60000]"},
        {"observation_shape": "[" * 100_000},
        {"observation_shape": "[1e400, 64]"},
        {"observation_shape": "[64.0, 64]"},
        {"observation_shape": "[true, 64]"},
        {"observation_shape": "null"},
        {"action_classes": "[" * 100_000 + "]" * 100_000},
        {"action_classes": "[[0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]]"},
        {"action_classes": '[["a"]]'},
        {"action_classes": "[[[0]]]"},
        {"action_classes": "3"},
        {"card": "[" * 100_000},
        {"card": "[]"},
        {"card": "null"},
        {"card": '{"run": null}'},
        {"card": '{"run": [1]}'},
        {"card": '{"run": {"game": ["maze"]}}'},
        {"card": '{"run": {"learning": {}}}'},
        {"card": '{"run": {"harmonizer": "much"}}'},
        {"card": '{"game": ["maze"]}'},
        {"card": '{"game": 10000000000000000000000000000000}'},
    ],
)
def test_descriptions_of_absurd_sizes_and_kinds_are_refused_at_once(path, changes):
    rewritten(path, **changes)
    with little(seconds=5), pytest.raises(PolicyFileError, match=r"^[^\n]*$") as caught:
        load_policy(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("card", [{"run": None}, {"game": ["maze"]}, {"run": {"view": 3}}])
def test_a_card_that_could_not_be_read_is_not_written(tmp_path, card):
    with pytest.raises(ValueError, match=r"The card must have (a text|an object)"):
        save_policy(policy_of(), tmp_path / "p.safetensors", card)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30, -1e7])
def test_weights_that_are_no_numbers_or_absurd_are_refused(path, value):
    with safe_open(path, "pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "sha256"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["value_net.bias"][:] = value
    save_file(tensors, path, metadata)
    with pytest.raises(PolicyFileError):
        load_policy(path)


def test_weights_without_a_probability_are_refused(tmp_path):
    policy = policy_of(FRAMES, "impala:4,4,4")
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(9e5)
    save_policy(policy, tmp_path / "p.safetensors", {})
    with pytest.raises(PolicyFileError, match="damaged"):
        load_policy(tmp_path / "p.safetensors")
