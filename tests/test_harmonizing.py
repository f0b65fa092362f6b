"""Learners with the harmonization loss."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tiny import GAME, TINY

from lcd.agents import save_policy
from lcd.agents.policy import EncoderPolicy
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.harmonized import HarmonizedDAgger, HarmonizedPPO, Harmonizer
from lcd.experiments.plan import plan_game
from lcd.experiments.run import learner, teacher_of, train
from lcd.experiments.settings import RunSettings


@pytest.fixture
def plan(tmp_path):
    env = ProcgenVecEnv(ProcgenOptions(GAME), 2, "semantic")
    torch.manual_seed(0)
    policy = EncoderPolicy(env.observation_space, env.action_space, lambda _: 0.0, "small")
    env.close()
    save_policy(policy, tmp_path / "teacher.safetensors", {"game": GAME})
    return plan_game(
        GAME, replace(TINY, encoder="small"), teacher=GivenTeacher.from_file(tmp_path / "teacher.safetensors")
    )


def harmonized(plan, learning, weight=1.0):
    run = next(run for run in plan.cells if (run.view, run.learning) == ("pixels", learning))
    return replace(run, harmonizer=weight)


@pytest.mark.parametrize(("learning", "kind"), [("rl", HarmonizedPPO), ("imitation", HarmonizedDAgger)])
def test_both_learners_take_the_auxiliary_loss(plan, tmp_path, learning, kind):
    run = harmonized(plan, learning)
    assert RunSettings.from_dict(run.as_dict()) == run
    assert (
        run.identity
        != replace(run, harmonizer=0.0).identity
        == plan.cells[plan.cells.index(replace(run, harmonizer=0.0))].identity
    )
    file = plan.given_teacher.path if learning == "imitation" else None
    model, env = learner(run, teacher_of(run, file), "cpu", 0)
    assert type(model) is kind
    env.close()
    (tmp_path / "run").mkdir()
    result = train(run, tmp_path / "run", teacher=teacher_of(run, file))
    assert result.episodes["return"].notna().all()
    assert "harmonization_loss" in (tmp_path / "run" / "progress.csv").read_text()


@pytest.mark.parametrize(("learning", "kind"), [("rl", HarmonizedPPO), ("imitation", HarmonizedDAgger)])
def test_a_saved_learner_keeps_its_harmonizer_and_its_backbones_learning_rate(plan, tmp_path, learning, kind):
    run = replace(harmonized(plan, learning), encoder="small+tuned=1e-4")
    teacher = teacher_of(run, plan.given_teacher.path if learning == "imitation" else None)
    model, env = learner(run, teacher, "cpu", 0)
    model.learn(run.hyperparameters.rollout).save(tmp_path / "model.zip")
    given = {} if teacher is None else {"teacher": teacher}
    loaded = kind.load(tmp_path / "model.zip", env=env, device="cpu", learning_rate=5e-6, **given)
    assert (loaded.harmonizer.relevant, loaded.harmonizer.weight) == (model.harmonizer.relevant, 1.0)
    assert loaded.harmonizer.relevant
    loaded.learn(run.hyperparameters.rollout)
    env.close()
    assert [group["lr"] for group in loaded.policy.optimizer.param_groups] == pytest.approx([5e-6, 1e-4])
    run = harmonized(plan, "imitation")
    remembering = replace(run.hyperparameters, memory=2)
    with pytest.raises(ValueError, match="from the newest rollout only, not from 2 earlier ones too: set memory to 0"):
        replace(run, hyperparameters=remembering)
    with pytest.raises(ValueError, match=r"needs a Harmonizer, not None: pass harmonizer="):
        kind(env=env)


@pytest.mark.parametrize("learning", ["rl", "imitation"])
def test_threads_share_the_plain_attention_of_a_training(plan, learning, monkeypatch, three_threads):
    entered = []

    @contextmanager
    def once():
        entered.append(True)
        yield
        entered.append(False)

    monkeypatch.setattr("lcd.experiments.harmonized.twice_differentiable", once)
    monkeypatch.setattr(Harmonizer, "__call__", lambda *asked: entered.append("asked") or torch.zeros(()))
    run = harmonized(plan, learning)
    model, env = learner(run, teacher_of(run, plan.given_teacher.path if learning == "imitation" else None), "cpu", 0)
    model.learn(model.n_steps * model.n_envs)
    env.close()
    assert (entered[0], entered[-1], set(entered[1:-1])) == (True, False, {"asked"})


def test_without_weight_nothing_changes(plan):
    plain = harmonized(plan, "rl", 0.0)
    assert "harmonizer" not in plain.as_dict()
    model, env = learner(plain, None, "cpu", 0)
    assert not isinstance(model, HarmonizedPPO)
    env.close()


def test_images_are_explained_in_full_precision_and_nothing_else_is_changed():
    torch.manual_seed(0)
    policy = EncoderPolicy(
        spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(15), lambda _: 1e-3, "small", mixed_precision=True
    )
    images = torch.rand(2, 3, 64, 64)
    rounded = policy.log_probabilities(images)
    exact = policy.log_probabilities(images.clone().requires_grad_())
    policy.mixed_precision = False
    assert torch.equal(exact, policy.log_probabilities(images))
    assert not torch.equal(rounded, exact)


def test_a_state_without_anything_relevant_asks_for_nothing():
    torch.manual_seed(0)
    policy = EncoderPolicy(spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(15), lambda _: 1e-3, "small")
    frames, actions = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8), torch.zeros(8, dtype=torch.int64)
    nothing = torch.zeros(8, 64, 64, dtype=torch.uint8)
    loss = Harmonizer({1}, 1.0)(policy, frames, nothing, actions)
    loss.backward()
    assert loss == 0
    assert not any(each.grad.any() for each in policy.parameters() if each.grad is not None)
    there = nothing.clone()
    there[:, 20:30, 20:30] = 1
    assert Harmonizer({1}, 1.0)(policy, frames, there, actions) > 0


def test_training_on_its_loss_alone_lowers_it_on_unseen_levels():
    """Agreement by rank correlation is another measure: it rises and falls along such a training, with any seed."""
    env = ProcgenVecEnv(ProcgenOptions("maze", num_levels=200), 16, "both")
    held_out = ProcgenVecEnv(ProcgenOptions("maze", num_levels=200).unseen_levels(200), 64, "both")
    torch.manual_seed(0)
    policy = EncoderPolicy(spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(15), lambda _: 1e-3, "small")
    harmonizer, actions = Harmonizer({1, 3}, 1.0), torch.zeros(64, dtype=torch.int64)

    def loss_of(observed, times=1):
        frames = torch.from_numpy(observed["pixels"]).permute(0, 3, 1, 2).repeat(times, 1, 1, 1)
        return harmonizer(policy, frames, torch.from_numpy(observed["semantic"]).repeat(times, 1, 1), actions)

    unseen, observed = held_out.reset(), env.reset()
    before = loss_of(unseen).item()
    random = np.random.default_rng(0)
    for _ in range(60):
        policy.optimizer.zero_grad()
        loss_of(observed, times=4).backward()
        policy.optimizer.step()
        for _ in range(3):
            observed, *_ = env.step(random.integers(15, size=16))
    assert loss_of(unseen).item() < before / 2
    for each in (env, held_out):
        each.close()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"harmonizer": -1.0}, "a weight above 0"),
        ({"view": "semantic", "harmonizer": 1.0}, "not for semantic"),
        ({"encoder": "small+frozen", "harmonizer": 1.0}, "is frozen"),
    ],
)
def test_what_cannot_be_harmonized_is_refused(plan, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(harmonized(plan, "rl", 0.0), **changes)
