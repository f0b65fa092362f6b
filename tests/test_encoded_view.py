"""The frozen encoder of an expert as the privileged view of a game that offers none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from in_process import InProcess
from tiny import TINY

import lcd
from lcd.agents import EncoderPolicy, save_policy
from lcd.envs import make_vec_env
from lcd.envs.family import game_options, observation_space, options_from_record, policy_spaces
from lcd.experiments.encoded_view import EncodedOptions, locate
from lcd.experiments.plan import Plan
from lcd.experiments.settings import RunSettings
from lcd.studies.pipeline import plan_diagnosis

HIDDEN = "own_games:Hidden"
"""A game whose labels the LCD does not find."""


def policy_of(options, seed=1, encoder="nature"):
    torch.manual_seed(seed)
    return EncoderPolicy(*policy_spaces(options, "pixels"), lambda left: 0.0, encoder, mixed_precision=False)


def test_the_view_is_what_the_encoder_gives(tmp_path):
    options = game_options(HIDDEN, num_levels=20)
    policy = policy_of(options)
    save_policy(policy, tmp_path / "expert.safetensors", {})
    locate({"some run": tmp_path / "expert.safetensors"})
    env = make_vec_env(EncodedOptions(options, "nature", "some run"), 3, "both", seed=1)
    observed = env.reset()
    ended = 0
    for _ in range(30):
        frames = torch.as_tensor(observed["pixels"]).movedim(-1, 1)
        with torch.no_grad():
            assert np.allclose(policy.extract_features(frames).numpy(), observed["semantic"], atol=1e-5)
        observed, _, dones, infos = env.step(np.array([0, 1, 2]))
        for index in np.flatnonzero(dones):
            ended += 1
            assert infos[index]["terminal_observation"]["semantic"].shape == env.observation_space["semantic"].shape
    assert ended
    env.close()
    random = make_vec_env(EncodedOptions(options, "nature"), 3, "semantic", seed=1)
    first, second = random.reset(), observed["semantic"]
    assert first.shape == second.shape
    assert not np.allclose(first, second)
    random.close()


def test_an_encoder_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="encoder of never made"):
        make_vec_env(EncodedOptions(game_options(HIDDEN, num_levels=5), "nature", "never made"), 1, "semantic")


def test_options_are_written_and_read():
    options = EncodedOptions(game_options(HIDDEN, num_levels=20), "nature:32", "some run")
    record = json.loads(json.dumps(options.as_record()))
    assert options_from_record(record)[0] == options
    assert options.unseen_levels(20).base == options.base.unseen_levels(20)
    assert observation_space(options, "semantic").shape == (32,)
    with pytest.raises(ValueError, match="Unknown family"):
        options_from_record(record | {"family": "of nobody"})


def test_the_plan_trains_an_expert_and_two_controls():
    plan = plan_diagnosis(HIDDEN, TINY, random=0.0, best=1.0)
    expert, early = plan.teacher_run, plan.early_run
    assert (expert.view, expert.learning, expert.steps) == ("pixels", "rl", plan.budget * TINY.teacher_factor)
    assert (early.view, early.steps) == ("pixels", expert.evaluation.steps[1])
    makers = {name: {run.options.made_by for run in runs} for name, runs in plan.controls}
    assert makers == {"random": {None}, "early": {early.identity}}
    seen = [run for run in plan.cells if run.view == "semantic"]
    assert {run.options.made_by for run in seen} == {expert.identity}
    assert all(run.teacher == expert.identity for run in plan.runs if run.learning == "imitation")
    assert all(run.teacher_view == "pixels" for run in plan.runs if run.learning == "imitation")
    cells = [(run.view, run.learning, run.seed) for run in plan.cells]
    assert len(cells) == len(set(cells)) == 4 * TINY.seeds - 1  # one is the first part of the expert's
    assert {identity for run in plan.runs for identity in run.needs} <= {run.identity for run in plan.runs}
    for run in plan.runs:
        assert RunSettings.from_dict(json.loads(json.dumps(run.as_dict()))).identity == run.identity
    assert len({run.name for run in Plan((plan,)).runs}) == len(plan.runs)


def test_an_expert_may_be_asked_for_where_there_is_a_view_and_may_be_given(tmp_path):
    assert plan_diagnosis("own_games:Grid", TINY, semantic="expert", random=0.0, best=1.0).is_encoded
    assert plan_diagnosis("bossfight", TINY, semantic="expert").is_encoded
    assert not plan_diagnosis("own_games:Grid", TINY, random=0.0, best=1.0).is_encoded
    file = tmp_path / "expert.safetensors"
    save_policy(policy_of(game_options(HIDDEN), encoder="nature:32"), file, {})
    plan = plan_diagnosis(HIDDEN, TINY, teacher=file, random=0.0, best=1.0)
    assert plan.teacher_run is None
    seen = [run for run in plan.cells if run.view == "semantic"]
    assert {(run.options.encoder, run.options.made_by) for run in seen} == {("nature:32", plan.given_teacher.checksum)}


@pytest.mark.costly("envs/external/*.py")
def test_a_game_without_a_privileged_view_is_diagnosed(tmp_path, monkeypatch, tiny_preset):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    diagnosis = lcd.diagnose(HIDDEN, tiny_preset, out=tmp_path / "out", store=tmp_path / "store", random=0.0, best=1.0)
    assert diagnosis.settings["privileged_view"] == "expert"
    assert list(diagnosis.controls["encoder"].unique()) == ["expert", "random", "early"]
    found = diagnosis.controls[diagnosis.controls["encoder"] == "expert"].drop(columns="encoder")
    assert found.reset_index(drop=True).equals(diagnosis.demands)
    assert any("offers no privileged view" in caution for caution in diagnosis.verdict.cautions)
    for name in ("controls.csv", "diagnosis.png", "diagnosis.json"):
        assert (tmp_path / "out" / name).is_file()
    again = lcd.diagnose(HIDDEN, tiny_preset, out=tmp_path / "out", store=tmp_path / "store", random=0.0, best=1.0)
    assert again.controls.equals(diagnosis.controls)


def test_what_the_expert_sees_is_told_apart_from_random_weights():
    from lcd.measurement.intervals import Interval
    from lcd.studies.controls import _caution

    sure = Interval(0.3, 0.2, 0.4, "seeds")
    none = Interval(0.0, -0.1, 0.1, "seeds")
    assert "the rest is its perception" in _caution({"expert": sure, "random": none, "early": none})
    wide = replace(none, high=0.25)
    assert "little of P is perception" in _caution({"expert": sure, "random": wide, "early": none})
