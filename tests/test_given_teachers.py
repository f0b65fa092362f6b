"""Teachers in files of the user: what is damaged, lost or changed teaches nobody."""

import shutil
from dataclasses import replace

import pytest
import torch
from tiny import GAME, TINY

from lcd.agents import load_policy, save_policy
from lcd.experiments.execution import RunFailed, execute
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import Plan, plan_game
from lcd.experiments.store import Store
from lcd.studies.finished_runs import _evaluate_given
from lcd.studies.planning import plan_diagnosis

pytestmark = pytest.mark.costly("lcd/teachers/data/*", "lcd/teachers/encoders/*.py")

pytest_plugins = ["trained"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_before_anything_is_trained(copied, game_plan, tmp_path, wrong):
    policy, card = load_policy(copied.teacher_file(game_plan.teacher_run))
    with torch.no_grad():
        policy.action_net.weight[0, 0] = wrong
    save_policy(policy, tmp_path / "teacher.safetensors", card)
    with pytest.raises(ValueError, match=r"teacher\.safetensors .*action_net\.weight.*not finite"):
        plan_diagnosis(GAME, TINY, distribution_mode="easy", teacher=tmp_path / "teacher.safetensors")


def test_a_given_teacher_that_changes_after_its_plan_is_not_measured(copied, game_plan, tmp_path):
    file = tmp_path / "teacher.safetensors"
    shutil.copy(copied.teacher_file(game_plan.teacher_run), file)
    plan = plan_game(GAME, replace(TINY, seeds=1), teacher=GivenTeacher.from_file(file))
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"teacher\.safetensors is gone or has changed since"):
        _evaluate_given(plan, plan.given_teacher)


@pytest.mark.parametrize("loss", ["gone", "changed"])
def test_a_teacher_that_is_lost_on_the_way_is_reported(game_plan, finished, tmp_path, loss):
    file = tmp_path / "teacher.safetensors"
    shutil.copy(finished[0].teacher_file(game_plan.teacher_run), file)
    plan = plan_game(GAME, replace(TINY, seeds=1), teacher=GivenTeacher.from_file(file))
    if loss == "gone":
        file.unlink()
    else:
        other = load_policy(file)[0]
        with torch.no_grad():
            next(other.parameters()).add_(1)
        save_policy(other, file, {})
    with pytest.raises(RunFailed, match=rf"teacher\.safetensors .*{loss}"):
        execute(Plan((plan,)), Store(tmp_path / "runs"), workers=2, threads=1)
