"""Online DAgger: labels belong to their states, the student comes to agree, and files do not hold the teacher."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
import torch
from further import assert_same_state
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize, VecTransposeImage
from toy_games import COLOURS, ColourGame, ColourTeacher, colour_of_frame

from lcd.agents import PPO, DAgger, EncoderPolicy, TaughtVecEnv, evaluate
from lcd.agents.imitation import mixed_actions
from lcd.envs import ProcgenOptions, ProcgenVecEnv

pytestmark = pytest.mark.costly()


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dagger(env, teacher, **kwargs):
    defaults = {"n_steps": 16, "batch_size": 16, "n_epochs": 3, "device": "cpu", "seed": 0, "learning_rate": 2e-3}
    return DAgger(env=env, teacher=teacher, **(defaults | kwargs))


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
def test_the_student_comes_to_agree_with_its_teacher(view, tmp_path):
    game = ColourGame(8, view)
    model = dagger(VecNormalize(VecMonitor(TaughtVecEnv(game)), norm_obs=False), ColourTeacher(), learning_rate=2e-4)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(10 * 8 * 16)
    table = pd.read_csv(tmp_path / "progress.csv")
    agreement, loss = table["train/agreement"].dropna(), table["train/imitation_loss"].dropna()
    assert agreement.iloc[0] < 0.7
    assert agreement.iloc[-1] > 0.97
    assert loss.iloc[-1] < 0.1 * loss.iloc[0]
    earned = [episode["r"] for episode in model.ep_info_buffer]
    assert np.mean(earned[-8:]) > 4  # of 5: what it learned is the game
    assert game.num_envs * len(game.played) == model.num_timesteps  # no step beyond PPO's budget


@pytest.mark.parametrize("memory", [0, 1, 4])
@pytest.mark.parametrize("view", ["pixels", "both"])
def test_earlier_rollouts_aggregate_with_their_labels_for_no_further_gradient_steps(view, memory):
    teacher = ColourTeacher()
    model = dagger(TaughtVecEnv(ColourGame(3, view)), teacher, n_epochs=2, memory=memory)
    batches = []
    loss = model.minibatch_loss
    model.minibatch_loss = lambda batch, clip_range: batches.append(batch) or loss(batch, clip_range)
    model.learn(4 * 16 * 3)
    assert [len(batch.observations) for batch in batches] == [16] * (4 * 2 * 3)
    shown = []
    for batch in batches:
        assert torch.equal(batch.teacher_log_probabilities, teacher.log_probabilities(batch.observations))
        shown += [tuple(frame[:, 0, 0].tolist()) for frame in batch.observations]  # a pixel that tells frames apart
    first, last = set(shown[: 16 * 3]), set(shown[-2 * 16 * 3 :])
    assert bool(first & last) == (memory == 4)  # the first of four rollouts is three rollouts ago in the last
    with pytest.raises(ValueError, match="memory, a number of earlier rollouts, must be at least 0, not -1"):
        dagger(TaughtVecEnv(ColourGame(3, view)), teacher, memory=-1)


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
def test_labels_belong_to_the_states_they_are_learned_with(view):
    teacher = ColourTeacher()
    model = dagger(TaughtVecEnv(ColourGame(3, view, lengths=[2, 3, 16])), teacher, n_epochs=1)
    batches = []
    loss = model.minibatch_loss
    model.minibatch_loss = lambda batch, clip_range: batches.append(batch) or loss(batch, clip_range)
    model.learn(3 * 16 * 3)
    assert sum(len(batch.observations) for batch in batches) == 3 * 16 * 3
    for batch in batches:
        observations = batch.observations
        colours = observations[:, 5, 5].long() - 1 if view == "semantic" else colour_of_frame(observations)
        assert torch.equal(batch.teacher_log_probabilities.argmax(dim=1), colours)
        assert torch.allclose(batch.teacher_log_probabilities.exp().sum(dim=1), torch.ones(len(observations)))


def test_what_only_ppo_uses_changes_nothing_of_what_is_learned_from_labels():
    def weights(**settings):
        env = VecNormalize(TaughtVecEnv(ColourGame(3)), norm_obs=False, gamma=settings.get("gamma", 0.99))
        return dagger(env, ColourTeacher(), **settings).learn(4 * 16 * 3).policy.state_dict()

    assert_same_state(weights(), weights(gamma=0.5, gae_lambda=0.3, clip_range=0.05, ent_coef=0.5))


def test_a_teacher_that_is_a_module_comes_to_where_the_student_learns():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.moved = []

        def to(self, device):
            self.moved.append(device)
            return super().to(device)

        def log_probabilities(self, observations):
            assert self.moved, "asked before it was moved"
            return ColourTeacher().log_probabilities(observations)

    teacher = Module()
    model = dagger(TaughtVecEnv(ColourGame(3, "both")), teacher).learn(48)
    assert set(teacher.moved) == {model.device}


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("kind", "known"), [(object, False), (torch.nn.Module, False), (EncoderPolicy, True)])
def test_threads_share_the_labelling_of_a_teacher_that_keeps_nothing_of_it(monkeypatch, kind, known):
    class Asked(kind):
        def log_probabilities(self, observations):
            assert not torch.is_grad_enabled()
            askers.add(threading.get_ident())
            return ColourTeacher().log_probabilities(observations)

    monkeypatch.setattr("lcd.agents.imitation.LABELLED_AT_ONCE", 5)
    game, askers = ColourGame(3, "both"), set()
    space = game.observation_space["semantic"]
    teacher = Asked(space, game.action_space, lambda _: 0.0) if kind is EncoderPolicy else Asked()
    model = dagger(TaughtVecEnv(game), teacher).learn(48)
    assert (threading.get_ident() in askers) != known
    labels = model.rollout_buffer.label(teacher)
    everything = model.rollout_buffer.teacher_observations(torch.arange(len(labels)))
    assert torch.equal(labels, ColourTeacher().log_probabilities(everything))


def test_student_and_teacher_get_their_own_view_only():
    teacher = ColourTeacher()
    env = TaughtVecEnv(ColourGame(3, "both"))
    model = dagger(env, teacher).learn(48)
    assert teacher.shapes == {(36, 36)}
    assert model.observation_space.shape == (3, 36, 36)
    assert env.observation_space.shape == (36, 36, 3)
    model = dagger(TaughtVecEnv(ColourGame(3, "both"), "semantic", "pixels"), teacher).learn(48)
    assert teacher.shapes == {(36, 36), (3, 36, 36)}
    assert model.observation_space.shape == (36, 36)


def test_last_observations_are_the_students_view():
    env = TaughtVecEnv(ColourGame(2, "both", lengths=[2, 3], truncates=True))
    env.reset()
    finals = [info["terminal_observation"] for _ in range(6) for info in env.step([0, 0])[3] if len(info) > 1]
    assert [final.shape for final in finals] == [(36, 36, 3)] * 5
    dagger(TaughtVecEnv(ColourGame(2, "both", lengths=[2, 3], truncates=True)), ColourTeacher()).learn(32)


@pytest.mark.parametrize(("mixing", "share"), [(1.0, 1.0), (0.0, 1 / COLOURS), (lambda left: left, 0.66)])
def test_mixing_is_the_share_of_steps_in_which_the_teacher_acts(mixing, share):
    game = ColourGame(32, "semantic")
    dagger(TaughtVecEnv(game), ColourTeacher(1.0), mixing=mixing, learning_rate=0.0, n_steps=8).learn(32 * 8 * 8)
    colours = [observation[:, 0, 0].astype(int) - 1 for observation in game.history]
    right = np.array([np.mean(played == shown) for played, shown in zip(game.played, colours, strict=False)])
    # the untrained student is right once in four; the schedule goes from 1 at the start to 1/8 in the last rollout
    assert right.mean() == pytest.approx(share, abs=0.04)
    if callable(mixing):
        assert right[:8].mean() == 1.0
        assert right[-8:].mean() == pytest.approx(1 / 8 + 7 / 8 / COLOURS, abs=0.1)


def test_mixed_actions_are_the_students_and_the_teachers():
    colours = torch.arange(4000) % COLOURS
    labels = torch.nn.functional.one_hot(colours, COLOURS).float().log()  # the teacher is certain
    students = np.full(4000, 9)
    for share in (0.0, 0.3, 1.0):
        taken, experts = mixed_actions(students, labels, share)
        assert np.array_equal(experts, colours.numpy())
        assert np.array_equal(taken, np.where(taken == 9, students, experts))
        assert np.mean(taken != 9) == pytest.approx(share, abs=0.03 * (0 < share < 1))


def test_a_loaded_student_may_get_another_mixing(tmp_path):
    env = TaughtVecEnv(ColourGame(2))
    dagger(env, ColourTeacher()).save(tmp_path / "student.zip")
    again = DAgger.load(tmp_path / "student.zip", env=env, teacher=ColourTeacher(), mixing=0.3, device="cpu")
    assert again.learn(8).mixing(0.5) == 0.3


def test_it_trains_no_policy_that_has_no_log_probabilities():
    with pytest.raises(
        ValueError, match="DAgger trains an EncoderPolicy, not a ActorCriticCnnPolicy: leave policy out"
    ):
        dagger(TaughtVecEnv(ColourGame(2)), ColourTeacher(), policy=ActorCriticCnnPolicy)


@pytest.mark.parametrize("mixing", [-0.1, 1.5, float("nan")])
def test_mixing_must_be_a_probability(mixing):
    with pytest.raises(ValueError, match="between 0 and 1"):
        dagger(TaughtVecEnv(ColourGame(2)), ColourTeacher(), mixing=mixing).learn(8)


def test_it_does_not_run_without_a_teacher_or_its_view():
    with pytest.raises(ValueError, match="needs a teacher"):
        dagger(TaughtVecEnv(ColourGame(2)), None).learn(8)
    with pytest.raises(ValueError, match="needs a teacher"):
        dagger(ColourGame(2), ColourTeacher()).learn(8)
    with pytest.raises(ValueError, match="no view 'sound'"):
        TaughtVecEnv(ColourGame(2, "both"), teacher_view="sound")


def test_the_teacher_is_not_in_the_saved_file(tmp_path):
    class Unpicklable(ColourTeacher):
        def __reduce__(self):
            raise TypeError("a teacher was pickled")

    teacher = Unpicklable()
    model = dagger(TaughtVecEnv(ColourGame(2)), teacher).learn(32)
    model.save(tmp_path / "student")
    loaded = DAgger.load(tmp_path / "student", env=TaughtVecEnv(ColourGame(2)), device="cpu")
    assert loaded.teacher is None
    observations = model.env.reset()
    assert np.array_equal(
        loaded.predict(observations, deterministic=True)[0], model.predict(observations, deterministic=True)[0]
    )
    with pytest.raises(ValueError, match="needs a teacher"):
        loaded.learn(32)
    loaded.teacher = teacher
    loaded.learn(32)


def test_a_saved_student_goes_on_with_its_earlier_rollouts(tmp_path):
    env, teacher = TaughtVecEnv(ColourGame(3, "both")), ColourTeacher()
    model = dagger(env, teacher, memory=4).learn(3 * 16 * 3)
    model.save(tmp_path / "student.zip")
    loaded = DAgger.load(tmp_path / "student.zip", env=env, teacher=teacher, device="cpu")
    assert loaded.memory == 4
    assert len(loaded.further_state()["past"]) == 3
    assert_same_state(model.further_state(), loaded.further_state())
    loaded.learn(2 * 16 * 3)
    assert len(loaded.further_state()["past"]) == 4
    shorter = DAgger.load(tmp_path / "student.zip", env=env, teacher=teacher, device="cpu", memory=2)
    assert_same_state({"past": model.further_state()["past"][-2:]}, shorter.further_state())
    with pytest.raises(ValueError, match="memory, a number of earlier rollouts, must be at least 0, not -1"):
        DAgger.load(tmp_path / "student.zip", env=env, teacher=teacher, device="cpu", memory=-1)
    learner = PPO.load(tmp_path / "student.zip", env=env, device="cpu")  # and from reward, without them
    assert np.array_equal(learner.predict(env.reset())[0].shape, (3,))


@pytest.mark.parametrize("games", [1, 7])
def test_earlier_rollouts_of_another_length_are_all_drawn_from(tmp_path, games):
    teacher = ColourTeacher()
    dagger(TaughtVecEnv(ColourGame(3, "both")), teacher, memory=2).learn(2 * 16 * 3).save(tmp_path / "student.zip")
    env = TaughtVecEnv(ColourGame(games, "both"))
    loaded = DAgger.load(tmp_path / "student.zip", env=env, teacher=teacher, device="cpu", n_epochs=40)
    earlier = {frame.numpy().tobytes() for past in loaded.further_state()["past"] for frame in past[0]}
    drawn, sizes, loss = [], [], loaded.minibatch_loss
    loaded.minibatch_loss = lambda batch, clip_range: (drawn.append(batch), loss(batch, clip_range))[1]
    loaded.learn(16 * games)
    for batch in drawn:
        assert torch.equal(batch.teacher_log_probabilities, teacher.log_probabilities(batch.observations))
        sizes.append(len(batch.observations))
    assert sum(sizes) == 40 * 16 * games
    newest = {frame.numpy().tobytes() for frame in loaded.further_state()["past"][-1][0]}
    assert {frame.numpy().tobytes() for batch in drawn for frame in batch.observations} == earlier | newest


def test_students_of_procgen_learn_from_a_policy_that_reads_labels():
    options = ProcgenOptions("starpilot", num_levels=5)
    reader = PPO(
        env=ProcgenVecEnv(options, 4, "semantic"), encoder="impoola:4,4", n_steps=4, batch_size=16, device="cpu", seed=1
    )
    weights = []
    for _ in range(2):
        env = VecMonitor(TaughtVecEnv(ProcgenVecEnv(options, 4, "both")))
        student = dagger(env, reader.policy, encoder="impoola:4,4").learn(128)
        weights.append(torch.cat([p.detach().flatten() for p in student.policy.parameters()]))
    assert torch.equal(*weights)  # the same seed gives the same student


def test_a_teacher_sees_frames_that_are_channels_first_as_they_are():
    class First(ColourTeacher):
        def log_probabilities(self, observations):
            assert observations.shape[1] == 3
            return super().log_probabilities(observations)

    shown = VecTransposeImage(ColourGame(4))
    model = dagger(TaughtVecEnv(shown), First())
    model.learn(64)
    assert evaluate(First(0.999), shown, 2).returns.mean() > 4  # of 5


def test_a_teacher_is_evaluated_in_one_view_with_numbered_actions():
    with pytest.raises(ValueError, match="on a single view of images, not on Dict"):
        evaluate(ColourTeacher(), ColourGame(4, "both"))
