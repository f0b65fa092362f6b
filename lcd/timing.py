"""How fast this machine trains, measured on the cells of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lcd.plan import Plan
from lcd.training.settings import RunSettings

WARM_UP, MEASURED = 1, 2


def steps_per_second(run: RunSettings, threads: int = 1) -> float:
    """Environment steps per second of a run's training, without its evaluations.

    Parameters
    ----------
    run
        The run; an untrained policy of its own encoder stands in for the teacher of an imitation run.
    threads
        Threads of torch.
    """
    import torch

    from lcd.training.run import learner

    torch.set_num_threads(threads)
    games = 0 if threads == 1 else threads
    teacher = None
    if run.learning == "imitation":
        stand_in = replace(run, view="semantic", learning="rl", teacher=None)
        model, env = learner(stand_in, None, "cpu", games)
        teacher = model.policy
        env.close()
    model, env = learner(run, teacher, "cpu", games)  # type: ignore[arg-type]
    rollout = run.hyperparameters.rollout
    model.learn(WARM_UP * rollout)
    started = time.perf_counter()
    model.learn(MEASURED * rollout, reset_num_timesteps=False)
    seconds = time.perf_counter() - started
    env.close()
    return MEASURED * rollout / seconds


def measured_rates(plan: Plan, begun: Callable[[RunSettings], None] = lambda run: None) -> dict[tuple[str, str], float]:
    """Steps per second of each kind of cell in a plan, by (view, learning), in one worker of one thread.

    Parameters
    ----------
    plan
        The plan.
    begun
        Is told of each run that is about to be measured; one takes seconds, or a minute with a large encoder.
    """
    rates: dict[tuple[str, str], float] = {}
    for run in plan.runs:
        if (run.view, run.learning) not in rates:
            begun(run)
            rates[run.view, run.learning] = steps_per_second(run)
    return rates


def expected_seconds(plan: Plan, rates: dict[tuple[str, str], float], workers: int) -> float:
    """Time that the plan takes in so many workers, at these rates, if none ever waits."""
    return sum(run.steps / rates[run.view, run.learning] for run in plan.runs) / workers
