"""The session on a GPU that is lent for minutes: what is done, what is cut off, and what is not done twice."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import benchmark
import gpu_check
import gpu_session
import pandas as pd
import pytest
from gpu_session import Step, session
from in_process import InProcess
from running import run_script

from lcd.experiments.presets import PRESETS


def python(name, code, **bounds):
    return Step(name, (sys.executable, "-c", code), **bounds)


def hold(tmp_path, monkeypatch, steps, minutes=10.0):
    monkeypatch.setattr(gpu_session, "steps", lambda options: iter(steps))
    monkeypatch.setattr(gpu_session, "GRACE_SECONDS", 5.0)
    status = session(argparse.Namespace(out=tmp_path, minutes=minutes), time.monotonic())
    record = json.loads((tmp_path / "session.json").read_text())
    return status, {name: each["outcome"] for name, each in record.items()}


def test_steps_that_fail_or_last_too_long_keep_no_other_from_its_turn(tmp_path, monkeypatch):
    lasting = "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(60)"
    monkeypatch.chdir(tmp_path)
    steps = [
        python("good", "print('hello')"),
        python("bad", "raise SystemExit(2)"),
        python("long", lasting, most_seconds=2.0),
        python("last", "print('bye')"),
    ]
    began = time.monotonic()
    assert hold(tmp_path, monkeypatch, steps) == (
        1,
        {"good": "done", "bad": "failed", "long": "cut off", "last": "done"},
    )
    assert time.monotonic() - began < 30
    assert (tmp_path / "begun").exists()
    log = (tmp_path / "session.log").read_text()
    assert "hello" in log
    assert "bye" in log


def test_what_is_done_is_not_done_again_and_what_is_not_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counted = "open('{0}', 'a').write('x'); raise SystemExit({1})"
    assert (
        hold(tmp_path, monkeypatch, [python("a", counted.format("a", 0)), python("b", counted.format("b", 1))])[0] == 1
    )
    steps = [python("a", counted.format("a", 0)), python("b", counted.format("b", 0))]
    assert hold(tmp_path, monkeypatch, steps) == (0, {"a": "done", "b": "done"})
    assert (tmp_path / "a").read_text() == "x"
    assert (tmp_path / "b").read_text() == "xx"


def test_without_time_nothing_begins(tmp_path, monkeypatch):
    steps = [python("late", "open('late', 'w')")]
    monkeypatch.chdir(tmp_path)
    assert hold(tmp_path, monkeypatch, steps, minutes=0.0) == (3, {"late": "cut off"})
    assert not (tmp_path / "late").exists()


def test_the_worth_of_a_session_comes_first(tmp_path):
    options = argparse.Namespace(
        out=tmp_path, store=tmp_path / "store", survey="procgen-easy", encoders=["nature", "impala"], rehearse=False
    )
    steps = list(gpu_session.steps(options))
    assert [step.name for step in steps] == ["probe", "check", "benchmark nature", "benchmark impala", "survey"]
    assert all("cuda" in step.command for step in steps)
    assert sum(step.most_seconds for step in steps[:-1]) < 14 * 60, "time must be left for the survey"
    options.rehearse = True
    assert not any("cuda" in step.command for step in gpu_session.steps(options))


@pytest.mark.costly("scripts/*.py", "scripts/*/*.py")
def test_the_rehearsal_carries_out_every_step(tmp_path, monkeypatch):
    """In this process, but for what the benchmark measures."""
    from lcd.cli import main

    def carry_out(step, seconds, log):
        _, script, *arguments = step.command
        if script == "-c":
            status = run_script(main, *arguments[1:])
        elif Path(script).name == "gpu_check.py":
            status = run_script(gpu_check, *arguments)
        else:
            status = run_script(benchmark, *arguments)
        return gpu_session.FAILED if status else gpu_session.DONE

    monkeypatch.setattr(gpu_session, "carry_out", carry_out)
    monkeypatch.setattr("lcd.experiments.processes.LocalProcesses", InProcess)
    monkeypatch.setattr(gpu_session, "SMALLEST_SURVEY", gpu_session.SMALLEST_SURVEY + "evaluation_episodes = 2\n")
    assert run_script(gpu_session, "--out", tmp_path, "--minutes", 60, "--rehearse") == 0
    record = json.loads((tmp_path / "session.json").read_text())
    assert {name: each["outcome"] for name, each in record.items()} == dict.fromkeys(
        ("probe", "check", "benchmark nature", "survey"), "done"
    )
    probes = json.loads((tmp_path / "probe.json").read_text())
    assert [each["learning"] for each in probes] == ["rl", "imitation"]
    assert all(each["gradient differs by"] == 0 for each in probes)  # nothing is recorded on a CPU
    curves = pd.read_csv(tmp_path / "check.csv")
    assert curves.groupby("seed")["step"].apply(list).to_dict() == {0: [0, 1024], 1: [0, 1024]}
    (row,) = pd.read_csv(tmp_path / "benchmark-nature.csv").to_dict("records")
    assert row["gflops"] > 0
    assert (tmp_path / "survey" / "starpilot" / "diagnosis.json").is_file()


def test_curves_of_the_devices_are_compared_over_seeds():
    rows = [(device, seed, step, 10 * (device == "cuda") + seed) for device in ("cpu", "cuda") for seed in range(3)
            for step in (0, 1)]  # fmt: skip
    mean, low, high = gpu_check.difference_of_devices(pd.DataFrame(rows, columns=gpu_check.COLUMNS))
    assert mean == 10
    assert (low, high) == pytest.approx((10 - 2.267, 10 + 2.267), abs=1e-3)  # two-sided t of 4 degrees, 2.776 · √(2/3)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, False),
        ({"gradients recorded": False}, True),
        ({"gradient differs by": float("nan")}, True),
        ({"gradient differs by": 0.5}, True),
        ({"used MB": 5000}, True),
        ({"device": "cpu", "gradients recorded": False}, False),
    ],
)
def test_a_probe_says_what_is_not_as_it_is_meant_to_be(changed, wrong):
    row = {
        "device": "cuda",
        "rollouts recorded": True,
        "gradients recorded": True,
        "gradient differs by": 1e-3,
        "used MB": 900,
        "estimated MB": 1200,
    }
    assert gpu_check.is_wrong(row | changed) is wrong


def test_a_gpus_contenders_are_peers_a_run_and_a_plan_for_each_encoder():
    names = list(benchmark.gpu_contenders())
    for encoder in {"nature", "impala", PRESETS["standard"].encoder}:
        assert f"agents, {encoder}" in names
        assert f"agents, {encoder}, plan" in names
    for encoder in ("nature", "impala"):
        assert {f"SB3, {encoder}", f"plain PPO, {encoder}"} <= set(names)
    assert "matrix product" in names
    options = argparse.Namespace(gpu=True, threads=16, workers=4, device="cuda", game="coinrun")
    assert benchmark.processes_and_threads(benchmark.Contender("agents"), options) == (1, 16)
    assert benchmark.processes_and_threads(benchmark.Contender("agents", alone=False), options) == (4, 4)


@pytest.mark.parametrize(("script", "arguments"), [(benchmark, ["--device", "cuda"]), (gpu_check, ["probe"])])
def test_without_a_gpu_one_sentence_says_so(script, arguments, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert run_script(script, *arguments) == 2
    said = capsys.readouterr().err
    assert said.strip().endswith("there is no GPU that torch can use: choose cpu or auto.")
    assert "Traceback" not in said
