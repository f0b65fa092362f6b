"""Surveys whose demands are known, for the tests of what is made of surveys."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lcd.envs import GAMES
from lcd.experiments.settings import TRAINING_VERSION
from lcd.measurement.scores import CELLS, LEVELS, Normalisation
from lcd.studies.diagnosis import Diagnosis, TeacherCard

BUDGET = 100_000
STEPS = (0, 20_000, 40_000, 60_000, 80_000, BUDGET)
PLAN = """
games = ["coinrun", "Maze"]
preset = "smoke"
steps = 1024
seeds = 1
teacher_factor = 1
train_teachers = true
"""


def diagnosis(
    game,
    perceptual,
    policy,
    *,
    joint=0.05,
    top=0.9,
    noise=0.01,
    seeds=3,
    seed=0,
    episodes=8,
    settings=None,
    first_seed=0,
    teacher_return=9.5,
):
    """A diagnosis with these demands, but for noise: curves rise at once to their cell's score and stay there."""
    random = np.random.default_rng(seed)
    levels_of_cells = {
        "d": top,
        "c": top - perceptual,
        "b": top - policy,
        "a": top - perceptual - policy - joint,
    }
    rows = []
    for letter, (view, learning) in CELLS.items():
        for number in range(first_seed, first_seed + seeds):
            height = levels_of_cells[letter] + noise * random.standard_normal()
            for step in STEPS:
                for levels in LEVELS:
                    mean = height + (0.02 if levels == "training" else 0.0)
                    for episode in range(episodes):
                        value = mean + 0.05 * (episode - (episodes - 1) / 2)
                        rows.append((game, view, learning, number, step, levels, episode, episode, 10 * value, 100))
    names = ["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"]
    return Diagnosis.from_episodes(
        pd.DataFrame(rows, columns=names),
        game=game,
        budget=BUDGET,
        normalisation=Normalisation(0.0, 10.0, "published"),
        teacher=TeacherCard("reference", None, teacher_return, 9.3),
        settings={"preset": "smoke", "runs": runs(range(first_seed, first_seed + seeds)), "core_hours": 0.5}
        | (settings or {}),
    )


def runs(seeds):
    """What a diagnosis tells of its runs."""
    return [
        {"view": view, "learning": learning, "seed": seed, "run": f"{view}-{learning}-{seed}"}
        | {"training_version": TRAINING_VERSION}
        | {"core_hours": 0.1, "commit": "1e3f", "finished": "2026-01-02T03:04:05+00:00", "machine": "a processor"}
        | {"precision": "float32"}
        for view, learning in CELLS.values()
        for seed in seeds
    ]


def survey(groups, *, spread=0.02, seed=0, **settings):
    """Diagnoses of games in groups around given (perceptual, policy) demands.

    Parameters
    ----------
    groups
        Mapping of a centre to the number of its games; games are taken from Procgen's, in their order.
    """
    random = np.random.default_rng(seed)
    games = iter(GAMES)
    return [
        diagnosis(
            next(games), *(np.array(centre) + spread * random.standard_normal(2)), seed=100 * seed + number, **settings
        )
        for number, centre in enumerate(centre for centre, count in groups.items() for _ in range(count))
    ]


def measured(game, first_seed=0, teacher="5ea1", version=TRAINING_VERSION, episodes=8, **run):
    """A diagnosis that tells how it was measured."""
    first = {"view": "pixels", "distribution_mode": "easy", "num_levels": 200, "encoder": "nature"} | run
    plan = {"games": [{"budget": BUDGET, "teacher": teacher, "runs": [{"view": "semantic"}, first]}]}
    made = [run | {"training_version": version} for run in runs(range(first_seed, first_seed + 3))]
    settings = {"preset": "smoke", "plan": plan, "runs": made}
    return diagnosis(game, 0.1, 0.2, first_seed=first_seed, episodes=episodes, settings=settings)
