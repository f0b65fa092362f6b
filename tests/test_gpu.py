"""How many runs a GPU takes at once, by the memory that they need, and what is said where it runs out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from stable_baselines3.common.vec_env import VecTransposeImage
from tiny import TINY

from lcd.agents import EncoderPolicy
from lcd.agents.activations import bytes_per_image
from lcd.envs import ProcgenOptions, ProcgenVecEnv
from lcd.experiments.gpu import CONTEXT_BYTES, bytes_of_run, workers_for, workers_on_gpu
from lcd.experiments.host import free_host_bytes, usable_cores
from lcd.experiments.job import sentence_of
from lcd.experiments.plan import plan_game
from lcd.experiments.resources import chosen_workers, resolve_device
from lcd.experiments.settings import Hyperparameters

GB = 2**30


@pytest.mark.parametrize(
    ("free", "cores", "host", "needed", "workers"),
    [
        (78 * GB, 16, 128 * GB, GB, 16),  # as many as there are cores
        (78 * GB, 16, 128 * GB, 8 * GB, 9),  # as many as the GPU's memory holds, with some left free
        (78 * GB, 16, 24 * GB, GB, 8),  # as many as the machine's memory holds
        (78 * GB, 16, None, GB, 16),
        (4 * GB, 16, 128 * GB, 8 * GB, 1),  # one at least: it may fit
        (78 * GB, 1, 128 * GB, GB, 1),
        (0, 4, 0, GB, 1),
    ],
)
def test_as_many_runs_at_once_as_cores_and_memory_allow(free, cores, host, needed, workers):
    assert workers_on_gpu(free, cores, host, needed) == workers


def run_of(encoder, minibatch=2048, view="pixels", **changes):
    hyper = Hyperparameters(num_envs=64, rollout_steps=256, minibatches=64 * 256 // minibatch)
    (run, *_) = plan_game("starpilot", replace(TINY, hyperparameters=hyper, encoder=encoder)).cells
    return replace(run, view=view, **changes)


def test_what_an_image_leaves_is_what_its_layers_give():
    env = VecTransposeImage(ProcgenVecEnv(ProcgenOptions("maze"), 1))
    policies = [
        EncoderPolicy(env.observation_space, env.action_space, lambda _: 0.0, "nature", mixed_precision=half)
        for half in (True, False)
    ]
    half, full = map(bytes_per_image, policies)
    images, layers = 3 * 60 * 60, 32 * 14 * 14 + 64 * 6 * 6 + 64 * 4 * 4
    assert 2 * (images + layers) <= half <= 2 * (images + layers) + 20_000  # the rest are the heads' numbers
    assert 1.8 * half < full <= 2 * half


def test_larger_networks_and_minibatches_need_more_of_a_gpu():
    needed = [bytes_of_run(run_of(*each)) for each in (("nature", 256), ("nature", 2048), ("impala", 2048))]
    assert CONTEXT_BYTES < needed[0] < needed[1] < needed[2]
    assert needed[1] < 3 * GB
    assert 3 * GB < needed[2] < 16 * GB
    assert bytes_of_run(run_of("impala", 16_384)) == pytest.approx(2 * needed[2], rel=0.35), "4,096 images at once"
    beyond = needed[2] - CONTEXT_BYTES
    assert bytes_of_run(run_of("impala"), half_precision=False) - CONTEXT_BYTES > 1.5 * beyond
    assert (
        bytes_of_run(run_of("impala", harmonizer=1.0, teacher="x" * 64, learning="imitation")) - CONTEXT_BYTES
        > 1.5 * beyond
    )


def test_a_vector_and_two_networks_are_counted_as_what_they_are():
    (run, *_) = plan_game("own_games:Remembered", TINY).cells
    needed = {view: bytes_of_run(replace(run, view=view)) for view in ("pixels", "semantic")}
    assert CONTEXT_BYTES < needed["semantic"] < needed["pixels"]
    plain, improved = bytes_of_run(run_of("impala")), bytes_of_run(run_of("impala", improvement="decoupled"))
    assert improved - CONTEXT_BYTES > 1.8 * (plain - CONTEXT_BYTES)


def test_a_network_of_somebody_else_is_not_fetched_to_learn_its_size():
    assert bytes_of_run(run_of("hf:nobody/nothing")) > 4 * GB


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of which torch would say that it is there; nothing computes on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (78 * GB, 80 * GB))
    monkeypatch.setattr("lcd.agents.machine.bfloat16_is_fast", lambda device: True)
    for module in ("gpu", "resources"):
        monkeypatch.setattr(f"lcd.experiments.{module}.free_host_bytes", lambda: 128 * GB)
    monkeypatch.setattr("lcd.experiments.resources.usable_cores", lambda: 16)


def test_threads_of_the_workers_are_no_more_than_cores(monkeypatch):
    monkeypatch.setattr("lcd.experiments.resources.usable_cores", lambda: 4)
    monkeypatch.setattr("lcd.experiments.resources.free_host_bytes", lambda: None)
    found = [chosen_workers("cpu", threads=threads) for threads in (None, 1, 2, 3, 8)]
    assert found == [(4, 1), (4, 1), (2, 2), (1, 3), (1, 8)]
    assert chosen_workers("cpu", workers=3, threads=2) == (3, 2)


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_plan_on_a_gpu_runs_as_many_at_once_as_fill_it(device, gpu):
    nature, impala = run_of("nature"), run_of("impala", 16_384)
    assert resolve_device("auto") == "cuda"
    assert chosen_workers(device) == (16, 1)
    assert chosen_workers(device, [nature] * 40) == (16, 1)
    assert chosen_workers(device, [nature] * 5) == (5, 3)  # cores that no run has step the games of others
    few, threads = chosen_workers(device, [nature, impala] * 20)
    assert 1 < few < 16
    assert threads == 16 // few
    assert workers_for([impala] * 20, 16) == few


def test_what_is_chosen_counts(gpu):
    assert chosen_workers("cuda", [], 4) == (4, 4)
    assert chosen_workers("cuda", [], 4, 1) == (4, 1)
    assert chosen_workers("cuda", [], None, 2) == (16, 2)
    assert chosen_workers("cpu", [], 3) == (3, 1)
    assert chosen_workers("cpu", [], None, 5) == (3, 5)


def test_without_a_gpu_it_is_a_process_for_each_core(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("lcd.experiments.resources.usable_cores", lambda: 6)
    monkeypatch.setattr("lcd.experiments.resources.free_host_bytes", lambda: 128 * GB)
    assert chosen_workers("cpu") == chosen_workers("auto") == (6, 1)
    with pytest.raises(ValueError, match="no GPU that torch can use"):
        chosen_workers("cuda")


def test_workers_on_cpus_are_no_more_than_the_memory_takes(monkeypatch):
    monkeypatch.setattr("lcd.experiments.resources.usable_cores", lambda: 64)
    for free, workers in ((128 * GB, 64), (20 * GB, 16), (GB, 1), (0, 1)):
        monkeypatch.setattr("lcd.experiments.resources.free_host_bytes", lambda free=free: free)
        assert chosen_workers("cpu") == (workers, 1)
    assert chosen_workers("cpu", workers=32) == (32, 1)


def test_cores_are_those_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    code += "from lcd.experiments.host import usable_cores; print(usable_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_number_of_cores_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "all")
    with pytest.raises(ValueError, match="LOKY_MAX_CPU_COUNT='all' is no number of cores: set one, or unset it"):
        usable_cores()


def test_a_container_may_have_less_memory_than_its_machine(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  99 kB\nMemAvailable:   2048 kB\n")
    assert free_host_bytes(tmp_path / "meminfo", tmp_path) == 2 * 2**20
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1048576\n")
    assert free_host_bytes(tmp_path / "meminfo", tmp_path) == 2 * 2**20
    (tmp_path / "memory.max").write_text("2097152\n")
    assert free_host_bytes(tmp_path / "meminfo", tmp_path) == 2**20
    (tmp_path / "memory.stat").write_text("anon 524288\ninactive_file 262144\nactive_file 8\n")
    assert free_host_bytes(tmp_path / "meminfo", tmp_path) == 2**20 + 2**18
    assert free_host_bytes(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_run_that_finds_no_memory_on_the_gpu_says_what_to_do(error):
    assert sentence_of(error) == "The memory of the GPU is exhausted: use fewer --workers."


def test_other_errors_keep_their_sentences():
    assert sentence_of(ValueError("The world is out of memory lane.")) == "The world is out of memory lane."
    assert "fewer --workers" in sentence_of(MemoryError())
