"""Encoder ablation: the share of the perceptual demand P that another encoder recovers.

The two cells on pixels are retrained with each other encoder: *a* (reinforcement learning) and *c* (imitation). By
imitation the gain is ``c′ − c``, and the share of ``P = d − c`` recovered is ``(c′ − c)/P``. By reinforcement learning
the label map would gain ``b − a``, and the share recovered is ``(a′ − a)/(b − a)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lcd.agents import EncoderName, read_card
from lcd.envs.family import has_label_maps
from lcd.envs.views import SEMANTIC
from lcd.experiments.plan import GamePlan, Plan, check_encoder, with_encoder
from lcd.experiments.settings import RunSettings
from lcd.experiments.store import Store
from lcd.measurement.intervals import (
    Interval,
    cell_samples,
    degrees_of_freedom,
    difference_interval,
    fieller_limits,
    seed_variances,
    squared_errors,
)
from lcd.measurement.scores import CELLS, PRIMARY, Normalisation, cell_scores, check_episodes, played_by
from lcd.pretraining.objectives import OBJECTIVES
from lcd.studies.finished_runs import episodes_of, normalisation_of
from lcd.studies.game_encoders import GameEncoder

SCRATCH, RANDOM, HARMONIZED = "scratch", "random", "harmonized"

HARMONIZER_WEIGHT = 1.0
"""Weight of the harmonization loss, as in its paper."""

ABLATED_CELLS = {"imitation": ("c", "d"), "rl": ("a", "b")}
"""The cell that gets other encoders, and its counterpart on label maps, by learning algorithm."""


@dataclass(frozen=True)
class EncoderAblation:
    """The diagnosis of a game with several encoders.

    Attributes
    ----------
    plan
        The diagnosis, usually with an encoder that is trained from scratch.
    encoders
        Full names of the other encoders, see `lcd.agents.EncoderName`, by their names in the report.
    """

    plan: GamePlan
    encoders: Mapping[str, str]

    def runs_with(self, encoder: str) -> tuple[RunSettings, ...]:
        """The runs on pixels, with another encoder, or with the same one and the harmonizer."""
        runs = [run for run in self.plan.cells if run.view == "pixels"]
        if encoder == HARMONIZED:
            return tuple(replace(run, harmonizer=HARMONIZER_WEIGHT) for run in runs)
        return tuple(with_encoder(run, encoder) for run in runs)

    def as_plan(self) -> Plan:
        """All runs, those of the diagnosis first."""
        further = (replace(self.plan, cells=self.runs_with(encoder)) for encoder in self.encoders.values())
        return Plan((self.plan, *further))


def resolve_encoders(names: Sequence[str], preset_encoder: str, file_of: Callable[[str], Path]) -> dict[str, str]:
    """Full names of the encoders of an ablation, by their short names.

    Parameters
    ----------
    names : sequence of str
        ``"scratch"``, the encoder of the diagnosis, which is left out; ``"random"``, the same with frozen random
        weights; ``"harmonized"``, the same trained with the harmonizer on privileged maps; an objective of
        `lcd.pretraining.objectives`, on which it is pretrained, with or without ``+tuned``; or any encoder's name.
    preset_encoder : str
        The encoder of the diagnosis.
    file_of : callable
        From an objective to the file of an encoder that is pretrained on it, in the game.

    Raises
    ------
    ValueError
        If a name is not valid.
    """
    own = EncoderName.read(preset_encoder)
    found = {}
    for name in dict.fromkeys(names):
        if name == SCRATCH:
            continue
        if name == RANDOM:
            if own.comes_with_weights:
                raise ValueError(
                    f"There is no control 'random' for {preset_encoder!r}, which is always pretrained: "
                    "diagnose with an encoder such as nature or impala."
                )
            found[name] = f"{own.architecture}+frozen"
        elif name == HARMONIZED:
            if own.frozen:
                raise ValueError(
                    f"The encoder {preset_encoder!r} is frozen, so the harmonizer cannot train it: "
                    "leave out 'harmonized', or add +tuned to the encoder's name."
                )
            found[name] = HARMONIZED
        else:
            objective, plus, mode = name.partition("+")
            EncoderName.read(f"{own.architecture}{plus}{mode}" if _is_objective(name) else name)
            found[name] = f"{own.architecture}@{file_of(objective)}{plus}{mode}" if _is_objective(name) else name
    if names and not found:
        raise ValueError(f"{SCRATCH} is the encoder of the diagnosis itself: name another to compare it with.")
    full = [preset_encoder, *found.values()]
    if twice := next((name for name, encoder in found.items() if full.count(encoder) > 1), None):
        raise ValueError(
            f"The encoder {twice!r} is that of the diagnosis, or of another name that is compared: leave it out."
        )
    return found


def encoders_of(plan: GamePlan, names: Sequence[str], folder: Path) -> dict[str, str]:
    """Full names of the encoders of an ablation, with the files of those that are pretrained in the game.

    Parameters
    ----------
    plan : GamePlan
        Game and encoder.
    names : sequence of str
        As for `resolve_encoders`.
    folder : pathlib.Path
        Folder of the pretrained encoders.

    Raises
    ------
    ValueError
        If a name is not valid.
    """
    return resolve_encoders(
        names, plan.cells[0].encoder, lambda objective: GameEncoder.of(plan, objective, folder).file
    )


def pretrained_in(plan: GamePlan, names: Sequence[str], folder: Path) -> list[GameEncoder]:
    """Those encoders of an ablation that are pretrained in the game; the arguments are those of `encoders_of`."""
    objectives = dict.fromkeys(name.partition("+")[0] for name in names if _is_objective(name))
    return [GameEncoder.of(plan, objective, folder) for objective in objectives]


def missing_runs(plan: GamePlan, names: Sequence[str], store: Store, folder: Path) -> list[tuple[str, RunSettings]]:
    """The runs that an ablation still needs, each with the short name of its encoder, before any is pretrained.

    An encoder that is still to be pretrained is represented by one of the same cost, with random weights.

    Parameters
    ----------
    plan : GamePlan
        Game and encoder.
    names : sequence of str
        As for `resolve_encoders`.
    store : Store
        The store of finished runs, which are left out.
    folder : pathlib.Path
        Folder of the pretrained encoders.
    """
    encoders = encoders_of(plan, names, folder)
    read = {name: EncoderName.read(encoder) for name, encoder in encoders.items() if _is_objective(name)}
    untrained = {
        name: encoder.untrained for name, encoder in read.items() if encoder.weights and not encoder.weights.exists()
    }
    ablation = EncoderAblation(plan, encoders | untrained)
    needed = ((name, run) for name, encoder in ablation.encoders.items() for run in ablation.runs_with(encoder))
    return [(name, run) for name, run in needed if name in untrained or not store.has(run)]


def check_encoders(plan: GamePlan, names: Sequence[str]) -> None:
    """Check that every encoder of an ablation can be loaded, before hours of training.

    Parameters
    ----------
    plan : GamePlan
        Game and encoder.
    names : sequence of str
        As for `resolve_encoders`.

    Raises
    ------
    ValueError
        If a name is not valid, weights are missing or do not fit, or a package is not installed.
    """
    labelled = has_label_maps(plan.cells[0].options)
    for name, full in resolve_encoders(names, plan.cells[0].encoder, Path).items():
        if not labelled and (name == HARMONIZED or _needs_labels(name.partition("+")[0])):
            raise ValueError(
                f"The encoder {name!r} is trained with label maps, and {plan.game} has none: leave it out."
            )
        if name == HARMONIZED and any(run.teacher_view != SEMANTIC.name for run in plan.cells):
            raise ValueError(
                "The harmonizer takes its maps from what the teacher acts on, and this one acts on frames."
            )
        if name not in (RANDOM, HARMONIZED) and not _is_objective(name):
            check_encoder(full, plan.cells[0].options)


def _is_objective(name: str) -> bool:
    """Whether a short name is a pretraining objective, with or without ``+tuned``."""
    return name.partition("+")[0] in OBJECTIVES


def read_ablation(ablation: EncoderAblation, store: Store) -> pd.DataFrame:
    """Estimate the share of the perceptual demand that each encoder recovers, from the finished runs.

    Returns
    -------
    pandas.DataFrame
        See `ablation_table`; the column privileged says which encoders were trained with the game's own state.

    Raises
    ------
    lcd.experiments.store.StoreError
        If a run is missing or damaged.
    """
    constants = normalisation_of(ablation.plan, store)
    diagnosed = _scores(ablation.plan, store, ablation.plan.cells, constants)
    others = {
        name: _scores(ablation.plan, store, ablation.runs_with(encoder), constants, diagnosed=False)
        for name, encoder in ablation.encoders.items()
    }
    table = ablation_table(diagnosed, others)
    privileged = {name: _is_privileged(encoder) for name, encoder in ablation.encoders.items()}
    table.insert(1, "privileged", table["encoder"].map(privileged).astype(bool))
    return table


def _is_privileged(encoder: str) -> bool:
    """Whether an encoder was, or may have been, trained with the game's own state, which frames do not show.

    Of an agent that began with an encoder from a file it is not known what that had been trained with.
    """
    if encoder == HARMONIZED:
        return True
    weights = EncoderName.read(encoder).weights
    card = {} if weights is None else read_card(weights)  # whose entries have checked types
    run = card.get("run", {})
    privileged = run.get("view") == "semantic" or run.get("learning") == "imitation" or run.get("harmonizer", 0) > 0
    return privileged or bool({"encoder_checksum", "eye"} & run.keys()) or _needs_labels(card.get("objective", ""))


def _needs_labels(objective: str) -> bool:
    return objective in OBJECTIVES and OBJECTIVES[objective].needs_labels


def _scores(
    plan: GamePlan, store: Store, runs: Sequence[RunSettings], constants: Normalisation, *, diagnosed: bool = True
) -> pd.DataFrame:
    if diagnosed:
        found = episodes_of(plan, store)
    else:
        found = pd.concat([store.load(run).episodes for run in runs], ignore_index=True)
    episodes = played_by(found)
    checked = check_episodes(episodes, game=plan.game, budget=plan.budget) if diagnosed else episodes
    return cell_scores(checked, constants, plan.budget)


def ablation_table(diagnosed: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Estimate the share of the perceptual demand that each encoder recovers.

    Parameters
    ----------
    diagnosed : pandas.DataFrame
        Scores of the four cells of the diagnosis, see `lcd.measurement.scores.cell_scores`.
    others : mapping of str to pandas.DataFrame
        Scores of the cells on pixels with each other encoder, or of one of them.

    Returns
    -------
    pandas.DataFrame
        One row an (encoder, learning) with data: score (mean area on unseen levels), gain (over the encoder of the
        diagnosis), demand (gain of label maps instead of frames), share (gain divided by demand); the last three with
        95 % limits ``_low`` and ``_high``. Limits of the share are Fieller's: infinite where there may be no demand,
        and never narrower than the evaluated episodes allow.
    """
    letters = dict(zip(CELLS, zip(*cell_samples(diagnosed, *PRIMARY), strict=True), strict=True))
    rows = []
    for name, scores in others.items():
        ablated = dict(zip(CELLS, zip(*cell_samples(scores, *PRIMARY), strict=True), strict=True))
        for learning, (pixels, labels) in ABLATED_CELLS.items():
            if not all(len(samples) for samples, _ in (ablated[pixels], letters[pixels], letters[labels])):
                continue
            old, best, new = letters[pixels], letters[labels], ablated[pixels]
            gain, demand = difference_interval(new, old), difference_interval(best, old)
            samples, noise = zip(old, best, new, strict=True)
            counts = np.array([len(cell) for cell in samples])
            spread, known = seed_variances(samples) / counts, squared_errors(noise) / counts
            floored = np.where(np.isnan(known), spread, np.maximum(spread, known))
            of_old, of_best, of_new = floored
            covariance = np.array([[of_new + of_old, of_old], [of_old, of_best + of_old]])
            # As in Welch's limits, more variance must not narrow them through its degrees of freedom.
            freedom = min(
                (
                    degrees_of_freedom(parts[pair], counts[pair])
                    for parts in (spread, floored)
                    for pair in ([2, 0], [0, 1])
                    if parts[pair].any()
                ),
                default=1.0,
            )
            quantile = float(stats.t.ppf(0.975, freedom))
            low, high = fieller_limits(gain.estimate, demand.estimate, covariance, quantile)
            rows.append(
                {"encoder": name, "learning": learning, "score": samples[2].mean()}
                | _share_columns(gain, demand, (low, high))
            )
    return pd.DataFrame(rows)


def _share_columns(gain: Interval, demand: Interval, limits: tuple[float, float]) -> dict[str, float]:
    """Gain, demand and share, with limits."""
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
    """Estimate the share of the perceptual demand that each encoder recovers, on the mean of games.

    The demand of the mean may be certain where that of each game is not. The share is the ratio of the mean gain to the
    mean demand, not the mean of ratios, which any game without a demand would dominate. Limits are t limits over games:
    they generalise to such games, and include the variance over seeds.

    Parameters
    ----------
    shares : pandas.DataFrame
        Concatenated results of `ablation_table` for several games.

    Returns
    -------
    pandas.DataFrame
        One row an (encoder, learning): games (how many) and the columns of `ablation_table`; limits of one game are
        NaN.
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
