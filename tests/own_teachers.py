"""Teachers as users write them, in a module that worker processes can import: good ones and wrong ones."""

import numpy as np
import torch
from gymnasium import spaces

LABEL_OF_PLAYER, LABEL_OF_GOAL = 1, 2


class WalksToTheGoal:
    """Reads label maps of `own_games.Grid` and predicts the step towards the goal."""

    def predict(self, observations, state=None, *, deterministic=False):
        if observations.ndim != 3:
            raise ValueError("it reads label maps")
        actions = []
        for labels in observations:
            me, goal = (np.argwhere(labels == label) for label in (LABEL_OF_PLAYER, LABEL_OF_GOAL))
            down, right = goal.mean(axis=0) - me.mean(axis=0) if len(me) and len(goal) else (0, 0)
            actions.append((1 if down > 0 else 0) if abs(down) > abs(right) else (3 if right > 0 else 2))
        return np.array(actions), state


class GivesProbabilities:
    def log_probabilities(self, observations):
        return torch.full((len(observations), 4), 0.25)


class PredictsTooMuch:
    def predict(self, observations, state=None, *, deterministic=False):
        return np.full(len(observations), 4), state


class Remembers:
    def predict(self, observations, state=None, *, deterministic=False):
        return np.zeros(len(observations), int), np.ones(1)


class SeesLargerFrames:
    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def predict(self, observations, state=None, *, deterministic=False):
        return np.zeros(len(observations), int), state


class Stumbles:
    def log_probabilities(self, observations):
        if self.steps_of(observations) > 1:
            raise KeyError("no label there")
        return torch.full((len(observations), 4), 0.25).log()

    count = 0

    def steps_of(self, observations):
        self.count += 1
        return self.count


class Normalises(torch.nn.Module):
    """A network as its class makes it: in training mode, in which its labels depend on the batch and on chance."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = torch.nn.BatchNorm1d(16), torch.nn.Dropout(), torch.nn.Linear(16, 4)
            self.network = torch.nn.Sequential(*layers)

    def log_probabilities(self, observations):
        if observations.ndim != 3:
            raise ValueError("it reads label maps")
        return self.network(observations.flatten(1)[:, :16].float()).log_softmax(dim=1)


walks = WalksToTheGoal()
nobody = object()


def fails():
    raise OSError("no such weights")
