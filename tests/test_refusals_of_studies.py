"""What a review of the studies' refusals found: outputs that were inputs, and values that ended in something else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import lcd as lcd_command
from gymnasium import spaces

import lcd
from lcd.agents import DAgger, EncoderPolicy, load_policy, save_backbone, save_policy
from lcd.alignment.visualisation import Optimisation
from lcd.experiments.executor import Share
from lcd.experiments.executors import parse_executor
from lcd.experiments.job import Job
from lcd.experiments.plan import plan_game
from lcd.experiments.presets import PRESETS
from lcd.experiments.slurm_jobs import SlurmJobs, SlurmRun
from lcd.experiments.store import Store

FRAMES = spaces.Box(0, 255, (3, 64, 64), np.uint8)
LABELS = spaces.Box(0, 64, (64, 64), np.uint8)


def policy(space=FRAMES):
    torch.manual_seed(0)
    return EncoderPolicy(space, spaces.Discrete(15), lambda left: 0.0, "small")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save_policy(policy(), folder / "policy.safetensors", {"game": "maze"})
    return folder


def recording(file: Path, **changed) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"responses": rng.normal(size=(2, 40, 3)), "images": rng.integers(0, 255, (40, 64, 64, 3), np.uint8)}
    np.savez(file, **(arrays | changed))
    return file


def test_no_output_is_a_file_that_is_read(tmp_path, run):
    weights = tmp_path / "small.safetensors"
    save_backbone(policy().features_extractor, weights, "small", {})
    recording(tmp_path / "a.npz")
    before = {file: file.read_bytes() for file in (run / "policy.safetensors", weights)}
    read = "policy.safetensors"
    for arguments in (
        ["align", "run", "--maps", "IMG,MAP", "--source", "human", "--out", f"run/{read}"],
        ["neural", "small@small.safetensors+frozen", "a.npz", "--out", "small.safetensors"],
        ["neural", "run", "a.npz", "--out", f"run/{read}"],
        ["pretrain", "maze", "--objective", "inverse-dynamics", "--agent", f"run/{read}", "--out", f"run/{read}"],
        ["harmonize", "maze", "--teacher", f"run/{read}", "--out", f"run/{read}"],
    ):
        done = lcd_command(*arguments, cwd=tmp_path)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert "is read as well, and would be overwritten" in done.stderr, (arguments, done.stderr)
    for file, content in before.items():
        assert file.read_bytes() == content


def test_images_of_two_targets_are_not_one_file(tmp_path, run):
    for name in ("d.npz", "other/d.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / name, direction=np.ones(16, np.float32))
    both = f"backbone.0:{tmp_path}/d.npz,backbone.0:{tmp_path}/other/d.npz"
    done = lcd_command("visualize", "run", "--target", both, "--steps", "1", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "would both be in the file backbone.0-d.png" in done.stderr


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ceilings": np.ones(3) + 1j}, "not real numbers"),
        ({"responses": np.random.default_rng(0).normal(size=(2, 40, 3)) * 1e200}, "more than 1e+100: scale them"),
        ({"images": np.array(1, np.uint8)}, "images as uint8 of 4 dimensions"),
        ({"images": np.zeros((0, 64, 64, 3), np.uint8)}, "images as uint8 of 4 dimensions"),
    ],
)
def test_arrays_that_cannot_be_recordings_are_one_sentence(tmp_path, changed, words):
    recording(tmp_path / "a.npz", **changed)
    done = lcd_command("neural", "small", "a.npz", "--folds", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "neural.csv").exists()


def test_responses_too_small_to_correlate_are_one_sentence(tmp_path):
    recording(tmp_path / "a.npz", responses=np.random.default_rng(0).normal(size=(2, 40, 3)) * 1e-310)
    done = lcd_command("neural", "small", "a.npz", "--folds", "3", "--components", "1", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "neural.csv").exists()


def test_labels_that_a_policy_does_not_know_are_one_sentence(tmp_path):
    save_policy(policy(LABELS), tmp_path / "policy.safetensors", {})
    recording(tmp_path / "a.npz", labels=np.full((40, 64, 64), 255, np.uint8))
    done = lcd_command("neural", "policy.safetensors", "a.npz", "--folds", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert "knows labels up to 64, and the label maps hold 255" in done.stderr


@pytest.mark.parametrize("rate", [0, -1, 1e300, float("nan")])
def test_learning_rates_that_torch_does_not_take_are_refused(rate):
    with pytest.raises(ValueError, match=r"learning_rate|learning rate"):
        Optimisation(learning_rate=rate)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method,game,score\nNone,maze,1\nNone,heist,2\nA,maze,1\nA,heist,2\n", None),
        ("method,game,score\nA,NA,1\nA,heist,2\nB,NA,1\nB,heist,2\n", None),
        ("method,game,score\n\n\nA,maze,1\nA,heist,x\nB,maze,1\n", "line 5"),
        ("method,game,score\nA,maze,null\nA,heist,1\nB,maze,1\n", "line 2"),
    ],
)
def test_names_in_a_table_of_scores_are_names_and_lines_are_counted(tmp_path, text, words):
    (tmp_path / "scores.csv").write_text(text)
    done = lcd_command("audit", "scores.csv", "--out", "audit", cwd=tmp_path)
    if words is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2, done.stdout
        assert words in done.stderr


@pytest.mark.parametrize("executor", ["slurm:time=abc", "slurm:gpus=0.5", "ray:auto,gpus=-1", "ray:auto,cpus=0"])
def test_settings_of_an_executor_are_checked_at_once(executor):
    with pytest.raises(ValueError, match=r"is no time limit|is not a number above 0"):
        parse_executor(executor)


@pytest.fixture
def silent_slurm(tmp_path, monkeypatch):
    """Commands of Slurm, and no controller that answers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (folder / name).write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_slurm_that_does_not_answer_is_one_sentence_and_leaves_no_files(tmp_path, silent_slurm):
    jobs = SlurmJobs(Store(tmp_path / "store"))
    with pytest.raises(ValueError, match="Unable to contact slurm controller"):
        jobs.call(len, [])
    run = plan_game("maze", PRESETS["smoke"]).cells[0]
    jobs.start(run, {})
    with pytest.raises(ValueError, match="Unable to contact slurm controller"):
        list(jobs.wait())
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not left
    assert subprocess.run(["squeue"], capture_output=True).returncode == 1


def test_what_jobs_leave_is_read_with_care(tmp_path):
    run = plan_game("maze", PRESETS["smoke"]).cells[0]
    each = SlurmRun(Job.of(run, {}, Share()), tmp_path, tmp_path / "progress.json")
    jobs = SlurmJobs(Store(tmp_path / "store"), cluster="local")
    for content in (b"[" * 100_000, b"[]", b"null", b"\xff"):
        each.progress.write_bytes(content)
        assert list(jobs._progress(each)) == []
    each.progress.with_suffix(".failed").write_bytes(b"\xff hangs")
    assert jobs._lost(None, each).endswith("hangs")


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: lcd.audit(folder / "scores.csv", taxonomy=5),
        lambda folder: lcd.harmonize_images(folder, weights=folder / "w.safetensors", encoder=5),
        lambda folder: load_policy(5),
        lambda folder: DAgger(memory="a"),
        lambda folder: DAgger(memory=2.5),
        lambda folder: DAgger(mixing="a"),
        lambda folder: lcd.perspective(["nature"], finetune=5),
        lambda folder: lcd.predict_responses("nature", folder / "a.npz", components=5),
    ],
)
def test_arguments_of_a_wrong_type_are_one_sentence(tmp_path, call):
    (tmp_path / "scores.csv").write_text("method,game,score\nA,maze,1\nA,heist,2\nB,maze,2\nB,heist,1\n")
    with pytest.raises(ValueError, match=r"must be|is a list|true or false|of file"):
        call(tmp_path)
