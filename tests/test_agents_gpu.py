"""What learners do on a GPU, done on a CPU: the same rollouts, steps and probabilities; and what is recorded when."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn
from toy_games import ColourGame, ColourTeacher

from lcd.agents import PPO, DAgger, EncoderPolicy, Nature, TaughtVecEnv, TrainingDiverged
from lcd.agents.acting import ActionProbabilities, acts_recorded, drawn
from lcd.agents.deferred import can_skip
from lcd.agents.imitation import LABELLED_AT_ONCE, LABELLED_AT_ONCE_ON_GPU, labelled_at_once
from lcd.agents.recorded import MOST_CHANGES, MOST_SHAPES, Recorded, is_recordable
from lcd.agents.rollout import ByteRolloutBuffer
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.experiments.harmonized import HarmonizedDAgger, HarmonizedPPO
from lcd.teachers.encoders.floodfill import MazeFloodfill

SETTINGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "device": "cpu", "seed": 0}


class Replayed:
    """Stands in for a CUDA graph: computes anew from the memory that it holds, into the memory that it gave."""

    def __init__(self, function, tensors):
        self.function = function
        self.held = [tensor.clone() for tensor in tensors]
        with torch.random.fork_rng():  # what a CUDA graph's warm-ups draw is nobody's business here
            self.outputs = function(*self.held)
        self.replays = 0

    def __call__(self, *tensors):
        self.replays += 1
        for place, tensor in zip(self.held, tensors, strict=True):
            place.copy_(tensor)
        for place, result in zip(self.outputs, self.function(*self.held), strict=True):
            place.copy_(result)
        return self.outputs


class _OnGPU:
    acts_on_gpu = True
    reads_once_an_epoch = True

    def recorded_here(self):
        self.actor.drawing._recorder = self.recorded_gradient.computing._recorder = Replayed
        return self


class GPUPPO(_OnGPU, PPO):
    pass


class GPUDAgger(_OnGPU, DAgger):
    pass


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


@pytest.fixture
def same_draws(monkeypatch):
    """Actions as on a CPU, so that both see the same states."""
    monkeypatch.setattr("lcd.agents.acting.drawn", lambda logs: torch.multinomial(logs.exp(), 1).squeeze(1))


@pytest.fixture
def read_at_the_end(monkeypatch):
    monkeypatch.setattr(ByteRolloutBuffer, "reads_at_the_end", True)


class Names(BaseCallback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        self.seen.append({name for name in self.locals if not name.startswith("__")})
        return True


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_a_rollout_is_that_of_stable_baselines3(view, truncates, same_draws, read_at_the_end):
    names = [Names(), Names()]
    models = [
        kind(env=ColourGame(4, view, truncates=truncates), **SETTINGS).learn(2 * 16 * 4, callback=callback)
        for kind, callback in zip((PPO, GPUPPO), names, strict=True)
    ]
    theirs, ours = (model.rollout_buffer for model in models)
    for column in ("actions", "rewards", "episode_starts", "values", "log_probs", "advantages", "returns"):
        assert np.array_equal(getattr(theirs, column), getattr(ours, column)), column
    assert torch.equal(theirs._frames, ours._frames)
    assert len(models[0].ep_info_buffer) == len(models[1].ep_info_buffer)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert set.union(*names[0].seen) <= set.union(*names[1].seen) | {"idx", "done", "terminal_obs", "terminal_value"}


def test_a_callback_ends_the_training():
    class Ends(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 12

    model = GPUPPO(env=ColourGame(4), **SETTINGS).learn(64, callback=Ends())
    assert model.num_timesteps == 12


@pytest.mark.parametrize("view", ["pixels", "semantic"])
@pytest.mark.parametrize("kind", [GPUPPO, GPUDAgger])
def test_what_is_replayed_learns_what_is_computed_step_by_step(kind, view, same_draws, read_at_the_end):
    moved = []
    for one in (kind.__mro__[2], kind):
        game = ColourGame(4, view)
        extra = {"env": TaughtVecEnv(game), "teacher": ColourTeacher()} if issubclass(kind, DAgger) else {"env": game}
        model = one(**extra, **SETTINGS)
        if one is kind:
            model.recorded_here()
        model.learn(3 * 16 * 4)
        moved.append(weights(model))
    assert torch.equal(*moved)
    for recorded in (model.actor.drawing, model.recorded_gradient.computing):
        assert (recorded.recordings, recorded.refused) == (1, "")


@pytest.mark.parametrize("kind", [GPUPPO, GPUDAgger])
def test_steps_whose_numbers_are_read_once_an_epoch_move_the_same_weights(kind, same_draws):
    moved = []
    for one in (kind.__mro__[2], kind):
        extra = {"teacher": ColourTeacher(), "memory": 1} if issubclass(kind, DAgger) else {}
        env = TaughtVecEnv(ColourGame(4)) if extra else ColourGame(4)
        model = one(env=env, **extra, **SETTINGS)
        if one is kind:
            model.recorded_gradient.computing._recorder = Replayed
        model.learn(3 * 16 * 4)
        moved.append((weights(model), dict(model.logger.name_to_value), model._n_updates))
    assert torch.equal(moved[0][0], moved[1][0])
    assert {name: value for name, value in moved[0][1].items() if name.startswith("train/")} == {
        name: value for name, value in moved[1][1].items() if name.startswith("train/")
    }
    assert moved[0][2] == moved[1][2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_leaves_the_weights_of_before(bad, monkeypatch):
    model = GPUPPO(env=ColourGame(4), **SETTINGS)
    before = []
    loss, count = model.minibatch_loss, iter(range(100))

    def spoilt(batch, clip_range):
        value, statistics = loss(batch, clip_range)
        if next(count) == 2:
            before.append(weights(model).clone())
            return value * bad, statistics | {"loss": value.detach() * bad}
        return value, statistics

    monkeypatch.setattr(model, "minibatch_loss", spoilt)
    start = weights(model).clone()
    with pytest.raises(TrainingDiverged, match=r"Training diverged after 64 steps: loss is (nan|-?inf)"):
        model.learn(64)
    assert next(count) > 3, "the steps after the bad one must have been asked for, and skipped"
    assert not torch.equal(before[0], start)
    assert torch.equal(weights(model), before[0])
    assert not hasattr(model.policy.optimizer, "found_inf")


def test_only_fused_adam_skips_steps():
    parameter = [nn.Parameter(torch.zeros(1))]
    assert can_skip(torch.optim.Adam(parameter, fused=True))
    assert not can_skip(torch.optim.Adam(parameter))
    assert not can_skip(torch.optim.SGD(parameter, lr=0.1))


@pytest.mark.parametrize("settings", [{"target_kl": 0.01}, {"policy_kwargs": {"optimizer_class": torch.optim.SGD}}])
def test_where_a_step_depends_on_the_last_ones_numbers_each_is_read(settings):
    model = PPO(env=ColourGame(4), **(SETTINGS | settings))
    model.device = torch.device("cuda")
    assert not model.reads_once_an_epoch
    plain = PPO(env=ColourGame(4), **SETTINGS)
    assert not plain.reads_once_an_epoch
    assert not plain.acts_on_gpu
    plain.device = torch.device("cuda")
    assert plain.reads_once_an_epoch
    assert plain.acts_on_gpu


def test_actions_are_drawn_with_their_probabilities():
    torch.manual_seed(0)
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0])
    actions = drawn(probabilities.log().expand(40_000, 4))
    shares = actions.bincount(minlength=4) / len(actions)
    assert torch.allclose(shares, probabilities, atol=0.01)
    assert shares[3] == 0


@pytest.mark.parametrize("first", [True, False])
def test_probabilities_of_all_games_are_the_policys(first):
    model = PPO(env=ColourGame(4), **SETTINGS)
    observations = np.moveaxis(ColourGame(4).reset(), -1, 1)
    probabilities = ActionProbabilities(model.policy)
    for factor in (1.0, 4.0):
        found = probabilities(observations if first else np.moveaxis(observations, 1, -1), factor)
        with torch.no_grad():
            logits = model.policy.get_distribution(torch.as_tensor(observations)).distribution.logits
        assert torch.allclose(found, torch.softmax(logits * factor, dim=1), atol=1e-5)


def test_a_recording_gives_new_results_for_new_numbers():
    recorded = Recorded(lambda a, b: (a + b, a * b), Replayed)
    for value in (1.0, 2.0, 5.0):
        total, product = recorded(torch.full((3,), value), torch.full((3,), 2.0))
        assert total.tolist() == [value + 2] * 3
        assert product.tolist() == [2 * value] * 3
    assert recorded.recordings == 1


def test_each_shape_is_recorded_and_only_so_many():
    recorded = Recorded(lambda a: (a * 2,), Replayed)
    for size in range(1, MOST_SHAPES + 3):
        for _ in range(2):
            assert recorded(torch.ones(size))[0].tolist() == [2] * size
    assert recorded.recordings == MOST_SHAPES


def test_with_other_constants_a_function_is_recorded_anew_until_they_change_too_often():
    factor = {"now": 0}
    recorded = Recorded(lambda a: (a * factor["now"],), Replayed)
    for number in range(MOST_CHANGES + 3):
        factor["now"] = number
        for _ in range(2):
            assert recorded(torch.ones(3), constants=number)[0].tolist() == [number] * 3
        assert recorded.recordings == (number <= MOST_CHANGES)
    assert "goes on changing" in recorded.refused


def test_what_cannot_be_recorded_is_computed_and_not_tried_again():
    tries = []

    def fails(function, tensors):
        tries.append(1)
        raise RuntimeError("called a synchronizing CUDA operation")

    recorded = Recorded(lambda a: (a + 1,), fails)
    assert [recorded(torch.zeros(1))[0].item() for _ in range(3)] == [1, 1, 1]
    assert tries == [1]
    assert recorded.refused == "called a synchronizing CUDA operation"


def test_memory_that_runs_out_while_recording_is_no_reason_to_go_on():
    def exhausted(function, tensors):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Recorded(lambda a: (a,), exhausted)(torch.zeros(1))


def test_on_a_cpu_nothing_is_recorded():
    recorded = Recorded(lambda a: (a,))
    recorded(torch.zeros(1))
    assert recorded.recordings == 0


def test_weights_that_move_elsewhere_are_recorded_anew(read_at_the_end):
    model = GPUPPO(env=ColourGame(4), **SETTINGS).recorded_here()
    model.learn(64)
    both = model.actor.drawing, model.recorded_gradient.computing
    recorders = [next(iter(each._recordings.values())) for each in both]
    for parameter in model.policy.parameters():
        parameter.data = parameter.data.clone()
    model.learn(64)
    assert recorders[0] is not model.actor.drawing._recordings.popitem()[1]
    assert recorders[1] is not model.recorded_gradient.computing._recordings.popitem()[1]


def test_only_losses_and_encoders_that_are_known_are_recorded():
    class Changed(PPO):
        def minibatch_loss(self, batch, clip_range):
            return super().minibatch_loss(batch, clip_range)

    assert is_recordable(PPO.minibatch_loss)
    assert is_recordable(DAgger.minibatch_loss)
    for kind in (Changed, HarmonizedPPO, HarmonizedDAgger):
        assert not is_recordable(kind.minibatch_loss)
    plain = PPO(env=ColourGame(4), **SETTINGS)
    assert acts_recorded(plain.policy)
    assert not plain.recorded_gradient.computing.refused
    assert Changed(env=ColourGame(4), **SETTINGS).recorded_gradient.computing.refused
    own = PPO(env=ColourGame(4), encoder=nn.Sequential(nn.Flatten(), nn.LazyLinear(8)), **SETTINGS)
    assert not acts_recorded(own.policy)
    assert not MazeFloodfill.same_operations


def test_a_minibatch_passes_a_gpu_whole():
    model = PPO(env=ColourGame(4), **SETTINGS)
    assert model.part_size == Nature.images_at_once == 2048
    assert Nature.images_at_once_on_gpu >= 4096


def test_labels_are_made_thousands_at_a_time_on_a_gpu():
    env = ProcgenVecEnv(ProcgenOptions("maze"), 1, "semantic")
    cuda = torch.device("cuda")
    for encoder in ("floodfill-maze:15,8,1", "nature:256", "egocentric:256"):
        teacher = EncoderPolicy(env.observation_space, env.action_space, lambda _: 0.0, encoder)
        assert labelled_at_once(teacher, torch.device("cpu")) == LABELLED_AT_ONCE == 256
        assert labelled_at_once(teacher, cuda) == LABELLED_AT_ONCE_ON_GPU == 4096
    assert labelled_at_once(ColourTeacher(), cuda) == LABELLED_AT_ONCE


def test_a_learner_with_recordings_is_saved(tmp_path):
    model = GPUPPO(env=ColourGame(4), **SETTINGS).recorded_here().learn(64)
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=ColourGame(4))
    assert torch.equal(weights(loaded), weights(model))
    loaded.learn(64)
