import json
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from tiny import TINY

from lcd.cli.display import estimate_table
from lcd.envs.family import game_options
from lcd.experiments.display import PlanDisplay, run_title
from lcd.experiments.evaluation import Progress
from lcd.experiments.execution import Event
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import Plan, evaluated_steps, plan_game
from lcd.experiments.presets import PRESETS, Preset
from lcd.experiments.resources import Resources
from lcd.experiments.run import learner
from lcd.experiments.settings import Hyperparameters, RunSettings
from lcd.experiments.store import Store
from lcd.experiments.timing import expected_seconds, kind_of, steps_per_second
from lcd.measurement.scores import CELLS
from lcd.studies.showing import reporting, showing


def test_every_cell_and_seed_is_trained_once():
    plan = plan_game("maze", TINY)
    assert [run for run in plan.runs if run not in plan.cells] == [plan.teacher_run]
    trained = [(run.view, run.learning, run.seed) for run in plan.cells]
    assert sorted(trained) == sorted((*cell, seed) for cell in CELLS.values() for seed in range(TINY.seeds))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_teacher_goes_on_from_the_best_learner_of_its_cell(factor):
    preset = replace(TINY, seeds=3, teacher_candidates=3, teacher_factor=factor)
    plan = plan_game("maze", preset)
    teacher = plan.teacher_run
    assert teacher is not None
    assert plan.candidates == tuple(run for run in plan.cells if (run.view, run.learning) == ("semantic", "rl"))
    assert teacher.candidates == teacher.needs == tuple(run.identity for run in plan.candidates)
    rollout = teacher.hyperparameters.rollout
    assert teacher.steps == max(rollout, plan.budget * (factor - 1))
    evaluation = plan.cells[0].evaluation
    first = tuple(step for step in teacher.evaluation.steps if step <= plan.budget)
    assert first == (evaluation.steps if factor > 1 else (0, rollout))
    alike = replace(teacher, steps=plan.budget, evaluation=evaluation, keep_best=False, candidates=())
    assert alike == plan.candidates[0]


def test_the_teacher_is_the_same_whatever_seeds_a_plan_has():
    plans = [plan_game("maze", replace(TINY, seeds=2, first_seed=first)) for first in (0, 7)]
    assert plans[0].teacher_run == plans[1].teacher_run
    assert {run.seed for run in plans[1].runs if run not in plans[1].cells} == {0, 1}


def test_only_a_learner_from_reward_goes_on_from_another():
    teacher, cells = (plan := plan_game("maze", TINY)).teacher_run, plan.cells
    assert teacher is not None
    assert RunSettings.from_dict(json.loads(json.dumps(teacher.as_dict()))) == teacher
    with pytest.raises(ValueError, match="Only a learner from reward goes on"):
        replace(next(run for run in cells if run.learning == "imitation"), candidates=teacher.candidates)


def test_games_come_one_after_the_other_those_first_that_others_need_and_imitation_last():
    plan = Plan((plan_game("maze", TINY), plan_game("heist", TINY)))
    assert [run.game for run in plan.runs] == sorted((run.game for run in plan.runs), key=["maze", "heist"].index)
    places = {run.identity: place for place, run in enumerate(plan.runs)}
    assert all(places[needed] < places[run.identity] for run in plan.runs for needed in run.needs)
    for game in ("maze", "heist"):
        learned = [run.learning for run in plan.runs if run.game == game]
        assert learned == sorted(learned, key=["rl", "imitation"].index)
    assert [run.keep_best for run in plan.runs].count(True) == 2


def test_a_given_teacher_replaces_the_trained_one(tmp_path):
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(b"weights")
    teacher = GivenTeacher.from_file(path)
    plan = plan_game("maze", TINY, teacher=teacher)
    assert plan.teacher_run is None
    assert {run.teacher for run in plan.cells if run.learning == "imitation"} == {teacher.checksum}
    path.write_bytes(b"other weights")
    other = plan_game("maze", TINY, teacher=GivenTeacher.from_file(path))
    assert {run.name for run in plan.cells} & {run.name for run in other.cells} == {
        run.name for run in plan.cells if run.learning == "rl"
    }


def test_budget_is_rounded_up_to_whole_rollouts():
    for steps in (1, 500_000, 999_999, 1_000_000):
        plan = plan_game("starpilot", replace(PRESETS["standard"], steps=steps))
        rollout = plan.cells[0].hyperparameters.rollout
        assert steps <= plan.budget < steps + rollout
        for run in plan.runs:
            assert run.evaluation.steps[0] == 0
            assert run.evaluation.steps[-1] == run.steps
            gaps = [later - sooner for sooner, later in pairwise(run.evaluation.steps)]
            assert all(gap > 0 and gap % rollout == 0 for gap in gaps)
            assert max(gaps) - min(gaps) <= rollout


@pytest.mark.parametrize(
    ("spacing", "rollouts"), [("even", [0, 5, 10, 14, 19, 24]), ("geometric", [0, 1, 2, 5, 11, 24])]
)
def test_evaluations_are_spread_as_asked_from_the_first_rollout_to_the_last(spacing, rollouts):
    preset = Preset(
        steps=24 * 512 - 100, seeds=1, evaluations=5, spacing=spacing, hyperparameters=Hyperparameters(rollout_steps=8)
    )
    rollout = preset.hyperparameters.rollout
    assert evaluated_steps(preset) == tuple(rollout * np.array(rollouts))
    short = replace(preset, steps=2 * rollout)
    assert evaluated_steps(short) == (0, rollout, 2 * rollout)


def test_settings_survive_json_and_any_change_is_another_run():
    run = plan_game("starpilot", TINY).cells[0]
    assert RunSettings.from_dict(json.loads(json.dumps(run.as_dict()))) == run
    changed = [
        replace(run, seed=run.seed + 1),
        replace(run, encoder="impala"),
        replace(run, options=replace(run.options, game="maze")),
        replace(run, options=replace(run.options, num_levels=100)),
        replace(run, options=replace(run.options, distribution_mode="hard")),
        replace(run, hyperparameters=replace(run.hyperparameters, learning_rate=1e-4)),
        replace(run, evaluation=replace(run.evaluation, num_envs=3)),
        replace(run, options=replace(run.options, use_monochrome_assets=True)),
    ]
    assert len({run.identity, *(other.identity for other in changed)}) == len(changed) + 1


def test_learners_that_differ_in_what_only_ppo_uses_share_the_learners_from_labels():
    def cells(**changes):
        preset = replace(TINY, hyperparameters=TINY.hyperparameters.changed(changes))
        runs = plan_game("maze", preset).cells
        return [{run.hyperparameters for run in runs if run.learning == name} for name in ("rl", "imitation")]

    usual, from_labels = cells()
    for name in ("gamma", "gae_lambda", "clip_range", "entropy"):
        others, shared = cells(**{name: 0.5})
        assert shared == from_labels
        assert not others & usual
    for name, value in (("learning_rate", 0.1), ("epochs", 2), ("mixing", 0.5)):
        assert not cells(**{name: value})[1] & from_labels


def test_how_a_game_is_drawn_reaches_the_runs_that_see_it_and_their_names():
    plan = plan_game(game_options("starpilot", appearance=["monochrome", "no-backgrounds", "monochrome"]), TINY)
    for run in plan.runs:
        seen = run.view == "pixels"
        assert run.options.use_monochrome_assets == seen
        assert run.options.use_backgrounds != seen
        assert run.name.startswith("starpilot-monochrome-no-backgrounds-") == seen


def test_appearances_share_the_runs_that_see_label_maps():
    plans = [plan_game(game_options("starpilot", appearance=appearance), TINY) for appearance in ([], ["monochrome"])]
    shared = set(plans[0].runs) & set(plans[1].runs)
    assert shared == {run for run in plans[0].runs if run.view == "semantic"}


def test_restricted_themes_reach_the_label_maps_of_games_whose_themes_have_shapes():
    """In bigfish a theme's shape decides what collides: frames without and label maps with themes are two games."""
    for game, follows in {"bigfish": True, "maze": False}.items():
        plan = plan_game(game_options(game, appearance=["restricted-themes", "monochrome"]), TINY)
        assert {run.options.restrict_themes for run in plan.runs if run.view == "semantic"} == {follows}
        assert not any(run.options.use_monochrome_assets for run in plan.runs if run.view == "semantic")


def test_runs_made_before_keep_their_identity(monkeypatch):
    """Nothing but the version of the training makes a run of before another one."""
    monkeypatch.setattr("lcd.experiments.settings.TRAINING_VERSION", 1)
    record = json.loads((Path(__file__).parents[1] / "docs/diagnoses/coinrun/plan.json").read_text())
    runs = [RunSettings.from_dict(run) for run in record["games"][0]["runs"]]
    assert [run.as_dict() for run in runs] == record["games"][0]["runs"]
    assert "coinrun-pixels-rl-seed0-75e726901157" in {run.name for run in runs}
    run = next(run for run in runs if run.name.startswith("coinrun-pixels-rl-seed0"))
    changes: dict[str, dict[str, Any]] = {
        "9a1de6bf6b0f": {"encoder": "nature+frozen"},
        "a1e372668a8a": {"encoder": "nature+tuned=1e-4"},
        "f11958047fe0": {"encoder": "efficientnet_lite0"},
        "322b53439e4b": {"encoder": "efficientnet_lite0+frozen"},
        "a000a1901c13": {"harmonizer": 1.0},
        "a1e6b6ffdeeb": {"options": replace(run.options, use_monochrome_assets=True)},
    }
    assert [replace(run, **change).identity for change in changes.values()] == list(changes)


def test_a_plan_takes_no_less_than_its_longest_run_after_its_teachers():
    plan = plan_game("maze", replace(TINY, seeds=1))
    rates = {kind_of(run): 10.0 for run in plan.runs}
    whole = sum(run.steps for run in plan.runs) / 10
    assert expected_seconds(plan.runs, rates, 1) == pytest.approx(whole)
    assert plan.teacher_run is not None
    taught = (plan.budget + plan.teacher_run.steps + plan.budget) / 10
    assert expected_seconds(plan.runs, rates, 1000) == pytest.approx(taught)
    assert expected_seconds(plan.cells, rates, 1000) == pytest.approx(plan.budget / 10)  # the teacher is there
    assert expected_seconds([], rates, 2) == 0


def test_games_of_one_speed_are_measured_once():
    kinds = [
        {kind_of(run) for run in plan_game(game, TINY).cells} for game in ("maze", "starpilot", "courier", "tracker")
    ]
    assert kinds[0] == kinds[1]
    assert not kinds[0] & kinds[2]
    assert not kinds[2] & kinds[3]


def test_times_are_of_the_runs_that_are_missing_and_of_the_device_that_trains(tmp_path, monkeypatch):
    devices = []

    def speed(run, threads, device):
        devices.append(device)
        return 10.0

    monkeypatch.setattr("lcd.experiments.timing.steps_per_second", speed)
    plan, store = Plan((plan_game("maze", TINY),)), Store(tmp_path)
    for run in plan.runs:
        if run.learning == "rl":
            store.folder(run).mkdir()
    monkeypatch.setattr("lcd.experiments.resources.resolve_device", lambda device: device)
    table, sentence = estimate_table(plan, store, Resources("cuda", workers=2, threads=1))
    assert set(devices) == {"cuda"}
    assert set(table.columns[3].cells) == {"imitation"}
    assert sentence.startswith(f"4 runs that {tmp_path} does not hold yet, 2.05k steps, about 2 min in 2 workers")
    episodes = sum(run.evaluation.episodes for run in plan.runs if not store.has(run))
    assert sentence.endswith(f"0.1 core-hours and 0.0 GPU-hours, besides evaluations: up to {episodes} episodes.")


def test_the_time_that_is_left_counts_only_what_is_trained_now(monkeypatch):
    clock, written = [0.0], StringIO()
    monkeypatch.setattr("lcd.experiments.display.time.monotonic", lambda: clock[0])
    run = plan_game("maze", TINY).cells[0]
    steps = (run.steps // 2, run.steps * 3 // 4)
    plan = Plan((replace(plan_game("maze", TINY), cells=(run,), teacher_run=None, candidates=()),))
    with PlanDisplay(plan, Console(file=written, width=200)) as display:
        display(Event("started", run))
        for at, step in zip((90.0, 180.0), steps, strict=True):  # it goes on from a checkpoint at half of it
            clock[0] = at
            display(Event("progress", run, Progress(step, run.steps, 1.0, 0.0, 0.0)))
    assert written.getvalue().splitlines()[-1].endswith("1 steps/s  3 min left")  # a quarter in 3 min, as much is left


@pytest.mark.parametrize("progress", [True, False])
def test_the_runs_of_a_plan_are_shown_and_told_as_is_asked(progress, capsys):
    heard = []
    plan = Plan((plan_game("maze", TINY),))
    begun = [Event("started", run) for run in plan.runs[:2]]
    with showing(progress, heard.append)(plan) as listener:
        for event in begun:
            listener(event)
    reporting(progress)("an encoder is pretrained")
    printed = capsys.readouterr()
    assert heard == begun
    assert printed.out == ""
    titles = [f"{run_title(run, plan.roles.get(run.identity))}: started" for run in plan.runs[:2]]
    assert printed.err.splitlines() == ([*titles, "an encoder is pretrained"] if progress else [])


def test_a_speed_is_measured_on_the_device_that_is_asked_for(monkeypatch):
    devices = []

    def stand_in(run, teacher, device, num_threads):
        devices.append(device)
        model = SimpleNamespace(policy=None, learn=lambda steps, **others: None, period=1, shorten=lambda share: None)
        return model, SimpleNamespace(close=lambda: None)

    monkeypatch.setattr("lcd.experiments.run.learner", stand_in)
    run = next(run for run in plan_game("maze", TINY).cells if run.learning == "imitation")
    assert steps_per_second(run, torch.get_num_threads(), "cuda") > 0
    assert devices == ["cuda", "cuda"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"game": "starpilto"}, "starpilot"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"seeds": -1}, "seeds must be at least 1, not -1"),
        ({"encoder": "vgg"}, "vgg"),
        ({"num_levels": 0}, "num_levels"),
        ({"appearance": ["plain"]}, "Unknown appearance 'plain': choose among no-backgrounds"),
        ({"game": "bigfish", "appearance": ["plain"]}, "Unknown appearance 'plain': choose among no-backgrounds"),
        ({"distribution_mode": "memory"}, "memory"),
        ({"distribution_mode": "impossible"}, "impossible"),
    ],
)
def test_impossible_plans_are_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        settings = {"game": "maze"} | arguments
        changes = {name: settings.pop(name) for name in arguments if hasattr(TINY, name)}
        plan_game(game_options(**settings), replace(TINY, **changes))
    assert "\n" not in str(caught.value)


def test_a_run_is_the_same_wherever_the_file_of_its_weights_lies(tmp_path, monkeypatch):
    file = tmp_path / "encoder.pt"
    file.write_bytes(b"one")
    monkeypatch.chdir(tmp_path)
    plans = [
        plan_game("maze", replace(TINY, encoder=f"nature@{path}")) for path in (file, "encoder.pt", "./encoder.pt")
    ]
    assert len({plan.cells[0].name for plan in plans}) == 1
    runs = Plan(tuple(plans)).runs
    assert len(runs) == len(plans[0].runs)

    store, episodes = Store("runs"), pd.DataFrame({"step": [plans[0].budget]})
    with store.workspace(plans[0].cells[0]) as workspace:
        store.finish(plans[0].cells[0], workspace, episodes, 1.0, None, {"threads": 1})
    assert store.load(plans[1].cells[0]).settings == plans[1].cells[0]


def test_a_run_is_known_by_the_weights_of_its_encoder(tmp_path):
    file = tmp_path / "encoder.pt"
    file.write_bytes(b"one")
    encoder = f"nature@{file}"
    first = plan_game("maze", replace(TINY, encoder=encoder)).cells[0]
    assert RunSettings.from_dict(first.as_dict()) == first
    file.write_bytes(b"another")
    second = plan_game("maze", replace(TINY, encoder=encoder)).cells[0]
    assert first.identity != second.identity
    ways = [f"{encoder}{manner}" for manner in ("+frozen", "+tuned", "+tuned=1e-4", "+tuned=1.00000001e-4")]
    assert [replace(second, encoder=way).identity == second.identity for way in ways] == [True, False, False, False]
    assert len({replace(second, encoder=way).identity for way in ways}) == len(ways)
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        learner(first, None, "cpu", 0)
    with pytest.raises(ValueError, match="belongs to an encoder with a weights file"):
        replace(first, encoder_checksum=None)
    file.unlink()
    with pytest.raises(ValueError, match="There is no file of weights"):
        plan_game("maze", replace(TINY, encoder=encoder))
    assert "encoder_checksum" not in plan_game("maze", TINY).cells[0].as_dict()  # runs made before keep their identity
