"""Training speed of a machine, measured on the runs of a plan."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from lcd.envs import ProcgenOptions
from lcd.envs.external.options import ExternalOptions
from lcd.envs.views import SEMANTIC
from lcd.experiments.encoded_view import EncodedOptions
from lcd.experiments.executor import Share
from lcd.experiments.executors import LOCAL, make_executor, parse_executor
from lcd.experiments.learners import get_learner
from lcd.experiments.own_code import OwnCode
from lcd.experiments.resources import Resources
from lcd.experiments.settings import Hyperparameters, RunSettings
from lcd.experiments.store import Store

SECONDS = 1.0
"""Minimal measured time, after a warm-up of one rollout, or of as many as it takes until the work repeats."""

_BATCH_ON_CPU = 512
"""Batch size on a CPU, where larger batches are not faster."""


def steps_per_second(
    run: RunSettings, threads: int = 1, device: str = "cpu", clock: Callable[[], float] = time.perf_counter
) -> float:
    """Environment steps per second of a run's training, without its evaluations.

    Parameters
    ----------
    run
        The run; an untrained policy of its own encoder stands in for the teacher of an imitation run.
    threads
        Threads of torch.
    device
        Where torch computes.
    clock
        Clock in seconds; ``time.process_time`` is independent of other work on the machine.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _measured(run, threads, device, clock)
    finally:
        torch.set_num_threads(before)


def _measured(run: RunSettings, threads: int, device: str, clock: Callable[[], float]) -> float:
    """Steps per second, see `steps_per_second`, with the threads that torch has."""
    from lcd.experiments.run import learner

    usual = run.hyperparameters.rollout
    run = _shortened(run, device)
    if isinstance(run.options, EncodedOptions):  # whose encoder may not be trained yet
        run = replace(run, options=replace(run.options, made_by=None))
    games = 0 if threads == 1 else threads
    teacher = None
    if get_learner(run.learning).needs_teacher:
        stand_in = replace(
            run, view=run.teacher_view, learning="rl", teacher=None, teacher_view=SEMANTIC.name, harmonizer=0.0
        )
        model, env = learner(stand_in, None, device, games)
        teacher = model.policy
        env.close()
    model, env = learner(run, teacher, device, games)  # type: ignore[arg-type]
    rollout = run.hyperparameters.rollout
    with closing(env):
        model.shorten(rollout / usual)
        model.learn(rollout * model.period)
        started, steps = clock(), 0
        while (seconds := clock() - started) < SECONDS:
            for _ in range(model.period):
                model.learn(rollout, reset_num_timesteps=False)
            steps += rollout * model.period
    return steps / seconds


def _shortened(run: RunSettings, device: str) -> RunSettings:
    """The run with short rollouts of one minibatch each: the same speed, measured in fewer steps."""
    hyper = run.hyperparameters
    batch = hyper.rollout // hyper.minibatches
    if device == "cpu":
        batch = min(batch, max(_BATCH_ON_CPU, hyper.num_envs))
    rollout = replace(hyper, rollout_steps=max(1, batch // hyper.num_envs), minibatches=1)
    end = -(-run.steps // rollout.rollout) * rollout.rollout
    return replace(run, hyperparameters=rollout, steps=end, evaluation=replace(run.evaluation, steps=(0, end)))


Kind = tuple[str, str, str, str, bool, str | None, Hyperparameters]
"""Determinants of a run's speed: what is played, view, learning, encoder, whether it is harmonized, improvement,
hyperparameters."""


def kind_of(run: RunSettings) -> Kind:
    """The kind of a run. Procgen's games are about equally fast, and count as one; all others count by themselves."""
    family = run.options.family
    played = family if family == ProcgenOptions.family else f"{family} {run.game}"
    if family == ExternalOptions.family:  # whose settings may decide what a step costs
        played += json.dumps(run.options.training_levels(0).as_record())
    harmonized = run.harmonizer > 0
    return played, run.view, run.learning, run.encoder, harmonized, run.improvement, run.hyperparameters


def measured_rates(
    runs: Iterable[RunSettings],
    threads: int = 1,
    device: str = "cpu",
    begun: Callable[[RunSettings], None] = lambda run: None,
) -> dict[Kind, float]:
    """Steps per second of each kind among runs, in one worker.

    Parameters
    ----------
    runs
        The runs.
    threads
        Threads of the worker.
    device
        Where torch computes.
    begun
        Called with each run before its measurement, which takes seconds, or a minute with a large encoder.
    """
    rates: dict[Kind, float] = {}
    for run in runs:
        if kind_of(run) not in rates:
            begun(run)
            rates[kind_of(run)] = steps_per_second(run, threads, device)
    return rates


def _measured_elsewhere(own: OwnCode, runs: Sequence[RunSettings], threads: int, device: str) -> dict[Kind, float]:
    """The rates, in a process that knows nothing yet of the user's own code."""
    own.load()
    return measured_rates(runs, threads, device)


@dataclass(frozen=True)
class Speeds:
    """How fast the runs of a plan train where they are carried out.

    Attributes
    ----------
    rates
        Steps per second of each kind of run.
    workers
        Runs at once.
    share
        What each of them gets.
    """

    rates: dict[Kind, float]
    workers: int
    share: Share


def measure_speeds(
    runs: Sequence[RunSettings],
    store: Store,
    resources: Resources,
    begun: Callable[[RunSettings], None] = lambda run: None,
) -> Speeds:
    """Measure how fast runs train with some resources, on a machine of the cluster if there is one.

    Parameters
    ----------
    runs
        The runs; one of each kind is tried.
    store
        Where they are to go.
    resources
        With what they are to be carried out.
    begun
        Called with each run before its measurement on this machine.

    Raises
    ------
    ValueError
        If the resources are not there.
    """
    numbers = {"workers": resources.workers, "threads": resources.threads, "device": resources.device}
    executor = make_executor(resources.executor, store, runs, **numbers)  # type: ignore[arg-type]
    try:
        share, workers = executor.share, min(executor.free, max(1, len(runs)))
        if parse_executor(resources.executor)[0] == LOCAL:
            rates = measured_rates(runs, share.threads, share.device, begun)
        else:
            kinds = list({kind_of(run): run for run in runs}.values())
            asked = (OwnCode.of(kinds), kinds, share.threads, share.device)
            rates = executor.call(_measured_elsewhere, *asked) if kinds else {}
    finally:
        executor.end()
    return Speeds(rates, workers, share)


def expected_seconds(runs: Iterable[RunSettings], rates: dict[Kind, float], workers: int) -> float:
    """Estimated time of runs in a number of workers: at least that of each run after those whose weights it uses."""
    known = {run.identity: run for run in runs}
    seconds = {identity: run.steps / rates[kind_of(run)] for identity, run in known.items()}

    def ends(identity: str) -> float:
        """When a run ends at the earliest."""
        if identity not in known:
            return 0.0
        return seconds[identity] + max(map(ends, known[identity].needs), default=0.0)

    return max(max(map(ends, known), default=0.0), sum(seconds.values()) / workers)
