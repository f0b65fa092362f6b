"""A run that is stopped anywhere goes on from its checkpoint as if nothing had happened, bit for bit."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lcd.agents import load_policy
from lcd.envs import GameOptions, ProcgenOptions, ProcgenVecEnv, make_vec_env
from lcd.envs.calibration.adaptors import CalibrationVecEnv
from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.envs.calibration.options import CourierOptions, TrackerOptions
from lcd.envs.external.batch import ExternalVecEnv
from lcd.envs.external.game import ExternalGame
from lcd.envs.family import game_options
from lcd.experiments.checkpoint import Checkpoint, RunStopped
from lcd.experiments.evaluation import EvaluationCallback
from lcd.experiments.improvements import IMPROVEMENTS
from lcd.experiments.job import sentence_of
from lcd.experiments.run import RunResult, train
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings
from lcd.teachers.library import shipped_teacher

pytestmark = pytest.mark.costly("lcd/teachers/data/*", "lcd/teachers/encoders/*.py")

HYPER = Hyperparameters(num_envs=4, rollout_steps=8, minibatches=2, epochs=1)
ROLLOUT = 32
STEPS = 5 * ROLLOUT


class Stopped(Exception):
    pass


def settings_of(game: str | GameOptions, view: str, learning: str, **others: Any) -> RunSettings:
    evaluation = Evaluation((0, 2 * ROLLOUT, STEPS), 1, inverse_temperatures=(1.0, 2.0))
    others = {"hyperparameters": HYPER, "teacher": "its checksum" if learning == "imitation" else None} | others
    options = game_options(game, num_levels=200) if isinstance(game, str) else game
    return RunSettings(options, view, learning, 0, STEPS, evaluation, "small", **others)


def trained(settings: RunSettings, folder: Path, stops: tuple[int, ...]) -> RunResult:
    """Train, stopping in the report of each of these steps and going on from the last checkpoint."""
    teacher = None
    if settings.learning == "imitation":
        teacher, _ = load_policy(shipped_teacher(settings.game)[0])

    for number, stop in enumerate((*stops, None)):
        workspace = folder / str(number)  # as the store gives a new one to each attempt
        workspace.mkdir(parents=True)

        def report(progress: Any, stop: int | None = stop) -> None:
            if progress.step == stop:
                raise Stopped

        try:
            return train(
                settings,
                workspace,
                teacher=teacher,
                report=report,
                device="cpu",
                checkpoint=folder / "run.pt",
                checkpoint_seconds=0.0,
            )
        except Stopped:
            assert stop is not None
    raise AssertionError


def log_of(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "progress.csv")
    return table.drop(columns=["time/fps", "time/time_elapsed"])


@pytest.mark.parametrize(
    "settings",
    [
        settings_of("bossfight", "pixels", "rl"),
        settings_of("bigfish", "pixels", "imitation"),  # themes of different sizes
        settings_of("dodgeball", "semantic", "rl", keep_best=True),  # headings are followed, weights kept
        settings_of("fruitbot", "pixels", "imitation", hyperparameters=Hyperparameters(4, 8, 2, 1, memory=2)),
        settings_of(CourierOptions(DifficultyFactors(distractors=0.5, slip=0.5, delay=0.5), 200), "semantic", "rl"),
        *(
            settings_of("bossfight", "pixels", "rl", improvement=name)
            for name, improvement in IMPROVEMENTS.items()
            if improvement.learner is not None
        ),
    ],
    ids=lambda settings: f"{settings.game}-{settings.view}-{settings.improvement or settings.learning}",
)
def test_a_stopped_run_equals_one_that_never_was(settings: RunSettings, tmp_path: Path) -> None:
    whole = trained(settings, tmp_path / "whole", ())
    # Twice in the same place: then a checkpoint is taken before anything was done.
    stops = (2 * ROLLOUT, 2 * ROLLOUT, 4 * ROLLOUT) if settings.learning == "rl" else (4 * ROLLOUT,)
    parts = trained(settings, tmp_path / "parts", stops)
    last = tmp_path / "parts" / str(len(stops))
    pd.testing.assert_frame_equal(whole.episodes, parts.episodes, check_exact=True)
    assert whole.teacher == parts.teacher
    assert whole.divergences == parts.divergences
    for name in ("policy.safetensors", *(["teacher.safetensors"] if settings.keep_best else [])):
        assert (tmp_path / "whole/0" / name).read_bytes() == (last / name).read_bytes()
    pd.testing.assert_frame_equal(log_of(tmp_path / "whole/0"), log_of(last), check_exact=True)


class AfterLooks(threading.Event):
    """Is set when it is looked at for the third time."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 2


@pytest.mark.parametrize("others", [{}, {"keep_best": True}])
def test_a_run_that_is_asked_to_stop_does_so_before_an_evaluation_too(others: Any, tmp_path: Path) -> None:
    settings = settings_of("bossfight", "semantic", "rl", **others)
    whole = trained(settings, tmp_path / "whole", ())
    evaluated: list[int] = []
    for number in range(99):
        (workspace := tmp_path / str(number)).mkdir()
        file, given = tmp_path / "run.pt", {"device": "cpu", "report": lambda progress: None, "teacher": None}
        try:
            parts = train(settings, workspace, checkpoint=file, stop=AfterLooks(), **given)  # type: ignore[arg-type]
        except RunStopped:
            evaluated.append(len(torch.load(file, weights_only=True)["state"]["evaluation"]["done"]))
        else:
            break
    assert evaluated[-1] == 2  # the last evaluation, which comes after all rollouts, had not begun
    assert number >= 3
    pd.testing.assert_frame_equal(whole.episodes, parts.episodes, check_exact=True)
    assert whole.teacher == parts.teacher


def test_commits_of_a_run_that_goes_on_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, commits = settings_of("bossfight", "semantic", "rl"), iter(["one", "other", "other"])
    monkeypatch.setattr("lcd.experiments.checkpoint.commit", lambda: next(commits))
    assert trained(settings, tmp_path, (2 * ROLLOUT, 4 * ROLLOUT)).commits == ("one", "other")


def test_games_that_nobody_can_save_go_on_to_the_next_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    begin = ExternalGame.begin

    def noted(game: ExternalGame, level: int) -> dict[str, np.ndarray]:
        begun.append(level)
        return begin(game, level)

    monkeypatch.setattr(ExternalGame, "begin", noted)
    options = game_options("own_games:Grid", num_levels=100_000, env_kwargs={"limit": 10**6})
    settings = replace(settings_of(options, "pixels", "rl"), evaluation=Evaluation((0, STEPS), 1))
    monkeypatch.setattr(EvaluationCallback, "_evaluate", lambda evaluation: None)
    with suppress(ValueError):  # nothing was evaluated
        trained(settings, tmp_path, (2 * ROLLOUT, 3 * ROLLOUT))
    new = [level for level in dict.fromkeys(begun) if level != 0]  # in which the spaces were read
    generators = [np.random.default_rng([0, index]) for index in range(HYPER.num_envs)]
    of_games = [[int(generator.integers(0, 100_000)) for _ in new] for generator in generators]
    for levels in of_games:
        met = [level for level in new if level in levels]
        assert met == levels[: len(met)]
    assert set(new) <= {level for levels in of_games for level in levels}
    assert len(new) >= 3 * HYPER.num_envs  # after two interruptions there are others than at first


def test_levels_that_were_chosen_are_chosen_after_a_checkpoint() -> None:
    options = game_options("own_games:Grid", num_levels=50)
    envs = [make_vec_env(options, 4) for _ in range(2)]
    for env in envs:
        env.reset()
    one, other = (env for env in envs if isinstance(env, ExternalVecEnv))
    one.set_next_levels(np.array([1]), np.array([17]))
    one.reset()
    other.restore(one.snapshot())
    one.reset()
    other.reset()
    found = [[info["level_seed"] for info in env.reset_infos] for env in (one, other)]
    assert found[0] == found[1]
    assert found[0][1] == 17
    with pytest.raises(RuntimeError, match=r"Call reset\(\)"):
        ExternalVecEnv(options, 4).snapshot()


def test_a_seed_counts_more_than_a_checkpoint() -> None:
    options = game_options("own_games:Grid", num_levels=50)
    one, other, third = (make_vec_env(options, 4, seed=seed) for seed in (0, 1, 2))
    assert isinstance(one, ExternalVecEnv)
    assert isinstance(other, ExternalVecEnv)
    one.reset()
    other.restore(one.snapshot())
    for env in (other, third):
        env.seed(5)
        env.reset()
    assert other.reset_infos == third.reset_infos


def test_numbers_of_threads_before_an_interruption_are_kept(tmp_path: Path) -> None:
    settings = settings_of("courier", "semantic", "rl")
    torch.set_num_threads(1)
    trained(settings, tmp_path / "first", ())
    content = torch.load(tmp_path / "first" / "run.pt", weights_only=True)
    assert content["state"]["threads"] == [1]
    content["state"]["threads"] = [2]
    (tmp_path / "second").mkdir()
    torch.save(content, tmp_path / "second" / "run.pt")
    assert trained(settings, tmp_path / "second", ()).threads == (2, 1)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcd.experiments.checkpoint.replacing", lambda path: nullcontext(Path("/dev/full")))
    with pytest.raises(OSError, match="No space left") as caught:
        Checkpoint(tmp_path / "run.pt", {}).write({"weights": torch.zeros(8)})
    assert "no space left on the disk" in sentence_of(caught.value)


def test_seconds_are_those_of_all_parts(tmp_path: Path) -> None:
    settings = settings_of("courier", "semantic", "rl")
    trained(settings, tmp_path / "first", ())
    file = tmp_path / "first" / "run.pt"
    content = torch.load(file, weights_only=True)
    content["state"]["seconds"] = 1000.0
    (tmp_path / "second").mkdir()
    torch.save(content, tmp_path / "second" / "run.pt")
    assert 1000 < trained(settings, tmp_path / "second", ()).seconds < 1100


def test_a_checkpoint_of_other_settings_or_versions_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    Checkpoint(file, {"run": "one", "torch": "2.0"}).write({"steps": 1})
    assert Checkpoint(file, {"run": "one", "torch": "2.0"}).read() == {"steps": 1}
    assert Checkpoint(file, {"run": "one", "torch": "2.1"}).read() is None
    assert Checkpoint(file, {"run": "two", "torch": "2.0"}).read() is None
    assert Checkpoint(tmp_path / "none.pt", {}).read() is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "run.pt"
    checkpoint = Checkpoint(file, {})
    checkpoint.write({"weights": np.arange(1000)})
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        buffer = io.BytesIO()
        torch.save([1, 2], buffer)
        content = bytearray(buffer.getvalue())
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt .*remove it, and the run begins anew"):
        checkpoint.read()


@pytest.mark.parametrize("view", ["pixels", "semantic", "both"])
@pytest.mark.parametrize(
    "options",
    [
        ProcgenOptions("ninja", num_levels=20),
        ProcgenOptions("plunder", num_levels=20),
        ProcgenOptions("starpilot", num_levels=20),
        CourierOptions(DifficultyFactors(distractors=1.0), 20),
        TrackerOptions(num_levels=20),
    ],
    ids=lambda options: getattr(options, "game", type(options).__name__),
)
def test_games_go_on_from_a_snapshot(options: Any, view: Any) -> None:
    first, second = (make_vec_env(options, 3, view, seed) for seed in (0, 1))
    assert isinstance(first, (ProcgenVecEnv, CalibrationVecEnv))
    random = np.random.default_rng(0)
    first.reset()
    actions = random.integers(first.action_space.n, size=(200, 3))
    for step in actions[:80]:
        first.step(step)
    second.restore(first.snapshot())
    for step in actions[80:]:
        one, other = first.step(step), second.step(step)
        for mine, theirs in zip(one[:3], other[:3], strict=True):
            if isinstance(mine, dict):
                assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
            else:
                assert np.array_equal(mine, theirs)
        assert [info["level_seed"] for info in one[3]] == [info["level_seed"] for info in other[3]]
    first.close()
    second.close()
