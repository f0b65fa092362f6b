"""How many runs fill a GPU at once.

One run cannot: its games and its Python take most of the time, and the GPU waits. So a plan runs as many at once as
there are cores to step games, as far as the memory of the GPU and of the machine allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

from lcd.envs import GameOptions
from lcd.envs.family import observation_space
from lcd.envs.views import PIXELS
from lcd.experiments.host import free_host_bytes
from lcd.experiments.improvements import get_improvement
from lcd.experiments.settings import RunSettings, encoder_of

CONTEXT_BYTES = 5 * 2**28
"""What a process takes of a GPU whatever it trains: its context takes about half a gigabyte, the libraries' kernels and
workspaces, labels, recordings of small batches and what the allocator cannot use the rest. Not measured with this code:
``scripts/gpu_check.py probe`` does."""

ROOM = 2
"""Activations of a minibatch so many times: gradients of the largest layers and the libraries' workspaces lie beside
them, and freed memory is not given back. A harmonized run keeps the first gradient's computation too, as much again."""

BYTES_PER_IMAGE_OF_OTHERS = 16 * 2**20
"""Activations of a network that somebody else made, whose size nobody knows before it is fetched."""

HOST_BYTES_PER_RUN = 3 * 2**30
"""Memory of the machine that a run takes: torch with the libraries of a GPU, five batches of games, a rollout."""

SPARE = 0.05
"""Share of a GPU's free memory that is left free."""

_ADAM = 4 * 4
"""Bytes of a weight in training: itself, its gradient and two running means, in single precision."""


def workers_on_gpu(
    free_bytes: int,
    cores: int,
    host_bytes: int | None,
    bytes_per_run: int,
    host_bytes_per_run: int = HOST_BYTES_PER_RUN,
) -> int:
    """Number of runs that one GPU takes at once, at least 1.

    Parameters
    ----------
    free_bytes
        Free memory of the GPU.
    cores
        Cores of the processor; each run keeps one busy with its games.
    host_bytes
        Free memory of the machine; None where it is unknown, which bounds nothing.
    bytes_per_run, host_bytes_per_run
        What a run takes of either.

    Examples
    --------
    >>> workers_on_gpu(80 * 2**30, 16, 128 * 2**30, 2**30)
    16
    >>> workers_on_gpu(8 * 2**30, 16, 128 * 2**30, 3 * 2**30)
    2
    """
    by_memory = int((1 - SPARE) * free_bytes) // bytes_per_run
    by_host = cores if host_bytes is None else host_bytes // host_bytes_per_run
    return max(1, min(by_memory, cores, by_host))


def bytes_of_run(run: RunSettings, half_precision: bool = True) -> int:
    """Memory of a GPU that a run takes, estimated with care rather than closely.

    Parameters
    ----------
    run
        The run.
    half_precision
        Whether the GPU computes the encoder in bfloat16, with half the activations.

    Returns
    -------
    int
        `CONTEXT_BYTES`, the rollout's frames, and for each network the weights with what Adam keeps of each, and the
        activations of as many images as pass it at once, `ROOM` times.
    """
    frame = math.prod(observation_space(run.options, PIXELS.name).shape or ())
    hyper = run.hyperparameters
    image, weights, at_once = _measured(encoder_of(run), run.options.training_levels(0), run.view, half_precision)
    minibatch = hyper.rollout // hyper.minibatches
    networks = 1 if run.improvement is None else get_improvement(run.improvement).networks
    activations = ROOM * (1 + (run.harmonizer > 0)) * min(minibatch, at_once) * image
    network = _ADAM * weights + activations
    return CONTEXT_BYTES + (hyper.rollout + ROOM * minibatch) * frame + networks * network


@cache
def _measured(encoder: str, options: GameOptions, view: str, half_precision: bool) -> tuple[int, int, int]:
    """Bytes of activations an image, number of weights, and images that pass a GPU at once."""
    from lcd.agents import EncoderName, EncoderPolicy
    from lcd.agents.activations import bytes_per_image
    from lcd.agents.encoders.convolutional import Encoder
    from lcd.agents.encoders.pretrained import ModuleEncoder
    from lcd.envs.family import policy_spaces

    name = EncoderName.read(encoder)
    if name.comes_with_weights:
        at_once = ModuleEncoder.images_at_once_on_gpu
        return BYTES_PER_IMAGE_OF_OTHERS, 2**28 // _ADAM, at_once
    policy = EncoderPolicy(
        *policy_spaces(options, view), lambda _: 0.0, name.without_weights, mixed_precision=half_precision
    )
    assert isinstance(policy.features_extractor, Encoder)
    weights = sum(parameter.numel() for parameter in policy.parameters())
    return bytes_per_image(policy), weights, policy.features_extractor.images_at_once_on_gpu


def workers_for(runs: Iterable[RunSettings], cores: int) -> int:
    """Number of runs that torch's GPU takes at once now, as if all were like the largest, and no more than there are.

    Parameters
    ----------
    runs
        What is to be run; runs of Nature with the usual minibatches if there are none.
    cores
        Cores of the processor.
    """
    import torch

    from lcd.agents.machine import bfloat16_is_fast

    runs = list(runs)
    free, _ = torch.cuda.mem_get_info()
    half = bfloat16_is_fast(torch.device("cuda"))
    largest = max((bytes_of_run(run, half) for run in runs), default=2**31)
    workers = workers_on_gpu(free, cores, free_host_bytes(), largest)
    return min(workers, len(runs)) if runs else workers
