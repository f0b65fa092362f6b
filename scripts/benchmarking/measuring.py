"""One measurement: a learner or matrix products, in this process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lcd.envs  # first: it keeps the old gym's notice off the terminal

# isort: split
import stable_baselines3
import torch
from plain_ppo import PlainImpala, PlainPPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch.utils.flop_counter import FlopCounterMode

from benchmarking.contenders import Contender
from lcd.agents import PPO, DAgger, EncoderPolicy, TaughtVecEnv
from lcd.agents.machine import fastest_precision
from lcd.agents.ppo import PROCGEN_SETTINGS

NUM_ENVS = 64
PRODUCTS = 300


@dataclass(frozen=True)
class Measurement:
    """One process's result.

    Attributes
    ----------
    steps_per_second
        Environment steps; for the matrix product, 0.
    seconds, cpu_seconds
        Time on the clock and of the processor's cores.
    peak_mb
        Largest resident memory of the process.
    gflops
        Billions of floating-point operations of the network a second; 0 where not counted.
    gpu_mb
        Memory of the GPU that torch has taken; 0 on a CPU.
    processes
        That were measured together.
    """

    steps_per_second: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    gflops: float
    gpu_mb: float = 0.0
    processes: int = 1


class Uncached(PPO):
    """A PPO that encodes frames again in every epoch, even with a frozen encoder."""

    caches_features = False


def learner(contender: Contender, game: str, n_steps: int, threads: int, device: str = "cpu") -> Any:
    """An untrained learner with ``learn(steps)``."""
    imitates = contender.library == "dagger"
    view: Any = "both" if imitates and contender.view == "pixels" else contender.view
    game_threads = 0 if threads == 1 else threads
    if device == "cpu":
        game_threads *= 3  # more than cores: they wait for one another
    env: VecEnv = lcd.envs.ProcgenVecEnv(
        lcd.envs.ProcgenOptions(game, num_levels=200), NUM_ENVS, view, num_threads=game_threads
    )
    if imitates:
        env = TaughtVecEnv(env, student_view=contender.view)
    env = VecNormalize(VecMonitor(env), norm_obs=False, gamma=0.999)
    settings = {**PROCGEN_SETTINGS, "n_steps": n_steps}
    if contender.library == "plain":
        return PlainPPO(env, contender.encoder, **settings, device=device)
    settings |= {"env": env, "seed": 0, "device": device}
    if contender.library in ("agents", "uncached"):
        return {"agents": PPO, "uncached": Uncached}[contender.library](encoder=contender.encoder, **settings)
    if imitates:
        labels = lcd.envs.ProcgenVecEnv(lcd.envs.ProcgenOptions(game), 1, "semantic")
        teacher = EncoderPolicy(labels.observation_space, labels.action_space, lambda _: 0.0, contender.teacher)
        return DAgger(encoder=contender.encoder, teacher=teacher, **settings)
    extractor = {"features_extractor_class": PlainImpala, "net_arch": []} if contender.encoder == "impala" else {}
    return stable_baselines3.PPO("CnnPolicy", policy_kwargs=extractor, **settings)


def flops_a_step(model: Any) -> float:
    """Floating-point operations of the network for one environment step: one pass to act, three epochs to learn."""
    shape = model.observation_space.shape
    frames = torch.zeros((64, *shape), dtype=torch.uint8, device=model.device)
    with FlopCounterMode(display=False) as acting, torch.no_grad():
        model.policy(frames)
    with FlopCounterMode(display=False) as learning:
        model.policy.evaluate_actions(frames, frames.new_zeros(64, dtype=torch.long))[1].sum().backward()
    return (acting.get_total_flops() + model.n_epochs * learning.get_total_flops()) / 64


def products(device: str = "cpu") -> tuple[float, Callable[[int], Any]]:
    """Operations of a matrix product in the precision that encoders compute in, and what computes a number of them."""
    size = 2048 if device == "cpu" else 8192
    matrix = torch.rand(size, size, device=device, dtype=getattr(torch, fastest_precision(device)))

    def work(count: int) -> None:
        for _ in range(count):
            matrix @ matrix

    return 2.0 * size**3, work


def measure(
    contender: Contender,
    game: str,
    steps: int,
    n_steps: int,
    threads: int,
    device: str = "cpu",
    matrix_products: int = PRODUCTS,
) -> Measurement:
    """Measure in this process, once the parent says that all are ready."""
    torch.set_num_threads(threads)
    if contender.library == "product":
        flops, work = products(device)
        amount = matrix_products
        work(min(20, amount))
        counted = flops * amount
    else:
        rollout = n_steps * NUM_ENVS
        amount = max(1, round(steps / rollout)) * rollout
        model = learner(contender, game, n_steps, threads, device)
        model.learn(rollout)
        counts = contender.library == "agents" and not model.caches_features
        counted = flops_a_step(model) * amount if counts else 0.0

        def work(count: int) -> Any:
            keep_on = {} if contender.library == "plain" else {"reset_num_timesteps": False}
            model.learn(count, **keep_on)

    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    print("ready", flush=True)
    sys.stdin.readline()
    before, started = time.process_time(), time.perf_counter()
    work(amount)
    wait()
    seconds, cpu = time.perf_counter() - started, time.process_time() - before
    steps_done = 0 if contender.library == "product" else amount
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    gpu = torch.cuda.max_memory_reserved() / 2**20 if device == "cuda" else 0.0
    return Measurement(steps_done / seconds, seconds, cpu, peak, counted / seconds / 1e9, gpu)
