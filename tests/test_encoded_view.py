"""The frozen encoder of an expert as the privileged view of a game that offers none."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import lcd as lcd_command
from in_process import InProcess
from tiny import TINY

import lcd
from lcd.agents import EncoderPolicy, save_policy
from lcd.envs import make_vec_env
from lcd.envs.family import game_options, observation_space, options_from_record, policy_spaces, runs_others_code
from lcd.experiments.display import run_title
from lcd.experiments.encoded_view import EncodedOptions, locate
from lcd.experiments.plan import Plan
from lcd.experiments.settings import RunSettings
from lcd.io.files import checksum
from lcd.measurement.scores import CELLS, COLUMNS, Normalisation
from lcd.studies.controls import VIEW, _judged, with_controls
from lcd.studies.diagnosis import Diagnosis
from lcd.studies.planning import plan_diagnosis

RUN = "0123456789ab"
"""Identity of a run that nobody made."""

HIDDEN = "own_games:Hidden"
"""A game whose labels the LCD does not find."""


def policy_of(options, seed=1, encoder="nature"):
    torch.manual_seed(seed)
    return EncoderPolicy(*policy_spaces(options, "pixels"), lambda left: 0.0, encoder, mixed_precision=False)


def test_the_view_is_what_the_encoder_gives(tmp_path):
    options = game_options(HIDDEN, num_levels=20)
    policy = policy_of(options)
    file = tmp_path / "expert.safetensors"
    save_policy(policy, file, {})
    locate({checksum(file): file, RUN: file})
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        make_vec_env(EncodedOptions(options, "nature", RUN), 3, "both")  # which no run has made
    env = make_vec_env(EncodedOptions(options, "nature", checksum(file)), 3, "both", seed=1)
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
    with pytest.raises(ValueError, match="encoder of 000000000000, which is not there"):
        make_vec_env(EncodedOptions(game_options(HIDDEN, num_levels=5), "nature", "0" * 12), 1, "semantic")


def test_options_are_written_and_read():
    options = EncodedOptions(game_options(HIDDEN, num_levels=20), "nature:32", RUN)
    record = json.loads(json.dumps(options.as_record()))
    assert options_from_record(record)[0] == options
    assert options.unseen_levels(20).base == options.base.unseen_levels(20)
    assert observation_space(options, "semantic").shape == (32,)
    with pytest.raises(ValueError, match="Unknown family"):
        options_from_record(record | {"family": "of nobody"})
    for name, wrong in (
        ("view_encoder", "nature@/a/file"),
        ("view_encoder", "own_encoders:Tiny"),
        ("view_encoder", "nature+frozen"),
        ("view_made_by", "../../x"),
    ):
        with pytest.raises(ValueError, match="The encoder of a view"):
            options_from_record(record | {name: wrong})


def test_the_plan_trains_an_expert_and_two_controls():
    plan = plan_diagnosis(HIDDEN, TINY, random=0.0, best=1.0)
    expert, early = plan.teacher_run, plan.early_run
    assert (expert.view, expert.learning, expert.steps) == ("pixels", "rl", plan.budget * (TINY.teacher_factor - 1))
    assert plan.candidates == tuple(run for run in plan.cells if (run.view, run.learning) == ("pixels", "rl"))
    assert (early.view, early.steps) == ("pixels", plan.budget // 4)
    makers = {name: {run.options.made_by for run in runs} for name, runs in plan.controls}
    assert makers == {"random": {None}, "early": {early.identity}}
    seen = [run for run in plan.cells if run.view == "semantic"]
    assert {run.options.made_by for run in seen} == {expert.identity}
    assert all(run.teacher == expert.identity for run in plan.runs if run.learning == "imitation")
    assert all(run.teacher_view == "pixels" for run in plan.runs if run.learning == "imitation")
    cells = [(run.view, run.learning, run.seed) for run in plan.cells]
    assert len(cells) == len(set(cells)) == 4 * TINY.seeds
    assert {identity for run in plan.runs for identity in run.needs} <= {run.identity for run in plan.runs}
    for run in plan.runs:
        assert RunSettings.from_dict(json.loads(json.dumps(run.as_dict()))).identity == run.identity
    assert len({run.name for run in Plan((plan,)).runs}) == len(plan.runs)
    no_cells = [run for run in plan.runs if run not in plan.cells]
    assert Plan((plan,)).roles == {run.identity: plan.roles[run.identity] for run in no_cells}
    assert plan.roles[expert.identity] == "teacher"
    for name, runs in plan.controls:
        assert run_title(runs[0], plan.roles[runs[0].identity]).endswith(f"(control {name}), seed {runs[0].seed}")


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


def test_only_games_of_other_packages_run_others_code_in_an_encoders_view_too():
    assert not runs_others_code(EncodedOptions(game_options("maze"), "nature"))
    assert runs_others_code(EncodedOptions(game_options(HIDDEN), "nature"))


@pytest.mark.parametrize("semantic", [None, "expert"])
def test_a_plan_in_another_precision_is_the_one_that_another_machine_makes(semantic):
    one, other = (
        plan_diagnosis("own_games:Grid", replace(TINY, precision=precision), semantic=semantic, random=0.0, best=1.0)
        for precision in ("float32", "bfloat16")
    )
    assert one.in_precision("bfloat16") == other
    assert {run.identity for run in one.runs}.isdisjoint({run.identity for run in other.runs})


@pytest.mark.costly("envs/external/*.py")
def test_a_game_without_a_privileged_view_is_diagnosed(tmp_path, monkeypatch, tiny_preset):
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    diagnosis = lcd.diagnose(HIDDEN, tiny_preset, out=tmp_path / "out", store=tmp_path / "store", random=0.0, best=1.0)
    assert diagnosis.settings["privileged_view"] == "expert"
    assert [tuple(row) for row in diagnosis.controls[["control", "learning"]].to_numpy()] == [
        ("random", "imitation"),
        ("random", "rl"),
        ("early", "imitation"),
        ("early", "rl"),
    ]
    scores = diagnosis.scores[(diagnosis.scores["levels"] == "unseen") & (diagnosis.scores["view"] == "semantic")]
    for row in diagnosis.controls.to_dict("records"):
        own = scores.loc[scores["learning"] == row["learning"], "area"].mean()
        assert row["gain"] == pytest.approx(own - row["score"])
    assert VIEW in diagnosis.verdict.cautions
    no_place = r"^'[^']*Hidden' has no privileged view of its own, .* Diagnose it alone, or give it a label map.$"
    with pytest.raises(ValueError, match=no_place):
        lcd.SurveyTables.of([diagnosis])
    with pytest.raises(ValueError, match=no_place):
        lcd.SurveyTables.read(tmp_path / "out")
    for run in (tmp_path / "store").glob("Hidden-*-rl-seed1-*"):
        watched = lcd_command("watch", HIDDEN, "--run", run, "--max-steps", 4, cwd=tmp_path)
        assert watched.returncode == 0, watched.stderr
    for name in ("controls.csv", "diagnosis.png", "diagnosis.json"):
        assert (tmp_path / "out" / name).is_file()
    again = lcd.diagnose(HIDDEN, tiny_preset, out=tmp_path / "out", store=tmp_path / "store", random=0.0, best=1.0)
    assert again.controls.equals(diagnosis.controls)


def with_cells(**means):
    """Episodes of the cells with these letters, whose scores are a mean each, with three seeds around it."""
    rows = []
    for letter, mean in means.items():
        view, learning = CELLS[letter]
        for seed, off in enumerate((-0.01, 0.0, 0.01)):
            for levels in ("training", "unseen"):
                for step in (0, 100):
                    returns = mean + off + np.array([-0.02, 0.02])
                    rows += [
                        ("game", view, learning, seed, step, levels, number, number, value, 5)
                        for number, value in enumerate(returns.tolist())
                    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize(
    ("control", "words"), [(0.4, "more than that"), (0.9, "no more than that"), (0.86, "whether more is open")]
)
def test_a_control_is_compared_seed_by_seed_whatever_cell_c_is(control, words):
    constants = Normalisation(0, 1, "given")
    episodes = with_cells(a=0.1, b=0.3, c=0.5, d=0.9)
    noise = episodes["seed"].map({0: -0.3, 1: 0.0, 2: 0.3}) * (episodes["view"] == "pixels")
    episodes["return"] += noise  # of the cells on frames, which the comparison leaves out
    diagnosis = Diagnosis.from_episodes(episodes, game="game", budget=100, normalisation=constants)
    spread = {0.86: 0.1}.get(control, 0.0)
    others = with_cells(b=0.3, d=control)
    others["return"] += others["seed"].map({0: -spread, 1: 0.0, 2: spread})
    found = with_controls(diagnosis, {"random": others})
    said = found.verdict.cautions[-2]
    assert said.startswith(f"With imitation, the expert's encoder brings {0.9 - control:.2f} [")
    assert said.endswith(f"beyond one with random weights: {words}.")
    assert found.controls.loc[0, "gain"] == pytest.approx(0.9 - control)


def test_a_single_seed_decides_nothing():
    row = {"control": "early", "learning": "rl", "gain": 0.3, "gain_low": np.nan, "gain_high": np.nan}
    assert _judged(row).endswith("beyond one with a short training; more seeds would give limits.")
