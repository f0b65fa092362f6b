import numpy as np
import own_encoders
import pytest
import torch

import lcd
from lcd.agents import PPO, import_encoder, load_policy, save_policy
from lcd.agents.encoders.registry import module_of
from lcd.agents.policy_file import PolicyFileError
from lcd.envs import ProcgenOptions, ProcgenVecEnv

pytestmark = pytest.mark.costly()


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
        ("own_encoders:Missing", "no subclass of lcd.agents.Encoder"),
        ("own_encoders:NoEncoder", "no subclass of lcd.agents.Encoder"),
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
    assert load_policy(file, ask_hubs=True)[0].encoder_name == "own_encoders:Tiny"


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
