import numpy as np
import own_encoders
import pytest
import torch
from gymnasium import spaces

import lcd
from lcd.agents import (
    ENCODERS,
    PPO,
    EncoderPolicy,
    import_encoder,
    load_policy,
    load_weights,
    register_encoder,
    save_backbone,
    save_policy,
)
from lcd.agents.encoders.own_modules import OwnModuleEncoder
from lcd.agents.encoders.registry import module_of
from lcd.agents.memory import MemoryPolicy
from lcd.agents.policy import is_thread_safe
from lcd.agents.policy_file import PolicyFileError, UntrustedPolicyError
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.studies.diagnosing import prepare_diagnosis
from lcd.studies.visible_networks import load_visible

pytestmark = pytest.mark.costly()

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        (own_encoders.Tiny, "own_encoders:Tiny"),
        ("own_encoders:Tiny", "own_encoders:Tiny"),
        ("own_encoders:Tiny+frozen", "own_encoders:Tiny+frozen"),
        ("own-tiny", "own-tiny"),
        ("nature:64", "nature:64"),
        ("hf:some/model", "hf:some/model"),
    ],
)
def test_an_encoder_is_named_by_its_class(encoder, name):
    assert import_encoder(encoder) == name


def test_worker_processes_know_which_module_to_import():
    assert module_of(import_encoder("own_encoders:Tiny")) == "own_encoders"
    assert module_of("own-tiny") == "own_encoders"
    assert module_of("nature:64+frozen") is None


def local_encoder():
    class Local(own_encoders.Tiny):
        pass

    return Local


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("no_such_module:Net", "No module named 'no_such_module'"),
        ("own_encoders:Missing", "no class of lcd.agents.Encoder, nor of torch.nn.Module"),
        ("own_encoders:SIDE", "no class of lcd.agents.Encoder, nor of torch.nn.Module"),
        ("own_encoders:NeedsMore", "needs 2 arguments, images, width: let it take the observation space alone"),
        (local_encoder(), "top level of a module"),
    ],
)
def test_encoders_that_cannot_be_imported_are_one_clear_sentence(encoder, words):
    with pytest.raises(ValueError, match=words) as caught:
        import_encoder(encoder)
    assert "\n" not in str(caught.value)


def test_a_file_never_imports_a_module(tmp_path, monkeypatch):
    env = ProcgenVecEnv(ProcgenOptions("maze"), 2)
    model = PPO(env=env, encoder=import_encoder("own_encoders:Tiny"), n_steps=16, batch_size=16, device="cpu")
    file = tmp_path / "policy.safetensors"
    save_policy(model.policy, file, {"game": "maze"})
    env.close()
    monkeypatch.setattr("lcd.agents.policy_file.import_encoder", lambda name: pytest.fail("imported"))
    with pytest.raises(PolicyFileError, match="whose module would be imported: if you trust the file"):
        load_policy(file)
    monkeypatch.undo()
    assert load_policy(file, trust=True)[0].encoder_name == "own_encoders:Tiny"


def test_a_module_with_a_memory_behind_it_begins_with_its_own_first_weights():
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    name = import_encoder("own_encoders:OfAnyChannels")
    torch.manual_seed(0)
    policy = MemoryPolicy(space, spaces.Discrete(3), lambda left: 1e-3, network=f"none={name}")
    (own,) = (each for each in policy.modules() if isinstance(each, OwnModuleEncoder))
    body = own.backbone.module.body.weight.flatten(1)
    gram = body @ body.T
    assert not torch.allclose(gram, gram.diagonal().mean() * torch.eye(len(gram)), atol=0.01)  # as orthogonal ones are


def test_a_mask_that_is_infinite_on_purpose_is_written_and_read(tmp_path):
    name = import_encoder("own_encoders:Masked")
    policy = EncoderPolicy(FRAMES, spaces.Discrete(3), lambda left: 1e-3, name)
    save_policy(policy, tmp_path / "policy.safetensors", {})
    save_backbone(policy.features_extractor, tmp_path / "encoder.safetensors", name, {})
    loaded, _ = load_policy(tmp_path / "policy.safetensors", trust=True)
    assert torch.equal(loaded.features_extractor.backbone.module.mask, torch.tensor([0.0, -torch.inf]))
    fresh = EncoderPolicy(FRAMES, spaces.Discrete(3), lambda left: 1e-3, name)
    load_weights(fresh.features_extractor, tmp_path / "encoder.safetensors")
    with torch.no_grad():
        policy.features_extractor.backbone.module.body.weight[0] = torch.inf
    save_policy(policy, tmp_path / "policy.safetensors", {})
    save_backbone(policy.features_extractor, tmp_path / "encoder.safetensors", name, {})
    with pytest.raises(PolicyFileError, match="is not finite"):
        load_policy(tmp_path / "policy.safetensors", trust=True)
    with pytest.raises(ValueError, match=r"damaged: module\.body\.weight"):
        load_weights(fresh.features_extractor, tmp_path / "encoder.safetensors")


def test_the_encoder_of_a_file_is_not_imported_unless_it_is_trusted(tmp_path):
    name = import_encoder("own_encoders:OfAnyChannels")
    policy = EncoderPolicy(FRAMES, spaces.Discrete(3), lambda left: 1e-3, name)
    save_backbone(policy.features_extractor, tmp_path / "encoder.safetensors", name, {"game": "maze"})
    with pytest.raises(UntrustedPolicyError, match="a class whose module would be imported"):
        load_visible(str(tmp_path / "encoder.safetensors"), "cpu")
    assert load_visible(str(tmp_path / "encoder.safetensors"), "cpu", trust=True).policy is None


def test_a_diagnosis_with_an_encoder_of_ones_own_reaches_the_workers(tmp_path):
    diagnosis = lcd.diagnose(
        "own_games:Grid", "smoke", seeds=1, steps=1024, encoder=own_encoders.Tiny, store=tmp_path, workers=1
    )
    encoders = {run["encoder"] for run in diagnosis.settings["plan"]["games"][0]["runs"]}
    assert encoders == {"own_encoders:Tiny"}


@pytest.mark.parametrize("learn", [True, False])
def test_an_encoder_that_gives_no_numbers_is_named(learn):
    """Only for some observations, so that nothing shows when it is made."""
    env = ProcgenVecEnv(ProcgenOptions("maze"), num_envs=2)
    model = PPO(env=env, encoder=import_encoder(own_encoders.Undefined), n_steps=8, batch_size=16, device="cpu")
    black = np.zeros((2, 3, 64, 64), np.uint8)
    sentence = r"encoder own_encoders:Undefined gives numbers that are not finite for some observations"
    with pytest.raises(ValueError, match=sentence):
        model.policy.forward(torch.as_tensor(black)) if learn else model.predict(black)
    assert model.predict(black + 1)[0].shape == (2,)
    env.close()


@pytest.mark.parametrize("shape", [(3, 36, 36), (1, 36, 36), (36, 36)])
def test_a_plain_module_is_an_encoder_of_any_images(shape):
    space = spaces.Box(0, 64, shape, np.uint8)
    policy = EncoderPolicy(space, spaces.Discrete(3), lambda left: 1e-3, import_encoder("own_encoders:OfAnyChannels"))
    assert policy.features_extractor.backbone.module.body.in_channels == (shape[0] if len(shape) == 3 else 3)
    assert policy.predict(np.zeros((2, *shape), np.uint8))[0].shape == (2,)
    assert not is_thread_safe(policy)


def test_a_plain_module_keeps_its_own_first_weights_and_learns(tmp_path):
    space = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    torch.manual_seed(0)
    policy = EncoderPolicy(space, spaces.Discrete(3), lambda left: 1e-3, import_encoder("own_encoders:Plain"))
    torch.manual_seed(0)
    assert torch.equal(policy.features_extractor.backbone.module.body.weight, own_encoders.Plain().body.weight)
    policy.heads(torch.ones(2, 3, 36, 36))[0].sum().backward()
    assert policy.features_extractor.backbone.module.body.weight.grad is not None
    save_policy(policy, tmp_path / "policy.safetensors", {})
    again = load_policy(tmp_path / "policy.safetensors", trust=True)[0]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in policy.state_dict().items())
    frozen = f"own_encoders:Plain@{tmp_path / 'policy.safetensors'}"
    policy = EncoderPolicy(space, spaces.Discrete(3), lambda left: 1e-3, frozen)
    assert policy.features_extractor.frozen


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("own_encoders:GivesTwo", "GivesTwo gives no features of shape"),
        ("own_encoders:Fails", "encoder own_encoders:Fails cannot be made for frames .*KeyError: 'no such layer'"),
    ],
)
def test_a_wrong_encoder_of_ones_own_is_refused_before_anything_trains(encoder, words):
    with pytest.raises(ValueError, match=words):
        prepare_diagnosis("maze", "smoke", encoder=encoder, train_teacher=True)


def test_an_encoder_that_no_worker_can_import_is_refused_before_anything_trains(monkeypatch, tmp_path):
    monkeypatch.setattr("lcd.agents.encoders.registry.ENCODERS", dict(ENCODERS))
    script = {"__name__": "__main__", "register_encoder": register_encoder, "Tiny": own_encoders.Tiny}
    exec("register_encoder('of-a-script')(Tiny)", script)
    exec("register_encoder('of-a-lost-module')(Tiny)", script | {"__name__": "lost_module"})
    register_encoder("of-a-function")(local_encoder())
    for name, place in (("script", "the script"), ("lost-module", "lost_module"), ("function", "test_own_encoders")):
        with pytest.raises(ValueError, match=f"encoder of-a-{name} is registered where .* in {place}.*put it at the"):
            prepare_diagnosis("maze", "smoke", encoder=f"of-a-{name}", train_teacher=True, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()
