"""Swapping the eyes of a learner: which share of the perceptual demand an encoder closes.

Two cells are trained again with each other encoder: *a*, from pixels and reward, and *c*, from pixels and advice. The
perceptual demand ``P = d − c`` is what seeing costs a learner who is told what to do; an encoder closes the share
``(c′ − c)/P`` of it. Better sight alone would bring ``b − a`` to the unhelped learner; of that it brings
``(a′ − a)/(b − a)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from lcd.agents import EncoderName, eye_card
from lcd.envs import ProcgenOptions
from lcd.experiments.execution import Listener, execute
from lcd.experiments.plan import GamePlan, Plan, check_encoder, weights_checksum
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.io.files import replacing
from lcd.measurement.demands import CONTRASTS
from lcd.measurement.intervals import (
    Interval,
    cell_samples,
    contrast_interval,
    degrees_of_freedom,
    fieller_limits,
    seed_variances,
    squared_errors,
)
from lcd.measurement.scores import CELLS, PRIMARY, cell_scores, check_episodes, played_by
from lcd.pretraining.objectives import OBJECTIVES

if TYPE_CHECKING:
    from lcd.pretraining.pretraining import Pretraining

SCRATCH, RANDOM, HARMONIZED = "scratch", "random", "harmonized"

HARMONIZER_WEIGHT = 1.0
"""Of the harmonizer's loss, as in its paper."""

SWAPPED = {"imitation": ("c", "d"), "rl": ("a", "b")}
"""The cell that gets other eyes, and the one whose eyes are perfect, by how both learn."""


@dataclass(frozen=True)
class Swap:
    """A game diagnosed with several encoders.

    Attributes
    ----------
    plan
        The diagnosis with the encoder that learns from nothing.
    encoders
        The others' full names, see `lcd.agents.EncoderName`, by what the report calls them.
    """

    plan: GamePlan
    encoders: Mapping[str, str]

    def runs_with(self, encoder: str) -> tuple[RunSettings, ...]:
        """The runs from pixels, with another encoder, or with the same and the harmonizer."""
        runs = [run for run in self.plan.cells if run.view == "pixels"]
        if encoder == HARMONIZED:
            return tuple(replace(run, harmonizer=HARMONIZER_WEIGHT) for run in runs)
        eye = weights_checksum(encoder)
        return tuple(replace(run, encoder=encoder, eye=eye) for run in runs)

    def as_plan(self) -> Plan:
        """All runs, those of the diagnosis first."""
        further = (replace(self.plan, cells=self.runs_with(encoder)) for encoder in self.encoders.values())
        return Plan((self.plan, *further))


def full_names(names: Sequence[str], preset_encoder: str, teach: Callable[[str], Path]) -> dict[str, str]:
    """What the encoders of a swap are, by what people call them.

    Parameters
    ----------
    names : sequence of str
        ``"scratch"``, which the diagnosis has anyway and is left out; ``"random"``, the same with random weights that
        stay; ``"harmonized"``, the same trained with the harmonizer on privileged maps beside; an objective of
        `lcd.pretraining.objectives`, on which such an eye is taught, and after which ``+tuned`` may stand; or any
        encoder's name.
    preset_encoder : str
        The encoder of the diagnosis.
    teach : callable
        Gives the file of an eye that learned an objective on the game.

    Raises
    ------
    ValueError
        If a name is none.
    """
    own = EncoderName.read(preset_encoder)
    found = {}
    for name in dict.fromkeys(names):
        if name == SCRATCH:
            continue
        if name == RANDOM:
            if own.comes_with_weights:
                raise ValueError(
                    f"The control 'random' cannot be had of {preset_encoder!r}, which always has its own weights: "
                    "diagnose with an encoder such as nature or impala."
                )
            found[name] = f"{own.architecture}+frozen"
        elif name == HARMONIZED:
            if own.frozen:
                raise ValueError(
                    f"The encoder {preset_encoder!r} is frozen, so that no harmonizer can move it: "
                    "leave out 'harmonized', or add +tuned to the encoder's name."
                )
            found[name] = HARMONIZED
        else:
            objective, plus, manner = name.partition("+")
            EncoderName.read(f"{own.architecture}{plus}{manner}" if _taught(name) else name)
            found[name] = f"{own.architecture}@{teach(objective)}{plus}{manner}" if _taught(name) else name
    if names and not found:
        raise ValueError(f"{SCRATCH} is what the diagnosis has anyway: name an encoder to compare it with, too.")
    return found


def foreseen_runs(plan: GamePlan, names: Sequence[str], store: Store, eyes: Path) -> list[tuple[str, RunSettings]]:
    """The further runs that a swap still needs, each with what people call its encoder, before any eye is taught.

    In the place of an eye that is still to be taught stands one that costs the same, with random weights.

    Parameters
    ----------
    plan : GamePlan
        Says game and encoder.
    names : sequence of str
        As for `full_names`.
    store : Store
        Where finished runs are; these are left out.
    eyes : pathlib.Path
        Where the eyes are that the game taught.
    """
    encoders = full_names(names, plan.cells[0].encoder, lambda objective: _lesson(plan, objective, eyes)[1])
    read = {name: EncoderName.read(encoder) for name, encoder in encoders.items() if _taught(name)}
    untaught = {
        name: encoder.without_weights
        for name, encoder in read.items()
        if encoder.weights and not encoder.weights.exists()
    }
    swap = Swap(plan, encoders | untaught)
    needed = ((name, run) for name, encoder in swap.encoders.items() for run in swap.runs_with(encoder))
    return [(name, run) for name, run in needed if name in untaught or not store.has(run)]


def check_encoders(plan: GamePlan, names: Sequence[str]) -> None:
    """Find out whether every encoder of a swap can be had, before hours are spent.

    Parameters
    ----------
    plan : GamePlan
        Says game and encoder.
    names : sequence of str
        As for `full_names`.

    Raises
    ------
    ValueError
        If a name is none, weights are missing or do not fit, or a package is not installed.
    """
    for name, full in full_names(names, plan.cells[0].encoder, Path).items():
        if name not in (RANDOM, HARMONIZED) and not _taught(name):
            check_encoder(full)


def _taught(name: str) -> bool:
    """Whether a swap's encoder is one that the game itself teaches."""
    return name.partition("+")[0] in OBJECTIVES


def taught_eye(plan: GamePlan, objective: str, folder: Path, report: Callable[[str], None]) -> Path:
    """The file of an eye that learned an objective on a game's training levels; taught if it is not there.

    It is taught on no more frames than a learner of the diagnosis sees.

    Parameters
    ----------
    plan : GamePlan
        Says game, levels and encoder.
    objective : str
        One of `lcd.pretraining.objectives.OBJECTIVES`.
    folder : pathlib.Path
        Where such files are.
    report : callable
        Is told of every pass.
    """
    from lcd.agents import save_eye
    from lcd.agents.encoders.weights import check_sealed
    from lcd.pretraining.pretraining import pretrain

    options = plan.cells[0].training_options
    assert isinstance(options, ProcgenOptions)
    settings, file = _lesson(plan, objective, folder)
    if file.exists():
        check_sealed(file)
    else:
        made = pretrain(options, settings, report=report)
        with replacing(file) as partial:
            save_eye(made.encoder, partial, settings.architecture, made.card)
    return file


def _lesson(plan: GamePlan, objective: str, folder: Path) -> tuple[Pretraining, Path]:
    """How an eye is taught an objective on a game, and the file that it goes to."""
    from lcd.pretraining.pretraining import FEWEST, Pretraining

    run = plan.cells[0]
    architecture = EncoderName.read(run.encoder).architecture
    frames = min(Pretraining.frames, max(FEWEST, plan.budget))
    described = [plan.game, *run.appearance, run.distribution_mode, objective, architecture]
    described += [f"{run.num_levels}levels", f"{frames}frames"]
    file = folder / f"{'-'.join(described)}.safetensors".replace(":", "_").replace(",", "_")
    return Pretraining(objective, architecture, frames, num_levels=run.num_levels), file


def carry_out_swap(
    swap: Swap, store: Store, *, workers: int | None = None, threads: int | None = None, device: str = "cpu",
    listener: Listener = lambda event: None,
) -> pd.DataFrame:  # fmt: skip
    """Train what is missing, and tell which share of the demand each encoder closes.

    Returns
    -------
    pandas.DataFrame
        See `swap_table`; the column privileged says which eyes were taught by the game's own state.

    Raises
    ------
    lcd.experiments.execution.RunFailed
        If a run failed; the same call goes on from the finished ones.
    """
    execute(swap.as_plan(), store, workers=workers, threads=threads, device=device, listener=listener)
    diagnosed = _scores(swap.plan, store, swap.plan.cells)
    others = {
        name: _scores(swap.plan, store, swap.runs_with(encoder), diagnosed=False)
        for name, encoder in swap.encoders.items()
    }
    table = swap_table(diagnosed, others)
    told = {name: _is_privileged(encoder) for name, encoder in swap.encoders.items()}
    table.insert(1, "privileged", table["encoder"].map(told).astype(bool))
    return table


def _is_privileged(encoder: str) -> bool:
    """Whether an encoder was told anything that the game's own state says and no frame does."""
    if encoder == HARMONIZED:
        return True
    weights = EncoderName.read(encoder).weights
    card = {} if weights is None else eye_card(weights)  # whose entries are of the right kinds
    run = card.get("run", {})
    told = run.get("view") == "semantic" or run.get("learning") == "imitation" or run.get("harmonizer", 0) > 0
    return told or card.get("objective") == "segmentation"


def _scores(plan: GamePlan, store: Store, runs: Sequence[RunSettings], *, diagnosed: bool = True) -> pd.DataFrame:
    tables = [store.load(run).episodes for run in runs]
    if diagnosed and plan.teacher_run is not None:
        made = store.load(plan.teacher_run).episodes
        tables.append(made[made["step"] <= plan.budget])
    episodes = played_by(pd.concat(tables, ignore_index=True))
    checked = check_episodes(episodes, game=plan.game, budget=plan.budget) if diagnosed else episodes
    return cell_scores(checked, plan.normalisation, plan.budget)


def swap_table(diagnosed: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Which share of the perceptual demand each encoder closes.

    Parameters
    ----------
    diagnosed : pandas.DataFrame
        Scores of the four cells of the diagnosis, see `lcd.measurement.scores.cell_scores`.
    others : mapping of str to pandas.DataFrame
        Scores of the cells from pixels with each other encoder, or of one of them.

    Returns
    -------
    pandas.DataFrame
        One row an (encoder, learning) whose cells are there: score (mean area on unseen levels), gain (over the
        encoder of the diagnosis), demand (what perfect eyes would gain), share (of it that the encoder gains), each of
        the last three with 95 % limits ``_low`` and ``_high``; those of the share are Fieller's, infinite where there
        may be no demand, and no more certain than the evaluated episodes allow.
    """
    letters = dict(zip(CELLS, zip(*cell_samples(diagnosed, *PRIMARY), strict=True), strict=True))
    rows = []
    for name, scores in others.items():
        swapped = dict(zip(CELLS, zip(*cell_samples(scores, *PRIMARY), strict=True), strict=True))
        for learning, (without, perfect) in SWAPPED.items():
            if not all(len(samples) for samples, _ in (swapped[without], letters[without], letters[perfect])):
                continue
            # The new eyes stand in the place of c, perfect ones in that of b.
            cells = [letters[without], letters[perfect], swapped[without], letters[perfect]]
            samples, noise = ([cell[part] for cell in cells] for part in (0, 1))
            gain, demand = (
                contrast_interval(samples, noise, CONTRASTS[which]) for which in ("policy_gain", "perceptual_gain")
            )
            counts = np.array([len(cell) for cell in samples])
            spread, known = seed_variances(samples) / counts, squared_errors(noise) / counts
            floored = np.where(np.isnan(known), spread, np.maximum(spread, known))
            old, best, new = floored[:3]
            covariance = np.array([[new + old, old], [old, best + old]])
            # As in Welch's limits, more variance must not narrow them by its degrees of freedom.
            freedom = min(
                degrees_of_freedom(parts[pair], counts[pair])
                for parts in (spread, floored)
                for pair in ([2, 0], [0, 1])
            )
            quantile = float(stats.t.ppf(0.975, freedom))
            low, high = fieller_limits(gain.estimate, demand.estimate, covariance, quantile)
            rows.append(
                {"encoder": name, "learning": learning, "score": samples[2].mean()}
                | _share_columns(gain, demand, (low, high))
            )
    return pd.DataFrame(rows)


def _share_columns(gain: Interval, demand: Interval, limits: tuple[float, float]) -> dict[str, float]:
    """Gain, demand and the share of it, with limits."""
    share = gain.estimate / demand.estimate if demand.estimate != 0 else np.nan
    known = {
        "gain": (gain.estimate, gain.low, gain.high),
        "demand": (demand.estimate, demand.low, demand.high),
        "share": (share, *limits),
    }
    return {
        f"{name}{end}": value
        for name, values in known.items()
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }


def shares_over_games(shares: pd.DataFrame) -> pd.DataFrame:
    """Which share of the perceptual demand each encoder closes on the mean of games.

    Where the demand of each game alone is uncertain, that of their mean may not be. The share is the ratio of the mean
    gain to the mean demand, not the mean of ratios, which any game without a demand would rule. Limits are those of t,
    games compared with each other: they hold for the mean of more games of such kinds, and the noise of seeds is in
    them.

    Parameters
    ----------
    shares : pandas.DataFrame
        What `swap_table` gave for several games, put together.

    Returns
    -------
    pandas.DataFrame
        One row an (encoder, learning): games (how many) and the columns of `swap_table`; limits of one game are NaN.
    """
    rows = []
    for (encoder, learning), group in shares.groupby(["encoder", "learning"], sort=False):
        both = group[["gain", "demand"]].to_numpy(dtype=np.float64)
        games, means = len(both), both.mean(axis=0)
        covariance = np.cov(both.T) / games if games > 1 else np.full((2, 2), np.nan)
        quantile = float(stats.t.ppf(0.975, games - 1))
        halves = quantile * np.sqrt(np.diag(covariance))
        gain, demand = (Interval(mean, mean - half, mean + half) for mean, half in zip(means, halves, strict=True))
        limits = fieller_limits(means[0], means[1], covariance, quantile)
        row = {"encoder": encoder, "learning": learning, "games": games, "score": group["score"].mean()}
        rows.append(row | _share_columns(gain, demand, limits))
    return pd.DataFrame(rows)
