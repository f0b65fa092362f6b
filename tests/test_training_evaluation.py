"""One rule of acting for all cells: the inverse temperature that returns most on training levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_diagnosis import diagnose
from test_scores import episode_table
from tiny import TINY
from toy_games import ColourGame

from lcd.agents import PPO, EndlessEpisode, Episodes, best_tempered, evaluate, load_policy
from lcd.envs import ProcgenOptions
from lcd.envs.external.options import ExternalOptions
from lcd.experiments.evaluation import EvaluationCallback
from lcd.experiments.plan import plan_game
from lcd.experiments.run import learner
from lcd.experiments.settings import Evaluation, RunSettings
from lcd.measurement.scores import SAMPLED, TEMPERED, check_episodes
from lcd.teachers.library import shipped_teacher


def test_a_high_inverse_temperature_is_the_most_probable_action_and_one_changes_nothing():
    policy = PPO(env=ColourGame(8), n_steps=4, batch_size=8, device="cpu", seed=0).policy
    policy.scale_logits(100)  # an untrained policy hardly prefers anything
    plain, same, certain, greedy = (
        evaluate(policy, ColourGame(8), 2, 3, **settings).returns
        for settings in ({}, {"inverse_temperature": 1.0}, {"inverse_temperature": 1e6}, {"deterministic": True})
    )
    assert np.array_equal(plain, same)
    assert np.array_equal(certain, greedy)
    assert not np.array_equal(plain, greedy)
    with pytest.raises(ValueError, match="inverse_temperature must be a number above 0, not 0"):
        evaluate(policy, ColourGame(8), inverse_temperature=0)


def test_of_temperatures_that_return_alike_the_least_is_taken_and_one_without_end_is_left_out():
    returns = {1.0: 2.0, 2.0: 3.0, 4.0: 3.0, 8.0: 1.0}

    def play(factor):
        if factor == 16:
            raise EndlessEpisode("Episode 0 does not end")
        return Episodes(np.array([[returns[factor]]]), np.ones((1, 1), np.int64), np.zeros((1, 1), np.int64))

    factor, played = best_tempered(play, (16, 8, 4, 2))
    assert (factor, played.returns.item()) == (2, 3)
    assert best_tempered(play, (16,))[0] == 1
    with pytest.raises(EndlessEpisode):
        best_tempered(lambda factor: play(16), (2,))


def callback_of(evaluation, returns):
    """An evaluation whose games return what the test says for each kind of levels and inverse temperature."""
    run = RunSettings(
        ProcgenOptions("starpilot", num_levels=200), "semantic", "rl", 0, evaluation.steps[-1], evaluation
    )
    model, env = learner(run, None, "cpu", 0)
    found = EvaluationCallback(run, lambda progress: None, 0)
    found.init_callback(model)
    asked = []

    def play(policy, levels, inverse_temperature, seed, episodes_per_env):
        asked.append((levels, inverse_temperature, seed))
        played = evaluate(policy, found._envs[levels], episodes_per_env, seed)
        return replace(played, returns=np.full_like(played.returns, returns[levels][inverse_temperature]))

    found._play = play
    env.close()
    return found, asked


def test_training_levels_choose_and_unseen_levels_do_not():
    evaluation = Evaluation((0, 16384), num_envs=2, inverse_temperatures=(1, 2, 4))
    returns = {"training": {1: 1.0, 2: 3.0, 4: 2.0}, "unseen": {1: 5.0, 2: 4.0, 4: 9.0}}
    found, asked = callback_of(evaluation, returns)
    sampled, tempered = found.played(7, 1)
    assert (sampled.rule, sampled.inverse_temperature) == (SAMPLED, 1)
    assert (tempered.rule, tempered.inverse_temperature) == (TEMPERED, 2)
    assert (tempered.training.returns == 3).all()
    assert (tempered.unseen.returns == 4).all()
    assert (sampled.unseen.returns == 5).all()
    assert ("unseen", 4, 7) not in asked
    assert evaluation.episodes == len(evaluation.steps) * len(asked) * evaluation.num_envs
    assert {seed for _, _, seed in asked} == {7}
    found.close()


def test_one_inverse_temperature_is_one_rule():
    found, asked = callback_of(Evaluation((0, 16384), num_envs=2), {"training": {1: 1.0}, "unseen": {1: 5.0}})
    assert [each.rule for each in found.played(7, 1)] == [SAMPLED]
    assert asked == [("training", 1.0, 7), ("unseen", 1.0, 7)]
    assert Evaluation((0, 16384), num_envs=2).episodes == 8
    found.close()


@pytest.mark.parametrize(
    ("options", "longest", "limit"),
    [
        (ExternalOptions("MiniGrid-Empty-5x5-v0", num_levels=10), 997, 2000),
        (ExternalOptions("MiniGrid-Empty-5x5-v0", num_levels=10), 200, 1000),
        (ProcgenOptions("starpilot", num_levels=200), 997, None),
    ],
)
def test_tempered_policies_of_other_packages_games_have_a_limit_by_the_sampled_one(
    options, longest, limit, monkeypatch
):
    limits = {}

    def play(policy, env, episodes_per_env, seed, *, inverse_temperature, max_steps, cut_off):
        assert cut_off == (env is found._envs["unseen"] and inverse_temperature != 1)
        limits.setdefault(inverse_temperature, set()).add(max_steps)
        if inverse_temperature == 4:
            raise EndlessEpisode("Episode 0 does not end")
        lengths = np.array([[3, longest]])
        return Episodes(np.full((1, 2), inverse_temperature), lengths, np.zeros((1, 2), np.int64))

    monkeypatch.setattr("lcd.experiments.evaluation.evaluate", play)
    evaluation = Evaluation((0, 16384), num_envs=2, inverse_temperatures=(1, 2, 4))
    run = RunSettings(options, "pixels", "rl", 0, 16384, evaluation)
    model, env = learner(run, None, "cpu", 0)
    found = EvaluationCallback(run, lambda progress: None, 0)
    found.init_callback(model)
    _, tempered = found.played(7, 3)
    assert tempered.inverse_temperature == 2
    of_all = None if limit is None else limit * 2 * 3
    assert limits == {1: {None}, 2: {of_all}, 4: {of_all}}
    found.close()
    env.close()


def test_all_cells_of_a_plan_are_evaluated_by_one_rule_and_get_the_same_gradient_steps():
    cells = plan_game("maze", TINY).cells
    assert len({run.evaluation.inverse_temperatures for run in cells}) == 1
    assert len(cells[0].evaluation.inverse_temperatures) > 1
    assert len({run.hyperparameters.for_labels() for run in cells}) == 1  # but for what only PPO uses
    steps = {}
    for run in cells:
        teacher, _ = load_policy(shipped_teacher("maze")[0]) if run.learning == "imitation" else (None, None)
        model, env = learner(run, teacher, "cpu", 0)
        updates = []
        model.policy.optimizer.register_step_post_hook(lambda *_, updates=updates: updates.append(1))
        model.learn(2 * run.hyperparameters.rollout)
        steps[run.view, run.learning] = len(updates)
        env.close()
    hyper = cells[0].hyperparameters
    assert steps == dict.fromkeys(steps, 2 * hyper.epochs * hyper.minibatches)
    assert len(steps) == 4


def test_an_episode_that_is_cut_off_counts_with_what_it_has_returned():
    env = ColourGame(3, lengths=[5, 5, 100], rewards=[1, 0, 0.5])
    policy = PPO(env=ColourGame(3), n_steps=4, batch_size=3, device="cpu", seed=0).policy
    with pytest.raises(EndlessEpisode, match="Episode 0 of environment 2 does not end within 20 steps"):
        evaluate(policy, env, 2, max_episode_steps=20)
    played = evaluate(policy, env, 2, max_episode_steps=20, cut_off=True)
    assert played.returns.tolist() == [[5, 5], [0, 0], [10, 10]]
    assert played.lengths.tolist() == [[5, 5], [5, 5], [20, 20]]
    assert evaluate(policy, env, 2, max_steps=10 + 10 + 200).lengths.tolist() == [[5, 5], [5, 5], [100, 100]]
    with pytest.raises(EndlessEpisode, match="Episode 0 of environment 2 does not end within the 40 steps of all"):
        evaluate(policy, env, 2, max_steps=40)
    played = evaluate(policy, env, 2, max_steps=40, cut_off=True)
    assert played.lengths.tolist() == [[5, 5], [5, 5], [20, 20]]
    with pytest.raises(EndlessEpisode, match="Episode 1 of environment 0 does not end within the 15 steps of all"):
        evaluate(policy, env, 2, max_steps=15)
    assert evaluate(policy, env, 2, max_steps=15, cut_off=True).lengths.tolist() == [[5, 5]] * 3


def both_rules(tempered, sampled):
    tables = [
        episode_table(final).assign(rule=rule, inverse_temperature=factor)
        for final, rule, factor in ((tempered, TEMPERED, 2.0), (sampled, SAMPLED, 1.0))
    ]
    return pd.concat(tables, ignore_index=True)


def test_a_diagnosis_stands_on_the_rule_and_says_what_sampling_would_have_given():
    tempered, sampled = {"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9}, {"a": 0.1, "b": 0.1, "c": 0.5, "d": 0.9}
    found = diagnose(both_rules(tempered, sampled))
    alone = diagnose(episode_table(tempered))
    pd.testing.assert_frame_equal(found.demands, alone.demands)
    assert found.verdict == alone.verdict
    pd.testing.assert_frame_equal(found.sampled, diagnose(episode_table(sampled)).demands)
    assert "+0.20 of the latter is due to temperature" in found.temperature_sentence
    assert found.to_json()["sampled_demands"]
    assert alone.sampled is None
    assert alone.temperature_sentence is None


def test_a_diagnosis_can_be_made_again_from_the_episodes_that_it_keeps():
    found = diagnose(both_rules({"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9}, {"a": 0.1, "b": 0.1, "c": 0.5, "d": 0.9}))
    assert diagnose(found.episodes).to_json() == found.to_json()


def test_scores_of_one_rule_are_never_mixed_with_the_others():
    table = both_rules({"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9}, {"a": 0.2, "b": 0.6, "c": 0.6, "d": 1.0})
    for rule in (TEMPERED, SAMPLED):
        assert set(check_episodes(table, game="toy", budget=table["step"].max(), rule=rule)["rule"]) == {rule}


def test_a_certain_policy_is_the_same_function_after_its_logits_are_scaled_in_place():
    policy = PPO(env=ColourGame(4), n_steps=4, batch_size=8, device="cpu", seed=0).policy
    frames = policy.obs_to_tensor(ColourGame(4).reset())[0]
    with torch.no_grad():
        before = policy.log_probabilities(frames)
        policy.scale_logits(3.0)
        after = policy.log_probabilities(frames)
    assert torch.allclose(torch.log_softmax(3 * before, dim=1), after, atol=1e-4)
