"""Privileged-feature encoders by flood fill: arrival times, and play by their features alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from lcd.agents import EncoderPolicy
from lcd.agents.encoders.registry import parse_encoder
from lcd.envs import ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.actions import HEADINGS
from lcd.envs.procgen.heading import NO_MOVE
from lcd.envs.procgen.routes import distances_to
from lcd.teachers.encoders.floodfill import FLOOD_STEPS_PER_CELL, NEIGHBOURS, arrival_times, steps_between_looks

LABELS = spaces.Box(0, 64, (64, 64), np.uint8)


@pytest.mark.parametrize("looks", [1, 8])
def test_arrival_times_are_shortest_path_lengths(looks, monkeypatch):
    monkeypatch.setattr("lcd.teachers.encoders.floodfill.steps_between_looks", lambda device: looks)
    random = np.random.default_rng(0)
    free = random.random((40, 9, 9)) < 0.7
    goals = random.random((40, 9, 9)) < 0.05
    rows, columns = random.integers(9, size=(2, 40))
    found = arrival_times(*map(torch.from_numpy, (goals, free, rows, columns)))
    never = FLOOD_STEPS_PER_CELL * 9
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        distances = distances_to(goals[number], free[number])
        distances[np.isinf(distances)] = never
        around = np.pad(distances, 1, constant_values=never)
        expected = [around[row + 1 + up, column + 1 + right] for up, right in ((0, 0), *NEIGHBOURS)]
        assert found[number].tolist() == expected


def test_a_flood_looks_at_every_step_on_a_cpu_and_seldom_where_looking_is_waiting():
    assert steps_between_looks(torch.device("cpu")) == 1
    assert steps_between_looks(torch.device("cuda")) == 8


def test_following_the_flood_features_solves_every_maze():
    encoder = parse_encoder("floodfill-maze:15")[0](LABELS, cells=15)
    batch = ProcgenBatch(ProcgenOptions("maze", num_levels=100), 16, "semantic", seed=5)
    pushes = np.array([HEADINGS[right, -down] for down, right in NEIGHBOURS])
    returns, playing = np.zeros(16), np.ones(16, bool)
    for _ in range(120):
        with torch.no_grad():
            images = encoder.images(torch.from_numpy(np.asarray(batch.observe())))
            nearer = encoder.network[0].flood(images)[:, :4].numpy()
        actions = np.where(nearer.any(axis=1), pushes[nearer.argmax(axis=1)], NO_MOVE)
        step = batch.step(np.where(playing, actions, NO_MOVE).astype(np.int32))
        returns[playing] += step.rewards[playing]
        playing &= ~(step.terminated | step.truncated)
    batch.close()
    assert returns.tolist() == [10] * 16


@pytest.mark.parametrize("name", ["floodfill-maze:15,8,4", "floodfill-chaser:11", "floodfill-heist"])
def test_policies_have_gradients_through_it(name):
    policy = EncoderPolicy(LABELS, spaces.Discrete(15), lambda _: 0.0, name)
    labels = torch.randint(0, 65, (3, 64, 64), dtype=torch.uint8)
    log_probabilities = policy.log_probabilities(labels)
    assert torch.allclose(log_probabilities.exp().sum(dim=1), torch.ones(3), atol=1e-5)
    log_probabilities[:, 0].sum().backward()
    assert policy.features_extractor.network[1].weight.grad.abs().sum() > 0


@pytest.mark.costly()
def test_following_the_flood_features_solves_every_heist():
    extractor = parse_encoder("floodfill-heist")[0](LABELS).network[0]
    batch = ProcgenBatch(ProcgenOptions("heist", num_levels=100), 24, "semantic", seed=5)
    returns, playing = np.zeros(24), np.ones(24, bool)
    for _ in range(150):
        features = extractor(torch.from_numpy(np.array(batch.observe()))).numpy()
        actions = [towards_the_goal(values) for values in features]
        step = batch.step(np.where(playing, actions, NO_MOVE).astype(np.int32))
        returns[playing] += step.rewards[playing]
        playing &= ~(step.terminated | step.truncated)
    batch.close()
    assert returns.tolist() == [10] * 24


def towards_the_goal(features):
    """The action towards the next cell and the corridor's centre line, or towards the centre of its own cell."""
    up, right = (0 if abs(place) < 0.1 else -int(np.sign(place)) for place in (-features[4], features[5]))
    if features[:4].any():
        down, aside = NEIGHBOURS[features[:4].argmax()]
        up, right = -down or up, aside or right
    return HEADINGS[right, up]
