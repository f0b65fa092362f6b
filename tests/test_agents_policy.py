"""A policy over classes of actions: members are alike, and only the classes count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.agents import EncoderPolicy, load_policy, save_policy

LABELS = spaces.Box(0, 64, (64, 64), np.uint8)
CLASSES = ((0, 3), (1,), (2, 4, 5))


def policy_of(classes=CLASSES):
    torch.manual_seed(0)
    policy = EncoderPolicy(LABELS, spaces.Discrete(6), lambda _: 1e-3, "nature:16", False, action_classes=classes)
    with torch.no_grad():
        policy.action_net.weight.normal_(std=3)
    return policy


@pytest.fixture
def observations():
    return torch.randint(65, (7, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_members_share_the_probability_of_their_class(observations):
    policy = policy_of()
    with torch.no_grad():
        probabilities = policy.log_probabilities(observations).exp()
        logits = torch.nn.functional.linear(
            policy.mlp_extractor.forward_actor(policy.extract_features(observations)),
            policy.action_net.weight,
            policy.action_net.bias,
        )
    assert logits.shape == (7, 3)
    for members, of_class in zip(CLASSES, logits.softmax(dim=1).T, strict=True):
        for action in members:
            assert torch.allclose(probabilities[:, action], of_class / len(members), atol=1e-6)


def test_entropy_is_that_of_the_classes(observations):
    policy = policy_of()
    with torch.no_grad():
        probabilities = policy.log_probabilities(observations).exp()
        *_, entropies = policy.evaluate_actions(observations, torch.zeros(7, dtype=torch.int64))
    of_classes = torch.stack([probabilities[:, list(members)].sum(dim=1) for members in CLASSES], dim=1)
    assert torch.allclose(entropies, torch.special.entr(of_classes).sum(dim=1), atol=1e-5)
    assert float(entropies.max()) <= np.log(3) + 1e-6


def test_single_members_are_the_plain_policy(observations):
    single, plain = policy_of([(action,) for action in range(6)]), policy_of(None)
    actions = torch.arange(7) % 6
    with torch.no_grad():
        for ours, theirs in zip(
            single.evaluate_actions(observations, actions), plain.evaluate_actions(observations, actions), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_it_acts_saves_and_loads(observations, tmp_path):
    policy = policy_of()
    actions, *_ = policy(observations.repeat(40, 1, 1))
    assert set(actions.tolist()) <= set(range(6))
    save_policy(policy, tmp_path / "policy.safetensors", {})
    loaded, _ = load_policy(tmp_path / "policy.safetensors")
    assert loaded.action_classes == CLASSES
    loaded.mixed_precision = False
    with torch.no_grad():
        assert torch.equal(loaded.log_probabilities(observations), policy.log_probabilities(observations))
        restored = EncoderPolicy(**(policy._get_constructor_parameters() | {"lr_schedule": lambda _: 0.0}))
    assert restored.action_classes == CLASSES


@pytest.mark.parametrize("classes", [((0, 1), (1, 2, 3, 4, 5)), ((0, 1, 2),), ((0, 1, 2, 3, 4, 5), (6,))])
def test_classes_that_do_not_hold_every_action_once_are_refused(classes):
    with pytest.raises(ValueError, match="each of the 6 actions once"):
        policy_of(classes)
