"""The runs of a learner from frames and reward with an improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lcd.agents import EncoderName, import_encoder
from lcd.envs.family import has_label_maps, policy_spaces
from lcd.envs.views import PIXELS
from lcd.experiments.improvements import Improvement, version_of_improvement
from lcd.experiments.plan import GamePlan, with_encoder
from lcd.experiments.settings import RunSettings
from lcd.pretraining.objectives import OBJECTIVES


def plain_runs(plan: GamePlan, seeds: Sequence[int]) -> tuple[RunSettings, ...]:
    """The runs of a plan's learner from frames and reward, with other seeds."""
    first = next(run for run in plan.cells if (run.view, run.learning) == (PIXELS.name, "rl"))
    return tuple(replace(first, seed=seed) for seed in seeds)


def improved_run(run: RunSettings, improvement: Improvement, encoder: str | None = None) -> RunSettings:
    """The same run with an improvement.

    Parameters
    ----------
    run
        A run of the learner from frames and reward.
    improvement
        The improvement.
    encoder
        Full name of the encoder, for an improvement that brings another.

    Raises
    ------
    ValueError
        If the game or its settings do not allow it, or it changes nothing of the run.
    """
    channels, *_ = policy_spaces(run.options, run.view)[0].shape or (0,)
    if improvement.in_colour and channels != 3:
        raise ValueError(
            f"The improvement {improvement.name!r} is of colour frames, and those of {run.game} have {channels} "
            "channels: leave it out."
        )
    improved = _changed(run, improvement, encoder)
    if improvement.encoder is None and improved == run:  # random weights may stand for pretrained
        raise ValueError(
            f"The improvement {improvement.name!r} changes nothing of the learner of {run.game}, which is so already: "
            "leave it out."
        )
    return improved


def _changed(run: RunSettings, improvement: Improvement, encoder: str | None) -> RunSettings:
    """The run with what an improvement changes."""
    if improvement.encoder is not None:
        assert encoder is not None
        return with_encoder(run, encoder)
    if improvement.architecture is not None:
        named = import_encoder(improvement.architecture) if improvement.is_own else improvement.architecture
        return with_encoder(run, named)
    if improvement.harmonizer:
        if not has_label_maps(run.options):
            raise ValueError(
                f"The improvement {improvement.name!r} is trained with label maps, and {run.game} has none: leave it "
                "out."
            )
        return replace(run, harmonizer=improvement.harmonizer)
    if improvement.learner is not None:
        version = version_of_improvement(improvement.name)
        return replace(run, improvement=improvement.name, improvement_version=version)
    return replace(run, hyperparameters=run.hyperparameters.changed(improvement.hyperparameters))


def objective_of(improvement: Improvement) -> str:
    """What the encoder of an improvement is pretrained on."""
    assert improvement.encoder is not None
    return improvement.encoder.partition("+")[0]


def encoder_with(run: RunSettings, improvement: Improvement, weights: str) -> str:
    """Full name of the encoder that an improvement brings, with weights from a file.

    Raises
    ------
    ValueError
        If there is no such objective.
    """
    assert improvement.encoder is not None
    objective, plus, mode = improvement.encoder.partition("+")
    if objective not in OBJECTIVES or mode != "tuned" * bool(plus):
        raise ValueError(
            f"The improvement {improvement.name!r} pretrains on {improvement.encoder!r}: choose one of "
            f"{', '.join(OBJECTIVES)}, also with +tuned."
        )
    return f"{EncoderName.read(run.encoder).architecture}@{weights}{plus}{mode}"
