"""Units with phases: what belongs together comes to fire together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecTransposeImage
from toy_games import ColourGame

from lcd.agents import PPO, Phase
from lcd.agents.encoders.phase import Synchrony, coherence
from lcd.envs import ProcgenOptions, ProcgenVecEnv

SIDE = 15


def display(*places, seed=0):
    """Amplitudes of three channels in some rectangles, and the rectangles."""
    generator = torch.Generator().manual_seed(seed)
    amplitudes, masks = torch.zeros(8, 3, SIDE, SIDE), []
    for rows, columns in places:
        mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        mask[slice(*rows), slice(*columns)] = True
        amplitudes[:, :, mask] = 0.2 + torch.rand(8, 3, int(mask.sum()), generator=generator)
        masks.append(mask)
    return amplitudes, masks


@pytest.mark.parametrize(
    "places",
    [
        [((2, 6), (1, 6)), ((8, 13), (8, 13))],
        [((1, 14), (1, 4)), ((1, 14), (9, 13))],
        [((0, 5), (0, 5)), ((0, 5), (10, 15)), ((10, 15), (5, 10))],
    ],
)
def test_units_of_one_object_fire_together_and_those_of_others_apart(places):
    amplitudes, objects = display(*places)
    waves = Synchrony(SIDE, SIDE)(amplitudes)
    within = torch.stack([coherence(waves, mask) for mask in objects])
    between = coherence(waves, torch.stack(objects).any(dim=0))
    assert (within.mean(dim=1) > between.mean() + 0.35).all()  # on the mean over displays of each object
    assert (within > between).all()
    before = torch.stack([coherence(Synchrony(SIDE, SIDE, 0)(amplitudes), mask) for mask in objects])
    assert (within.mean(dim=1) > before.mean(dim=1) + 0.3).all()


def test_phases_leave_amplitudes_as_they_are():
    amplitudes, _ = display(((2, 6), (1, 6)))
    waves = Synchrony(SIDE, SIDE)(amplitudes)
    assert torch.allclose(waves.square().sum(dim=1).sqrt(), amplitudes, atol=1e-5)
    assert torch.isfinite(Synchrony(SIDE, SIDE)(torch.zeros(1, 3, SIDE, SIDE))).all()  # without input


def test_coherence_of_known_waves():
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    same = torch.tensor([[[[[1.0, 2.0]]], [[[0.0, 0.0]]]]])
    opposed = torch.tensor([[[[[1.0, -1.0]]], [[[0.0, 0.0]]]]])
    assert coherence(same, everywhere).item() == pytest.approx(1)
    assert coherence(opposed, everywhere).item() == pytest.approx(0)


def test_what_couples_the_units_is_learned():
    amplitudes, (mask, _) = display(((2, 6), (1, 6)), ((8, 13), (8, 13)))
    synchrony = Synchrony(SIDE, SIDE)
    coherence(synchrony(amplitudes), mask).sum().backward()
    for parameter in synchrony.parameters():
        assert parameter.grad.abs().sum() > 0


def test_it_is_an_encoder_like_any_other():
    model = PPO(env=ColourGame(8), encoder="phase:64", n_steps=32, batch_size=64, device="cpu", seed=0)
    assert isinstance(model.policy.features_extractor, Phase)
    before = model.policy.features_extractor.backbone[2].near.clone()
    model.learn(8 * 32 * 2)
    assert not torch.equal(before, model.policy.features_extractor.backbone[2].near)


def test_it_works_in_a_recurrent_ppo():
    contrib = pytest.importorskip("sb3_contrib")
    env = VecTransposeImage(ProcgenVecEnv(ProcgenOptions("maze", num_levels=10), 4))
    model = contrib.RecurrentPPO(
        "CnnLstmPolicy",
        env,
        n_steps=16,
        batch_size=32,
        n_epochs=1,
        policy_kwargs={
            "features_extractor_class": Phase,
            "features_extractor_kwargs": {"features_dim": 32},
            "lstm_hidden_size": 16,
        },
        device="cpu",
        seed=0,
    )
    before = model.policy.features_extractor.backbone[2].near.clone()
    model.learn(128)
    assert not torch.equal(before, model.policy.features_extractor.backbone[2].near)
    observations = env.reset()
    actions, state = model.predict(observations)
    _, later = model.predict(observations, state=state)
    assert actions.shape == (4,)
    assert not np.array_equal(state[0], later[0])  # what it remembers goes on
    env.close()


def test_too_small_frames_are_a_clear_error():
    with pytest.raises(ValueError, match="too small"):
        Phase(spaces.Box(0, 255, (3, 20, 20), np.uint8))
