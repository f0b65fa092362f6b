"""Encoder ablation with imitation, and the predictive validity of alignment measures.

    python scripts/encoder_study.py --out docs/encoders

Six games, imitation, 3 seeds: the network trained from scratch on frames and on label maps, and each other encoder on
frames. Every policy on frames is then measured as in `lcd align`: agreement of its importance maps with privileged maps
(never human), insertion and deletion curves, the smallest adversarial perturbation and its place, and the invariance of
its features to the game's appearance. Tables are written after each game, and finished runs are kept: the same command
resumes.

With ``--stages 16384,32768,65536`` the learners on frames are also trained for so many steps only, as the first part of
the whole training, and measured there: how perturbations and maps change while they learn. ``--draw-stages`` draws
these from their table alone.

runs.csv
    One row a run: returns, score and measures, see `lcd.studies.predictive_validity.MEASURES`.
stages.csv
    The same for each of the stages, and for the whole training, with the steps.
shares.csv
    One row a (game, encoder): the share of the perceptual demand recovered, see
    `lcd.studies.encoder_ablation.ablation_table`.
mean_shares.csv
    The same on the mean of the games, see `lcd.studies.encoder_ablation.shares_over_games`.
harmonizer.csv
    Effect of the harmonizer in each game, see `lcd.studies.harmonization.effect_table`.
ranks.csv
    Rank correlation of each measure with the score over the encoders of a game.
predictive_validity.csv
    Its mean over games, see `lcd.studies.predictive_validity.predictive_validity`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from lcd.agents import load_policy
from lcd.agents.machine import keep_freed_memory
from lcd.alignment.importance import of_classes, policy_scores
from lcd.alignment.measuring import align, invariance_table
from lcd.alignment.privileged import collect_references
from lcd.analyses.encoder_figure import draw_encoders, draw_stages
from lcd.envs import ProcgenOptions, family_of
from lcd.experiments.display import PlanDisplay
from lcd.experiments.execution import execute
from lcd.experiments.plan import GamePlan
from lcd.experiments.presets import Preset
from lcd.experiments.resources import FASTEST
from lcd.experiments.settings import Hyperparameters, RunSettings
from lcd.experiments.store import Store
from lcd.io.files import replacing
from lcd.measurement.scores import PRIMARY, cell_scores, played_by
from lcd.studies.encoder_ablation import (
    HARMONIZED,
    SCRATCH,
    EncoderAblation,
    ablation_table,
    encoders_of,
    pretrained_in,
    shares_over_games,
)
from lcd.studies.finished_runs import normalisation_of
from lcd.studies.game_encoders import encoder_folder, pretrain_all
from lcd.studies.harmonization import effect_table
from lcd.studies.planning import plan_diagnosis
from lcd.studies.predictive_validity import MEASURES, alignment_measures, predictive_validity, rank_correlations

GAMES = ("coinrun", "ninja", "jumper", "starpilot", "fruitbot", "caveflyer")
ENCODERS = (
    "random",
    "efficientnet_lite0",
    "slow-features",
    "slow-features+tuned",
    "segmentation",
    "segmentation+tuned",
    HARMONIZED,
)
PRESET = Preset(
    steps=131_072,
    seeds=3,
    evaluations=5,
    spacing="even",
    evaluation_episodes=64,
    encoder="nature",
    num_levels=200,
    inverse_temperatures=(1.0, 2.0, 4.0),
    hyperparameters=Hyperparameters(
        num_envs=64,
        rollout_steps=64,
        minibatches=16,
        epochs=3,
        learning_rate=5e-4,
        gamma=0.999,
        gae_lambda=0.95,
        clip_range=0.2,
        entropy=0.01,
        mixing=0.0,
        memory=0,
    ),
)
"""Of the study; a preset of the package may change, and then the committed tables could not be made again."""

STEPS, SEEDS = PRESET.steps, PRESET.seeds
FRAMES, ATTACKED, WORKERS = 128, 16, 2


def planned(game: str, steps: int = STEPS, seeds: int = SEEDS) -> GamePlan:
    """The two imitation cells."""
    plan = plan_diagnosis(game, replace(PRESET, steps=steps, seeds=seeds), distribution_mode="easy", teacher=None)
    return replace(plan, cells=tuple(run for run in plan.cells if run.learning == "imitation"))


def steps_of(text: str) -> tuple[int, ...]:
    """Numbers of steps, separated by commas."""
    return tuple(int(number) for number in text.split(","))


def scores_of(plan: GamePlan, store: Store, runs: tuple[RunSettings, ...]) -> pd.DataFrame:
    """Scores of some runs."""
    episodes = played_by(pd.concat([store.load(run).episodes for run in runs], ignore_index=True))
    return cell_scores(episodes, normalisation_of(plan, store), plan.budget)


def measured(run: RunSettings, store: Store, kept: Path, frames: int, attacked: int) -> dict[str, float]:
    """Measures of a run's final policy, read from a file or measured once, see `measure`."""
    asked = hashlib.sha256(repr((frames, attacked, sorted(MEASURES.items()))).encode()).hexdigest()[:8]
    file = kept / f"{run.name}-{asked}.json"
    if not file.exists():
        with replacing(file) as partial:
            partial.write_text(json.dumps(measure(run, store, frames, attacked)), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def measure(run: RunSettings, store: Store, frames: int, attacked: int) -> dict[str, float]:
    """Alignment measures of a run's final policy on frames of unseen levels, and its final mean returns.

    Parameters
    ----------
    run, store
        A finished run, and where it is.
    frames
        Number of frames.
    attacked
        Number of those for which the smallest adversarial perturbation is searched.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    stored = store.load(run)
    policy, _ = load_policy(stored.policy_file, trust=True)
    unseen = run.unseen_options
    assert isinstance(unseen, ProcgenOptions)
    scores = policy_scores(policy)
    decisions = of_classes(scores, family_of(unseen).action_classes(unseen))
    aligned = align(scores, collect_references(unseen, frames), decisions=decisions, attacked=attacked)
    redrawn = invariance_table(policy.extract_features, unseen, frames)
    episodes = played_by(stored.episodes)
    last = episodes[episodes["step"] == run.steps].groupby("levels")["return"].mean()
    returns = {"training": float(last["training"]), "unseen": float(last["unseen"])}
    return alignment_measures(pd.concat([aligned, redrawn])) | returns


def carry_out(ablation: EncoderAblation, store: Store) -> dict[str, tuple[RunSettings, ...]]:
    """Train the learners of an ablation, and give those on frames by the name of their encoder."""
    with PlanDisplay(ablation.as_plan()) as display:
        execute(ablation.as_plan(), store, listener=display)
    own = tuple(run for run in ablation.plan.cells if run.view == "pixels")
    return {SCRATCH: own} | {name: ablation.runs_with(encoder) for name, encoder in ablation.encoders.items()}


def measured_all(
    runs: Mapping[str, tuple[RunSettings, ...]], store: Store, options: argparse.Namespace
) -> Iterator[tuple[str, RunSettings, dict[str, float]]]:
    """Measures of all runs, by several processes: the name of the encoder, the run and its measures, in order."""
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("forkserver")) as pool:
        asked = (store.root / "measures", options.frames, options.attacked)
        found = {run: pool.submit(measured, run, store, *asked) for of_one in runs.values() for run in of_one}
        for name, of_one in runs.items():
            for run in of_one:
                yield name, run, found[run].result()


def staged(
    game: str, names: Mapping[str, str], store: Store, options: argparse.Namespace, whole: pd.DataFrame
) -> pd.DataFrame:
    """The learners on frames after each stage, beside those of the whole training."""
    rows = []
    for steps in options.stages:
        plan = planned(game, steps, options.seeds)
        plan = replace(plan, cells=tuple(run for run in plan.cells if run.view == "pixels"))
        for name, run, found in measured_all(carry_out(EncoderAblation(plan, names), store), store, options):
            rows.append({"game": game, "encoder": name, "step": steps, "seed": run.seed} | found)
    end = whole[["game", "encoder", "seed", *MEASURES, "training", "unseen"]].assign(step=options.steps)
    return pd.concat([pd.DataFrame(rows), end], ignore_index=True)


def study(
    game: str, encoders: Sequence[str], store: Store, options: argparse.Namespace, console: Console
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The measured runs of a game, the share of its demand that each encoder recovers, and the stages."""
    plan, folder = planned(game, options.steps, options.seeds), encoder_folder(options.store)
    pretrain_all(pretrained_in(plan, encoders, folder), FASTEST, lambda line: console.print(line, highlight=False))
    names = encoders_of(plan, encoders, folder)
    runs = carry_out(EncoderAblation(plan, names), store)
    scores = {name: scores_of(plan, store, of_one) for name, of_one in runs.items()}
    rows, (levels, score) = [], PRIMARY
    for name, run, found in measured_all(runs, store, options):
        console.print(f"{game}: measured {name}, seed {run.seed}", highlight=False)
        table = scores[name]
        of_seed = table[table["levels"] == levels].set_index("seed")[score]
        row = {"game": game, "encoder": name, "learning": run.learning, "harmonizer": run.harmonizer}
        rows.append(row | {"seed": run.seed, "score": of_seed[run.seed]} | found)
    others = {name: scores[name] for name in names}
    shares = ablation_table(scores_of(plan, store, plan.cells), others)
    shares.insert(0, "game", game)
    table = pd.DataFrame(rows)
    return table, shares, staged(game, names, store, options, table) if options.stages else pd.DataFrame()


def main() -> None:
    """Run the study and write its tables and figure after each game."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/encoders"), help="folder of tables and figure")
    parser.add_argument("--store", type=Path, default=Path("lcd-runs"), help="folder of the runs")
    parser.add_argument("--games", default=",".join(GAMES), help="only these games")
    parser.add_argument("--encoders", default=",".join(ENCODERS), help="only these encoders")
    parser.add_argument("--steps", type=int, default=STEPS, help="environment steps of each learner")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each learner")
    parser.add_argument("--frames", type=int, default=FRAMES, help="on which a policy is measured")
    parser.add_argument("--attacked", type=int, default=ATTACKED, help="of these, how many are attacked")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that measure")
    parser.add_argument("--stages", type=steps_of, default=(), help="also measured after so many steps, as 16384,32768")
    parser.add_argument("--draw-stages", action="store_true", help="only draw stages.csv")
    options = parser.parse_args()
    if options.draw_stages:
        draw_stages(pd.read_csv(options.out / "stages.csv")).savefig(options.out / "stages.png", dpi=100)
        return
    encoders = options.encoders.split(",")
    if options.out == parser.get_default("out") and (options.games, options.encoders) != (
        parser.get_default("games"),
        parser.get_default("encoders"),
    ):
        parser.error("the tables would hold these games and encoders alone: name another folder with --out")
    if unknown := [name for name in encoders if name not in ENCODERS]:
        parser.error(f"the figure has no style for the encoder {unknown[0]!r}: choose among {', '.join(ENCODERS)}")
    console, store = Console(), Store(options.store)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    found: list[tuple[pd.DataFrame, ...]] = []
    for game in options.games.split(","):
        found.append(study(game, encoders, store, options, console))
        runs, shares, stages = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
        means = runs.groupby(["game", "encoder"], sort=False)[["score", *MEASURES]].mean().reset_index()
        compared = runs[runs["encoder"].isin([SCRATCH, HARMONIZED])]
        tables = {
            "runs": runs,
            "shares": shares,
            "mean_shares": shares_over_games(shares),
            "harmonizer": effect_table(compared.assign(alignment=compared["gradient"])),
            "ranks": rank_correlations(means, list(MEASURES)),
            "predictive_validity": predictive_validity(means, list(MEASURES)),
        }
        for name, table in tables.items():
            with replacing(options.out / f"{name}.csv") as partial:
                table.round(6).to_csv(partial, index=False)
        if options.stages:
            with replacing(options.out / "stages.csv") as partial:
                stages.round(6).to_csv(partial, index=False)
            draw_stages(stages).savefig(options.out / "stages.png", dpi=100)
        with_mean = pd.concat([shares, tables["mean_shares"].assign(game="mean of games")])
        drawn = draw_encoders(with_mean, tables["ranks"], tables["predictive_validity"])
        drawn.savefig(options.out / "encoders.png", dpi=100)
        console.print(tables["mean_shares"].round(2).to_string(index=False), highlight=False)
        console.print(tables["predictive_validity"].round(2).to_string(index=False), highlight=False)


if __name__ == "__main__":
    main()
