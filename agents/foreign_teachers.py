"""Teachers that were made elsewhere: policies of Stable-Baselines3, and any object that predicts actions."""

from __future__ import annotations

import errno
import math
import re
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import CnnPolicy as QCnnPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from lcd.agents.rollout import channels_last
from lcd.agents.teacher import Teacher
from lcd.io.limits import LARGEST_SIDE, MOST_ACTIONS, short
from lcd.io.untrusted import UnreadableFileError, check_file, in_short, parse_json, read_pickled
from lcd.io.untrusted.text import LARGEST_JSON

LARGEST = 2**30
"""Largest size of a model file, in bytes."""

MOST_NUMBERS = 2**22
"""Numbers of an observation: those of a picture of 1,024 x 1,024 pixels with four channels."""

OTHER_ACTIONS = 0.01
"""Probability that the labels of a teacher without probabilities leave to all actions but the one that it takes."""

_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    UnicodeDecodeError,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile raises of a damaged archive."""

_REMEDY = "save the model again, or give a function that loads it as module:function"


class Predictor(Protocol):
    """Anything that predicts actions, as Stable-Baselines3's models do."""

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """Actions for a batch of observations, and a state."""
        ...


def _certain(actions: torch.Tensor, number: int) -> torch.Tensor:
    """Log-probabilities of a policy that takes these actions, shape (batch, number), but for `OTHER_ACTIONS`."""
    labels = torch.full((len(actions), number), OTHER_ACTIONS / max(1, number - 1))
    labels[torch.arange(len(actions)), actions.long()] = 1.0 - OTHER_ACTIONS * (number > 1)
    return labels.log()


def as_given(images: torch.Tensor, space: Any) -> torch.Tensor:
    """Images of bytes as a teacher's observation space has them: with numbers from 0 to 1 where it ends at 1.

    Parameters
    ----------
    images : Tensor, shape (batch, ...)
        Observations of any kind; others than images are left as they are.
    space
        The teacher's observation space, if it has one.
    """
    is_image = isinstance(space, spaces.Box) and len(space.shape) == 3 and images.dtype == torch.uint8
    if is_image and np.issubdtype(space.dtype, np.floating) and float(space.high.max()) <= 1:
        return images.float() / 255
    return images


REMEMBERS = (
    "The teacher remembers, and what it remembers would belong to other games: train one without a recurrent network."
)


class PolicyTeacher(nn.Module):
    """A policy of Stable-Baselines3 as a teacher.

    An actor's labels are its action distribution; of action values they are the best action.

    Parameters
    ----------
    policy
        An actor-critic policy with discrete actions, or one of DQN.

    Raises
    ------
    ValueError
        If it is another one.
    """

    def __init__(self, policy: BasePolicy) -> None:
        super().__init__()
        if not isinstance(policy, ActorCriticPolicy | DQNPolicy) or not isinstance(
            policy.action_space, spaces.Discrete
        ):
            raise ValueError(
                f"A {type(policy).__name__} with the actions {short(policy.action_space)} is no teacher: "
                "actor-critic policies with discrete actions and those of DQN are."
            )
        if hasattr(policy, "lstm_actor"):
            raise ValueError(REMEMBERS)
        self.policy = policy
        self.observation_space, self.action_space = policy.observation_space, policy.action_space

    @torch.no_grad()
    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the actions, shape (batch, actions)."""
        observations = as_given(observations.to(self.policy.device), self.observation_space)
        if isinstance(self.policy, DQNPolicy):
            assert isinstance(self.action_space, spaces.Discrete)
            best = self.policy.q_net(observations).argmax(dim=1)
            return _certain(best.cpu(), int(self.action_space.n)).to(best.device)
        found: Any = self.policy.get_distribution(observations).distribution
        return found.logits


class PredictingTeacher:
    """An object with a method `predict` as a teacher.

    Parameters
    ----------
    predictor
        The object; it is given batches of observations as arrays, frames with their channels last, unless it has an
        `observation_space` whose channels come first. The state that it returns must be None.
    actions
        Number of actions.

    Attributes
    ----------
    observation_shape
        Of its observations, channels first, where its `observation_space` says so; else None.
    """

    def __init__(self, predictor: Predictor, actions: int) -> None:
        self._predictor, self._actions = predictor, actions
        self._shape = getattr(getattr(predictor, "observation_space", None), "shape", None)
        self.observation_shape = self._shape
        if self._shape is not None and len(self._shape) == 3 and self._shape[2] < min(self._shape[:2]):
            self.observation_shape = (self._shape[2], *self._shape[:2])

    def log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the actions, shape (batch, actions)."""
        given = observations if observations.shape[1:] == self._shape else channels_last(observations)
        given = as_given(given, getattr(self._predictor, "observation_space", None))
        found, state = self._predictor.predict(given.cpu().numpy(), deterministic=True)
        if state is not None:
            raise ValueError(REMEMBERS)
        predicted = np.asarray(found).reshape(-1)
        whole = np.issubdtype(predicted.dtype, np.integer) and len(predicted) == len(observations)
        if not whole or predicted.min() < 0 or predicted.max() >= self._actions:
            raise ValueError(
                f"The teacher predicts {short(predicted.tolist())} for {len(observations)} states in a game of "
                f"{self._actions} actions: predict must return a whole number from 0 to {self._actions - 1} for each."
            )
        return _certain(torch.from_numpy(predicted), self._actions).to(observations.device)


def as_teacher(given: Any, actions: int) -> Teacher:
    """An object as a teacher: one with `log_probabilities` or `predict`, or a model or policy of Stable-Baselines3.

    Parameters
    ----------
    given
        The object.
    actions
        Number of the game's actions.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    policy: Any = given.policy if isinstance(given, BaseAlgorithm) else given
    for teacher in (given, policy):
        if callable(getattr(teacher, "log_probabilities", None)):
            return teacher
    if isinstance(policy, ActorCriticPolicy | DQNPolicy):
        return PolicyTeacher(policy)
    if callable(getattr(given, "predict", None)):
        return PredictingTeacher(given, actions)
    raise ValueError(
        f"An object of {type(given).__name__} is no teacher: it needs a method log_probabilities or predict, as the "
        "models of Stable-Baselines3 have."
    )


def is_model_file(path: Path) -> bool:
    """Whether a file is a model of Stable-Baselines3, by its name."""
    return path.suffix == ".zip"


def load_model(path: Path) -> PolicyTeacher:
    """Read the policy of a Stable-Baselines3 model with the usual networks, without running code from its file.

    The weights load without pickle, and the network is built from the shapes that the file names in plain text, so that
    a file of somebody else's does no harm.

    Parameters
    ----------
    path
        What ``model.save`` of PPO, A2C or DQN wrote.

    Raises
    ------
    ValueError
        If it is none, or its networks are not the usual ones.
    """
    size = check_file(path, LARGEST, what="model file", remedy=_REMEDY)
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = {info.filename: info for info in archive.infolist()}
            for name, most in (("data", LARGEST_JSON), ("policy.pth", LARGEST)):
                if name not in members or members[name].file_size > most:
                    raise UnreadableFileError(f"{path} is no model of Stable-Baselines3: {_REMEDY}.")
                if members[name].compress_type != zipfile.ZIP_STORED or members[name].file_size > size:
                    raise UnreadableFileError(f"{path} is packed, as models of Stable-Baselines3 never are: {_REMEDY}.")
            data = parse_json(archive.read("data").decode(), str(path), remedy=_REMEDY)
            weights_file = Path(folder) / "policy.pth"
            weights_file.write_bytes(archive.read("policy.pth"))
            weights = read_pickled(weights_file, LARGEST, remedy=_REMEDY)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # where it is unpacked
            raise
        raise UnreadableFileError(f"{path} cannot be read ({in_short(error)}): {_REMEDY}.") from None
    _check_actions(data, path)
    try:
        policy = _built(data, weights)
    except (KeyError, TypeError, AttributeError, ValueError, AssertionError, RuntimeError, MemoryError) as error:
        raise ValueError(
            f"The networks of {path} are not the usual ones of Stable-Baselines3 ({in_short(error)}): give a function "
            "that loads the model as module:function."
        ) from None
    policy.set_training_mode(False)
    return PolicyTeacher(policy)


def _check_actions(data: Any, path: Path) -> None:
    """Check that a model acts by choosing one of several actions.

    Raises
    ------
    ValueError
        If it acts otherwise.
    """
    space = data.get("action_space") if isinstance(data, dict) else None
    kind = space.get(":type:") if isinstance(space, dict) else None
    named = re.fullmatch(r"<class '[\w.]*\.(\w+)'>", kind) if isinstance(kind, str) and len(kind) < 200 else None
    if named is not None and named[1] != "Discrete":
        raise ValueError(
            f"{path} acts with {named[1]} actions, and a teacher chooses one of several (Discrete): train it with "
            "lcd.envs.NumberedActions around the game, which numbers its actions."
        )


def _built(data: Any, weights: Mapping[str, torch.Tensor]) -> BasePolicy:
    """The policy that a model's file describes, with its weights."""
    if others := sorted(set(data.get("policy_kwargs") or {}) - _HARMLESS):
        raise ValueError(f"policy_kwargs {short(others[0])}")
    shape = _whole_numbers(data["observation_space"]["_shape"], LARGEST_SIDE)
    (actions,) = _whole_numbers([int(data["action_space"]["n"])], MOST_ACTIONS)
    kind = data["observation_space"]["dtype"]
    if len(shape) not in (1, 3) or math.prod(shape) > MOST_NUMBERS or kind not in ("uint8", "float32"):
        raise ValueError(f"observations of shape {shape} and type {kind}")
    frames = len(shape) == 3
    space = spaces.Box(0, 255, shape, np.uint8) if frames else spaces.Box(-np.inf, np.inf, shape, np.float32)
    known: dict[tuple[bool, bool], type[BasePolicy]] = {
        (False, True): ActorCriticCnnPolicy,
        (False, False): ActorCriticPolicy,
        (True, True): QCnnPolicy,
        (True, False): DQNPolicy,
    }
    is_q = "q_net.q_net.0.weight" in weights
    if frames:
        inputs, first = _flattened(shape), f"{'q_net.' * is_q}features_extractor.linear.0.weight"
    else:
        inputs, first = shape[0], "q_net.q_net.0.weight" if is_q else "mlp_extractor.policy_net.0.weight"
    if weights[first].shape[1] != inputs:  # before anything is built: a network of these sizes is as large as the file
        raise ValueError(f"{first} of {weights[first].shape[1]} inputs instead of {inputs}")
    made: Any = known[is_q, frames]
    with torch.random.fork_rng(devices=[]):
        policy: BasePolicy = made(space, spaces.Discrete(actions), _no_rate)
    policy.load_state_dict(weights)
    return policy


_HARMLESS = {":type:", ":serialized:", "optimizer_class", "optimizer_kwargs"}
"""Arguments of a policy that do not change its networks, and what Stable-Baselines3 writes beside them."""


def _flattened(shape: tuple[int, ...]) -> int:
    """Numbers after the convolutions of Stable-Baselines3's NatureCNN, from the shape of a frame, channels first."""
    sides = list(shape[1:])
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [(side - kernel) // stride + 1 for side in sides]
    return 64 * math.prod(sides)


def _no_rate(left: float) -> float:
    return 0.0


def _whole_numbers(numbers: Any, most: int) -> tuple[int, ...]:
    """Sizes, as in ``[4, 84, 84]``."""
    if not isinstance(numbers, list) or not all(type(each) is int and 0 < each <= most for each in numbers):
        raise ValueError(f"sizes {short(numbers)}")
    return tuple(numbers)
