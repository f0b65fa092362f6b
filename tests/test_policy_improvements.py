"""Improvements of policy learning: phasic, decoupled and curious PPO each change what their papers say."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from further import assert_same_state
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import VecEnv
from test_checkpoint import ROLLOUT, STEPS, log_of, settings_of
from test_checkpoint import trained as train_in_parts
from torch import nn
from toy_games import ColourGame

from lcd.agents import PPO, load_policy
from lcd.agents.improvements.curious import CuriousPPO
from lcd.agents.improvements.decoupled import DecoupledPPO
from lcd.agents.improvements.networks import PPOWithNetworks
from lcd.agents.improvements.novelty import FrameStatistics, IntrinsicScale, Novelty
from lcd.agents.improvements.phasic import PhasicPPO
from lcd.agents.improvements.revaluing import generalised_advantages
from lcd.envs import ProcgenOptions, make_vec_env
from lcd.experiments.improvements import IMPROVEMENTS

pytestmark = pytest.mark.costly()

SMALL = {"encoder": "small", "n_steps": 8, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0}
LEARNERS = (PhasicPPO, DecoupledPPO, CuriousPPO)


@pytest.fixture
def games() -> VecEnv:
    return make_vec_env(ProcgenOptions("bossfight"), 4, "pixels", 0)


def frames(count: int, seed: int = 0, side: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8))


def gradients(model: PPO, batch: Any) -> dict[str, torch.Tensor]:
    """Clipped gradients of the policy's own parameters by a minibatch."""
    model.gradient(batch, 0.2)
    return {name: each.grad.clone() for name, each in model.policy.named_parameters() if each.grad is not None}


def assert_only_the_value_head_depends_on_returns(model: PPO) -> None:
    batch = next(iter(model._minibatches()))
    with torch.no_grad():
        found = model.policy.predict_values(batch.observations).flatten()
    usual, other = (gradients(model, batch._replace(returns=found + error)) for error in (0, 100))
    for name in usual:
        assert torch.equal(usual[name], other[name]) != name.startswith("value_net"), name


def mean_divergence(model: PPO, observations: torch.Tensor, before: torch.Tensor) -> float:
    with torch.no_grad():
        now = model.policy.log_probabilities(observations)  # type: ignore[operator]
    return float((before.exp() * (before - now)).sum(dim=1).mean())


def test_the_policy_phase_keeps_values_from_the_encoder(games: VecEnv) -> None:
    model, plain = PhasicPPO(env=games, max_grad_norm=1e9, **SMALL), PPO(env=games, max_grad_norm=1e9, **SMALL)
    for each in (model, plain):
        torch.nn.init.orthogonal_(each.policy.value_net.weight)
        each.learn(32)
    assert_only_the_value_head_depends_on_returns(model)
    with pytest.raises(AssertionError):
        assert_only_the_value_head_depends_on_returns(plain)


def auxiliary_phase(games: VecEnv, clone_weight: float) -> tuple[float, float, float, bool]:
    """Mean value errors before and after a phase, the divergence from the policy before, and if the encoder changed."""
    model = PhasicPPO(env=games, rollouts=2, auxiliary_epochs=12, clone_weight=clone_weight, **SMALL)
    torch.nn.init.orthogonal_(model.policy.value_net.weight)
    phase = model._auxiliary_phase
    model._auxiliary_phase = lambda: None  # type: ignore[method-assign]
    model.learn(64)
    assert model._observations is not None
    observations, returns = model._observations, model._returns
    model._remembered = len(returns)
    with torch.no_grad():
        before, values = model.policy.heads(observations)
    encoder = [each.clone() for each in model.policy.features_extractor.parameters()]
    phase()
    with torch.no_grad():
        later = model.policy.heads(observations)[1]
    errors = [float((each.flatten() - returns).square().mean()) for each in (values, later)]
    moved = any(
        not torch.equal(was, now)
        for was, now in zip(encoder, model.policy.features_extractor.parameters(), strict=True)
    )
    assert model.policy.detaches_values
    return *errors, mean_divergence(model, observations, before), moved


def test_the_auxiliary_phase_teaches_values_and_leaves_the_policy(games: VecEnv) -> None:
    before, after, divergence, moved = auxiliary_phase(games, clone_weight=1.0)
    assert after < 0.8 * before
    assert moved
    assert divergence < 2e-3
    *_, unheld, _ = auxiliary_phase(games, clone_weight=0.0)
    assert unheld > 3 * divergence


def test_the_auxiliary_phase_comes_after_so_many_rollouts(games: VecEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: list[tuple[int, int]] = []
    monkeypatch.setattr(
        PhasicPPO, "_auxiliary_phase", lambda model: remembered.append((model.num_timesteps, model._remembered))
    )
    model = PhasicPPO(env=games, rollouts=3, memory=30, **(SMALL | {"n_epochs": 3}))
    model.learn(7 * 32)
    assert model.n_epochs == 1
    assert remembered == [(96, 30), (192, 30)]
    assert model._observations is not None
    assert model._observations.dtype == torch.uint8
    assert model._observations.shape == (30, 3, 64, 64)
    assert model._remembered == 10


def test_what_is_remembered_are_observations_with_their_returns(games: VecEnv) -> None:
    model = PhasicPPO(env=games, rollouts=3, memory=96, **SMALL)
    model.learn(32)
    buffer = model.rollout_buffer
    rows = torch.arange(32)
    shown, returns = buffer.frames(rows), buffer.returns.ravel()  # type: ignore[attr-defined]
    assert model._observations is not None
    remembered = zip(model._observations[:32], model._returns[:32].tolist(), strict=True)
    wanted = zip(shown, returns.tolist(), strict=True)
    found, given = (sorted((frame.numpy().tobytes(), value) for frame, value in each) for each in (remembered, wanted))
    assert found == given


def test_decoupled_policies_get_no_gradient_of_a_value(games: VecEnv) -> None:
    model = DecoupledPPO(env=games, max_grad_norm=0.01, **SMALL)  # so that all gradients are clipped
    torch.nn.init.orthogonal_(model.critic.value_net.weight)
    model.learn(32)
    assert_only_the_value_head_depends_on_returns(model)
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    critic = {name: value.clone() for name, value in model.critic.state_dict().items()}
    for batch in model._valued_samples():
        model._improve_value(batch)
    assert all(torch.equal(value, weights[name]) for name, value in model.policy.state_dict().items())
    changed = {name for name, value in model.critic.state_dict().items() if not torch.equal(value, critic[name])}
    assert {"value_net.weight", "features_extractor.linear.0.weight"} & changed
    assert not any(name.startswith("action_net") for name in changed)


def test_decoupled_policies_predict_advantages_of_actions(games: VecEnv) -> None:
    model = DecoupledPPO(env=games, advantage_weight=1000.0, **SMALL)
    model.learn(32)
    batch = next(iter(model._minibatches()))
    features = model.policy.extract_features(batch.observations)
    of_each = [model.advantage_head(features, torch.full((16,), action)) for action in range(2)]
    assert not torch.equal(*of_each)
    first = float(model.minibatch_loss(batch, 0.2)[1]["advantage_loss"].detach())
    for _ in range(40):
        model.gradient(batch, 0.2)
        model.policy.optimizer.step()
    assert float(model.minibatch_loss(batch, 0.2)[1]["advantage_loss"].detach()) < 0.5 * first


def test_decoupled_values_are_those_of_the_critic(games: VecEnv) -> None:
    model = DecoupledPPO(env=ColourGame(lengths=3, truncates=True), **SMALL)
    bootstraps = []
    valued = model._value
    model._value = lambda buffer, noted: (  # type: ignore[method-assign]
        bootstraps.append((buffer.rewards.copy(), list(noted.cut_offs))),
        valued(buffer, noted),
    )
    critic = DecoupledPPO(env=ColourGame(), **SMALL).critic  # drawn from the same seed, and not trained
    for each in (critic, model.critic):
        torch.nn.init.constant_(each.value_net.weight, 0.1)
    model.learn(32)
    buffer = model.rollout_buffer
    with torch.no_grad():
        values = critic.predict_values(buffer.frames(torch.arange(32))).reshape(8, 4).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(buffer.values, values, rtol=1e-4, atol=1e-5)
    rewards, cut_offs = bootstraps[0]
    assert [(each.step, each.game) for each in cut_offs] == [(step, game) for step in (2, 5) for game in range(4)]
    for step, game, observation in cut_offs:
        with torch.no_grad():
            value = critic.predict_values(model.policy.obs_to_tensor(observation)[0]).item()  # type: ignore[arg-type]
        assert buffer.rewards[step, game] == pytest.approx(rewards[step, game] + model.gamma * value, abs=1e-5)
    np.testing.assert_allclose(buffer.returns - buffer.advantages, values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("epochs", "wanted"), [(3, 9), (1, 3)])
def test_the_value_makes_three_times_as_many_passes(games: VecEnv, epochs: int, wanted: int) -> None:
    model = DecoupledPPO(env=games, **(SMALL | {"n_epochs": epochs}))
    assert (model.n_epochs, model.value_epochs) == (1, wanted)


def test_advantages_are_those_of_stable_baselines() -> None:
    rng = np.random.default_rng(0)
    space = ColourGame()
    buffer = RolloutBuffer(6, space.observation_space, space.action_space, "cpu", 0.9, 0.99, 3)
    buffer.reset()
    buffer.rewards, buffer.values = rng.normal(size=(2, 6, 3)).astype(np.float32)
    ended = rng.random((6, 3)) < 0.3
    buffer.episode_starts[1:] = ended[:-1]
    last = rng.normal(size=3).astype(np.float32)
    buffer.compute_returns_and_advantage(torch.from_numpy(last), ended[-1])
    found = generalised_advantages(buffer.rewards, buffer.values, last, ended, 0.99, 0.9)
    np.testing.assert_allclose(found, buffer.advantages, rtol=1e-5, atol=1e-6)


def learn_frames(novelty: Novelty, known: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(novelty.predictor.parameters(), 1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        novelty(known).mean().backward()
        optimizer.step()


def test_novelty_wears_off_on_frames_that_were_seen() -> None:
    torch.manual_seed(0)
    env = make_vec_env(ProcgenOptions("bossfight"), 32, "pixels", 0)
    other = make_vec_env(ProcgenOptions("maze"), 32, "pixels", 0)
    seen, unseen = (torch.from_numpy(np.moveaxis(each.reset(), -1, 1).copy()) for each in (env, other))  # type: ignore[arg-type]
    novelty, statistics = Novelty((3, 64, 64)), FrameStatistics((3, 64, 64))
    statistics.count(torch.cat([seen, unseen]))
    statistics.tell(novelty)
    target = {name: value.clone() for name, value in novelty.target.state_dict().items()}
    with torch.no_grad():
        before = [float(novelty(each).mean()) for each in (seen, unseen)]
    learn_frames(novelty, seen, 60)
    with torch.no_grad():
        after = [float(novelty(each).mean()) for each in (seen, unseen)]
    assert after[0] < 0.3 * before[0]
    assert after[1] > 2 * after[0]
    assert all(torch.equal(value, target[name]) for name, value in novelty.target.state_dict().items())


def test_pixels_are_normalised_by_all_frames_so_far() -> None:
    shown, statistics, novelty = frames(60, side=40), FrameStatistics((3, 40, 40)), Novelty((3, 40, 40))
    shown[:, :, 0] = 9  # never changes
    for part in shown.split(25):
        statistics.count(part)
    statistics.tell(novelty)
    found = novelty.normalised(shown)[:, :, 1:]
    assert found.mean(dim=0).abs().max() < 1e-3
    assert (found.std(dim=0, correction=0) - 1).abs().max() < 1e-3
    assert novelty.normalised(shown)[:, :, 0].abs().max() < 0.01
    assert novelty.normalised(torch.full((1, 3, 40, 40), 255, dtype=torch.uint8)).max() == 5


def test_intrinsic_rewards_are_in_units_of_their_returns() -> None:
    rewards = np.random.default_rng(0).gamma(2.0, 30.0, (300, 5))
    scale = IntrinsicScale(5, 0.9)
    parts = [scale.scaled(part) for part in np.split(rewards, 3)]
    sums = np.zeros((301, 5))
    for step, of_games in enumerate(rewards):
        sums[step + 1] = 0.9 * sums[step] + of_games
    np.testing.assert_allclose(parts[-1], rewards[200:] / sums[1:].std(), rtol=1e-3)


class _Brightness(nn.Module):
    """Novelty that can be read off a frame."""

    def forward(self, shown: torch.Tensor) -> torch.Tensor:
        return shown.float().mean(dim=(1, 2, 3))


def test_a_step_is_rewarded_for_the_frame_that_it_leads_to() -> None:
    model = CuriousPPO(env=ColourGame(), weight=3.0, intrinsic_weight=0.5, **SMALL)
    found: dict[str, Any] = {}
    novelty, add = model.novelty, model._add_intrinsic
    model._improve_prediction = lambda: None  # type: ignore[method-assign]
    model._statistics.tell = lambda novelty: None  # type: ignore[method-assign]
    model._scale.scaled = lambda rewards: found.setdefault("rewards", rewards)  # type: ignore[method-assign]

    def adding(buffer: Any) -> None:
        found["extrinsic"] = buffer.advantages.copy()
        with torch.no_grad():
            shown = buffer.frames(torch.arange(32))
            found["values"] = model._intrinsic_values(shown).reshape(8, 4).numpy()
            last = model.policy.obs_to_tensor(model._last_obs)[0]  # type: ignore[arg-type]
            found["last"] = model._intrinsic_values(last).flatten().numpy()  # type: ignore[arg-type]
            found["brightness"] = torch.cat([_Brightness()(shown), _Brightness()(last)]).reshape(9, 4).numpy()
        model.novelty = _Brightness()  # type: ignore[assignment]
        add(buffer)
        model.novelty = novelty
        found["both"] = buffer.advantages.copy()

    model._add_intrinsic = adding  # type: ignore[method-assign]
    model.learn(32)
    np.testing.assert_allclose(found["rewards"], found["brightness"][1:], rtol=1e-5)
    never = np.zeros((8, 4), bool)  # intrinsic returns do not end with episodes
    intrinsic = generalised_advantages(
        found["rewards"], found["values"], found["last"], never, model.intrinsic_gamma, model.gae_lambda
    )
    np.testing.assert_allclose(found["both"], 3 * found["extrinsic"] + 0.5 * intrinsic, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(model._intrinsic_returns, intrinsic + found["values"], rtol=1e-4, atol=1e-3)


def test_both_values_of_curious_learners_learn(games: VecEnv) -> None:
    model = CuriousPPO(env=games, **SMALL)
    model.learn(32)
    batch = next(iter(model._minibatches()))
    losses = []
    for _ in range(60):
        statistics = model.gradient(batch, 0.2)
        losses.append([statistics[name].item() for name in ("value_loss", "intrinsic_value_loss")])
        model.policy.optimizer.step()
    assert losses[-1][1] < 0.5 * losses[0][1]
    assert losses[-1][0] < max(0.5 * losses[0][0], 1e-3)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_saved_model_has_its_further_state(learner: type[PPOWithNetworks], games: VecEnv, tmp_path: Path) -> None:
    model = learner(env=games, **SMALL)
    model.learn(2 * 32)
    model.save(tmp_path / "model.zip")
    loaded = learner.load(tmp_path / "model.zip", env=games, device="cpu")
    assert set(model.networks) <= model.further_state().keys()
    assert_same_state(model.further_state(), loaded.further_state())
    fresh = learner(env=games, **SMALL)
    fresh.set_parameters(tmp_path / "model.zip")
    assert_same_state(model.further_state(), fresh.further_state())
    loaded.learn(32)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_saved_model_goes_on_with_another_number_of_games(
    learner: type[PPOWithNetworks], count: int, games: VecEnv, tmp_path: Path
) -> None:
    model = learner(env=games, **SMALL)
    model.learn(2 * 32)
    model.save(tmp_path / "model.zip")
    others = make_vec_env(ProcgenOptions("bossfight"), count, "pixels", 0)
    loaded = learner.load(tmp_path / "model.zip", env=others, device="cpu", **({"batch_size": 8} if count == 1 else {}))
    loaded.learn(2 * 8 * count)


def test_a_saved_model_holds_what_the_auxiliary_phase_will_teach(games: VecEnv, tmp_path: Path) -> None:
    model = PhasicPPO(env=games, rollouts=5, memory=160, **SMALL)
    model.learn(3 * 32)
    model.save(tmp_path / "model.zip")
    others = make_vec_env(ProcgenOptions("bossfight"), 6, "pixels", 0)
    loaded = PhasicPPO.load(tmp_path / "model.zip", env=others, device="cpu")
    loaded.learn(48)
    assert (loaded._rollouts_done, loaded._remembered) == (4, 3 * 32 + 32)  # 48 steps, of which 160 / 5 are remembered
    assert loaded._observations is not None
    assert model._observations is not None
    assert torch.equal(loaded._observations[:96], model._observations[:96])
    loaded.learn(48)
    assert (loaded._rollouts_done, loaded._remembered) == (0, 0)
    short = PhasicPPO.load(tmp_path / "model.zip", env=games, device="cpu", rollouts=2)
    short.learn(32)  # the phase is overdue
    assert (short._rollouts_done, short._remembered) == (0, 0)


def test_a_saved_curious_model_keeps_its_statistics(games: VecEnv, tmp_path: Path) -> None:
    model = CuriousPPO(env=games, **SMALL)
    model.learn(2 * 32)
    model.save(tmp_path / "model.zip")
    loaded = CuriousPPO.load(tmp_path / "model.zip", env=games, device="cpu")
    loaded.learn(32)
    counts = [float(each.further_state()["statistics"]["count"]) for each in (model, loaded)]
    assert counts[1] - counts[0] == 32


def watched_rates(model: PPOWithNetworks) -> list[tuple[str, float, float]]:
    """Of each step of the optimisers that train an encoder: the optimiser, and its rates for backbone and the rest."""
    found: list[tuple[str, float, float]] = []
    policies = [model.policy, *([model.critic] if isinstance(model, DecoupledPPO) else [])]
    backbones = [policy.features_extractor.backbone for policy in policies]  # type: ignore[union-attr]
    of_backbones = {id(each) for backbone in backbones for each in backbone.parameters()}

    def watch(name: str) -> Any:
        def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            rates: dict[bool, set[float]] = {True: set(), False: set()}
            for group in optimizer.param_groups:
                for each in group["params"]:
                    rates[id(each) in of_backbones].add(group["lr"])
            (backbone,), (rest,) = rates[True], rates[False]
            found.append((name, backbone, rest))

        return note

    for name in ("policy.optimizer", *model.scheduled):
        attrgetter(name)(model).register_step_pre_hook(watch(name))
    return found


@pytest.mark.parametrize("learner", LEARNERS)
def test_all_optimisers_fine_tune_a_backbone_at_its_own_rate(
    learner: type[PPOWithNetworks], games: VecEnv, tmp_path: Path
) -> None:
    further: dict[str, Any] = {"rollouts": 1, "memory": 64} if learner is PhasicPPO else {}
    tuned = SMALL | {"encoder": "small+tuned=1e-5", "learning_rate": lambda left: 4e-4 * left}
    model = learner(env=games, **tuned, **further)
    rates = watched_rates(model)
    model.learn(2 * 32)
    assert {name for name, *_ in rates} == {"policy.optimizer", *model.scheduled}
    for _, backbone, rest in rates:
        assert backbone == pytest.approx(rest / 40)
    model.save(tmp_path / "model.zip")
    loaded = learner.load(tmp_path / "model.zip", env=games, device="cpu", learning_rate=5e-6)
    rates = watched_rates(loaded)
    loaded.learn(32)
    assert {name for name, *_ in rates} == {"policy.optimizer", *model.scheduled}
    for _, backbone, rest in rates:
        assert (backbone, rest) == pytest.approx((1e-5, 5e-6))


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_does_not_fit_is_refused(learner: type[PPOWithNetworks], games: VecEnv) -> None:
    with pytest.raises(ValueError, match="choose one that is trained"):
        learner(env=games, **(SMALL | {"encoder": "small+frozen"}))


def test_curiosity_needs_frames(games: VecEnv) -> None:
    maps = make_vec_env(ProcgenOptions("bossfight"), 2, "semantic", 0)
    with pytest.raises(ValueError, match="learn from frames"):
        CuriousPPO(env=maps, **SMALL)
    with pytest.raises(ValueError, match="from 36 pixels a side on"):
        Novelty((3, 20, 20))


@pytest.mark.parametrize("name", ["phasic", "decoupled", "curious", "replayed-levels", "curriculum"])
def test_a_run_leaves_an_ordinary_policy(name: str, tmp_path: Path) -> None:
    settings = settings_of("bossfight", "pixels", "rl", improvement=name)
    result = train_in_parts(settings, tmp_path, ())
    plain = PPO(env=make_vec_env(ProcgenOptions("bossfight"), 4, "pixels", 0), **SMALL)
    policy, card = load_policy(tmp_path / "0" / "policy.safetensors")
    assert policy.state_dict().keys() == plain.policy.state_dict().keys()
    assert card["run"]["improvement"] == name
    assert set(result.episodes["levels"]) == {"training", "unseen"}
    assert log_of(tmp_path / "0")["train/loss"].notna().any()


def test_phases_go_on_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint is in the middle of a policy phase, and holds what the coming auxiliary phase teaches."""
    often = replace(IMPROVEMENTS["phasic"], learner=partial(PhasicPPO, rollouts=2, memory=40))
    monkeypatch.setattr("lcd.experiments.improvements.IMPROVEMENTS", {**IMPROVEMENTS, "phasic": often})
    settings = settings_of("bossfight", "pixels", "rl", improvement="phasic")
    whole = train_in_parts(settings, tmp_path / "whole", ())
    stops = (2 * ROLLOUT, 4 * ROLLOUT)  # the last checkpoint is a rollout older
    parts = train_in_parts(settings, tmp_path / "parts", stops)
    log = log_of(tmp_path / "whole" / "0")
    assert log["train/auxiliary_divergence"].notna().sum() == STEPS // (2 * ROLLOUT)
    pd.testing.assert_frame_equal(log, log_of(tmp_path / "parts" / "2"), check_exact=True)
    pd.testing.assert_frame_equal(whole.episodes, parts.episodes, check_exact=True)
    written = [tmp_path / place / "policy.safetensors" for place in ("whole/0", "parts/2")]
    assert written[0].read_bytes() == written[1].read_bytes()
