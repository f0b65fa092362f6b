"""Networks that remember: what they carry from frame to frame, and that it is learned across time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecTransposeImage
from toy_games import COLOURS, ColourGame, ColourTeacher

pytest.importorskip("sb3_contrib")
from sb3_contrib import RecurrentPPO

from lcd.agents import TaughtVecEnv, TrainingDiverged
from lcd.agents.memory import MAPS, MemoryPolicy, RecurrentDAgger, RecurrentMap, build_network

pytestmark = pytest.mark.costly()

FRAMES = spaces.Box(0, 255, (3, 36, 36), np.uint8)
LABELS = spaces.Box(0, 64, (36, 36), np.uint8)
NAMES = ("none=small", "stacked=small", "lstm=small", "forgetful=phase+convolutional", *MAPS)
REMEMBER = ("lstm=small", *MAPS)
SETTINGS = {"n_steps": 16, "batch_size": 128, "n_epochs": 2, "learning_rate": 3e-3, "device": "cpu", "seed": 0}


class RecalledColourGame(ColourGame):
    """A colour that is shown in the first frame of an episode only, and is to be named in every step."""

    def _shown(self):
        observations = self._observe(self._colours)
        frames = observations["pixels"] if isinstance(observations, dict) else observations
        frames[self._elapsed > 0] = 40
        self.history[-1] = observations
        return observations

    def reset(self):
        super().reset()
        return self._shown()

    def step_wait(self):
        before = self._colours
        _, rewards, dones, infos = super().step_wait()
        self._colours = np.where(dones, self._colours, before)
        return self._shown(), rewards, dones, infos


def learned(network, learner):
    """Share of steps in which a trained agent names the colour."""
    taught = TaughtVecEnv(RecalledColourGame(16, "both")) if learner == "imitation" else RecalledColourGame(16)
    env, made = VecTransposeImage(taught), RecurrentDAgger if learner == "imitation" else RecurrentPPO
    given = {"teacher": ColourTeacher(0.999)} if learner == "imitation" else {"gamma": 0.5}
    model = made(MemoryPolicy, env, policy_kwargs={"network": network}, **SETTINGS, **given)
    model.learn(16 * 16 * (50 if learner == "imitation" else 60))
    played = VecMonitor(VecTransposeImage(RecalledColourGame(16)))
    return evaluate_policy(model, played, 64, deterministic=True)[0] / 5


@pytest.mark.parametrize("learner", ["imitation", "reward"])
@pytest.mark.parametrize("network", ["none=small", "forgetful=convolutional", *REMEMBER])
def test_what_was_shown_before_is_named_by_those_who_remember(network, learner):
    named = learned(network, learner)
    by_chance = (1 + 4 / COLOURS) / 5  # the first frame shows it
    if network in REMEMBER:
        assert named > (0.9 if learner == "imitation" else by_chance + 0.15)  # reward takes longer
    else:
        assert named < by_chance + 0.1


@pytest.mark.parametrize("network", NAMES)
@pytest.mark.parametrize("space", [FRAMES, LABELS])
def test_episodes_are_apart_and_sequences_may_be_cut(network, space):
    made = build_network(network, space)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand((6, 2, *space.shape), generator=generator)
    observations = numbers if space is FRAMES else (3 * numbers).byte().float()
    begins = torch.zeros(6, 2)
    begins[0], begins[3, 1] = 1, 1
    nothing = torch.zeros(2, made.state_size)
    with torch.no_grad():
        whole, state = made(observations, nothing, begins)
        first, between = made(observations[:4], nothing, begins[:4])
        second, after = made(observations[4:], between, begins[4:])
        assert torch.allclose(whole, torch.cat([first, second]), atol=1e-5)
        assert torch.allclose(state, after, atol=1e-5)
        alone, _ = made(observations[3:, 1:], torch.ones(1, made.state_size), torch.tensor([[1.0], [0], [0]]))
        assert torch.allclose(whole[3:, 1:], alone, atol=1e-5)
        if network in REMEMBER:
            other, _ = made(observations[1:2], nothing, torch.ones(1, 2))
            assert not torch.allclose(whole[1, 0], other[0, 0], atol=1e-4)


@pytest.mark.parametrize("network", NAMES)
def test_all_weights_learn_from_actions_and_values(network):
    model = RecurrentPPO(MemoryPolicy, VecTransposeImage(ColourGame(4)), policy_kwargs={"network": network}, **SETTINGS)
    before = {name: each.clone() for name, each in model.policy.named_parameters()}
    model.learn(4 * 16 * 2)
    unchanged = [name for name, each in model.policy.named_parameters() if torch.equal(before[name], each)]
    assert unchanged == []


def test_phases_are_unit_vectors_and_go_on_from_where_they_were():
    network = build_network("phase", FRAMES)
    assert isinstance(network, RecurrentMap)
    frames = torch.rand(1, 1, 3, 36, 36).expand(2, -1, -1, -1, -1)
    with torch.no_grad():
        _, once = network(frames[:1], torch.zeros(1, network.state_size), torch.ones(1, 1))
        _, twice = network(frames, torch.zeros(1, network.state_size), torch.tensor([[1.0], [0.0]]))
        _, again = network(frames[:1], once, torch.zeros(1, 1))
    phases = network.phases(twice)
    assert torch.allclose(phases.square().sum(dim=1), torch.ones(1, network.height, network.width), atol=1e-5)
    assert torch.allclose(twice, again, atol=1e-4)
    assert not torch.allclose(once, twice, atol=1e-3)


def test_networks_with_and_without_phases_are_of_a_size():
    space = spaces.Box(0, 255, (3, 64, 64), np.uint8)
    sizes = [sum(each.numel() for each in build_network(name, space).parameters()) for name in MAPS]
    assert max(sizes) < 1.1 * min(sizes)


@pytest.mark.parametrize(
    "name",
    ["", "nature", "gru=nature", "none", "none=natur", "phase=nature", "forgetful=nature", "none=nature@x.safetensors"],
)
def test_a_network_that_does_not_exist_is_one_sentence(name):
    with pytest.raises(ValueError, match=r"^[^\n]{20,250}\.$"):
        build_network(name, FRAMES)


def imitator(**others):
    env = VecTransposeImage(TaughtVecEnv(ColourGame(4, "both")))
    return env, RecurrentDAgger(MemoryPolicy, env, policy_kwargs={"network": "lstm=small"}, **(SETTINGS | others))


def test_an_imitator_is_saved_without_its_teacher_and_learns_on(tmp_path):
    class Unpicklable(ColourTeacher):
        def __reduce__(self):
            raise TypeError("a teacher was pickled")

    with pytest.raises(ValueError, match="mixing must be a share between 0 and 1, or a schedule of shares, not 'all'"):
        imitator(mixing="all")
    imitator(teacher=ColourTeacher(), mixing=0.5)[1].learn(64)
    env, model = imitator(teacher=Unpicklable(), mixing=half)
    model.learn(64)
    model.save(tmp_path / "model.zip")
    loaded = RecurrentDAgger.load(tmp_path / "model.zip", env=env, device="cpu")
    assert (loaded.teacher, loaded.mixing) == (None, half)
    for one, other in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="needs a teacher, and an environment in a TaughtVecEnv: pass teacher="):
        loaded.learn(64)
    loaded.teacher = Unpicklable()
    loaded.learn(64)
    given = RecurrentDAgger.load(tmp_path / "model.zip", env=env, teacher=Unpicklable(), device="cpu")
    given.learn(64)


def half(remaining):
    return 0.5


def test_an_imitator_does_not_learn_without_a_teacher_or_its_view():
    with pytest.raises(ValueError, match="needs a teacher, and an environment in a TaughtVecEnv"):
        imitator()[1].learn(64)
    model = RecurrentDAgger(MemoryPolicy, VecTransposeImage(ColourGame(4)), teacher=ColourTeacher(), **SETTINGS)
    with pytest.raises(ValueError, match="needs a teacher, and an environment in a TaughtVecEnv"):
        model.learn(64)


def test_a_teacher_that_is_a_module_labels_as_it_was_trained_to():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.modes = []

        def log_probabilities(self, observations):
            self.modes.append(self.training)
            return ColourTeacher().log_probabilities(observations)

    teacher = Module()
    model = imitator(teacher=teacher)[1]
    for _ in range(2):
        teacher.train()  # whatever else does with it between two rollouts
        model.learn(64, reset_num_timesteps=False)
    assert len(teacher.modes) == 2 * 16
    assert not any(teacher.modes)


@pytest.mark.parametrize("network", MAPS)
def test_a_state_of_zeros_blinds_no_network(network):
    """As Stable-Baselines3's `predict` begins, unless an episode is said to start."""
    made = build_network(network, FRAMES)
    frames = torch.rand(1, 3, 3, 36, 36, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shown, _ = made(frames, torch.zeros(3, made.state_size), torch.zeros(1, 3))
    assert len(torch.unique(shown[0], dim=0)) == 3
    policy = MemoryPolicy(FRAMES, spaces.Discrete(3), lambda _: 1e-3, network=network)
    logits = [policy.get_distribution(*started(policy, frame))[0].distribution.logits[0] for frame in frames[0]]
    assert len(torch.unique(torch.stack(logits), dim=0)) == 3


def started(policy, frame):
    nothing = (torch.zeros(policy.lstm_hidden_state_shape[0], 1, policy.lstm_actor.hidden_size),) * 2
    return 255 * frame[None], nothing, torch.zeros(1)


def test_a_policy_is_saved_with_the_name_of_its_network(tmp_path):
    policy = MemoryPolicy(FRAMES, spaces.Discrete(3), lambda _: 1e-3, network="lstm=small")
    policy.save(tmp_path / "policy.pt")
    loaded = MemoryPolicy.load(tmp_path / "policy.pt")
    assert loaded.network_name == "lstm=small"
    for name, each in policy.state_dict().items():
        assert torch.equal(each, loaded.state_dict()[name])


def test_an_imitator_that_diverges_stops_before_its_weights_change():
    _, model = imitator(teacher=ColourTeacher(), learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"Training diverged after \d+ steps"):
        model.learn(64 * 20)
    assert all(torch.isfinite(each).all() for each in model.policy.parameters())
