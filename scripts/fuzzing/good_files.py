"""Good files of every kind, which are then damaged."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lcd.studies.tracking.conditions import TESTS, Condition

TRACKING = Condition("none=nature", distractors=1, steps=64, evaluations=1)
"""An agent of the tracking study, of which rows are made up."""


def make_others(good: Path) -> None:
    """Everything but policies and a store."""
    for make in (
        make_images,
        make_clickme,
        make_recording,
        make_gaze,
        make_diagnoses,
        make_tables,
        make_evidence,
        make_plans,
        make_teachers,
        make_scores,
        make_tracking,
    ):
        make(good)


def make_scores(good: Path) -> None:
    """A table of scores of methods in games."""
    (good / "audit").mkdir()
    lines = ["method,game,split,score,std,seeds"]
    for number, method in enumerate(("PPO", "PPG", "DAAC")):
        lines += [f"{method},{game},test,{number + place / 2},0.5,3" for place, game in enumerate("uvwx")]
    (good / "audit" / "scores.csv").write_text("\n".join(lines) + "\n")


def make_tracking(good: Path) -> None:
    """The rows of a finished agent that tracks."""
    (good / "tracking" / "agents").mkdir(parents=True)
    rows = [
        asdict(TRACKING)
        | {"weights": 1_000, "seconds": 0.5, "step": step, "test": test, "measure": "return", "value": 0.25}
        for step in (0, TRACKING.steps)
        for test in TESTS
    ]
    pd.DataFrame(rows).to_csv(good / "tracking" / "agents" / f"{TRACKING.identity}.csv", index=False)


def make_evidence(good: Path) -> None:
    """What a validation measured in six games."""
    from lcd.studies.validation.predictors import PREDICTORS

    (good / "evidence").mkdir()
    games = "uvwxyz"
    lines = [",".join(["game", *PREDICTORS])]
    lines += [",".join([game, *(str(0.1 * (place + 1)) for _ in PREDICTORS)]) for place, game in enumerate(games)]
    (good / "evidence" / "predictors.csv").write_text("\n".join(lines) + "\n")
    gains = ["game,improvement,kind,gain"]
    for improvement, kind in (("augment-crop", "perceptual"), ("phasic", "policy")):
        gains += [f"{game},{improvement},{kind},{0.05 * place - 0.1}" for place, game in enumerate(games)]
    (good / "evidence" / "gains.csv").write_text("\n".join(gains) + "\n")


def make_policies(good: Path) -> Path:
    """Policies, encoders' weights, and the policy of a run; their folder."""
    import torch
    from gymnasium import spaces

    from lcd.agents import EncoderPolicy, save_backbone, save_policy
    from lcd.experiments.plan import plan_game
    from lcd.experiments.presets import PRESETS

    folder = good / "policies"
    folder.mkdir()
    run = next(run for run in plan_game("maze", PRESETS["smoke"]).cells if run.view == "pixels")
    for name, side, card in (
        ("policy", 64, {"note": "mine"}),
        ("large", 224, {"note": "mine"}),
        ("run", 64, {"game": "maze", "run": run.as_dict()}),
    ):
        space = spaces.Box(0, 255, (3, side, side), np.uint8)
        encoder = "small:8" if side == 224 else "nature:16"
        policy = EncoderPolicy(space, spaces.Discrete(15), lambda left: 0.0, encoder)
        save_policy(policy, folder / f"{name}.safetensors", card)
    policy = EncoderPolicy(spaces.Box(0, 255, (3, 64, 64), np.uint8), spaces.Discrete(15), lambda left: 0.0, "nature")
    network: Any = policy.features_extractor
    save_backbone(network, folder / "encoder.safetensors", "nature", {"objective": "autoencoding", "run": {}})
    torch.save(network.backbone.state_dict(), folder / "encoder.pt")
    torch.save(network.backbone.state_dict(), folder / "older.pth", _use_new_zipfile_serialization=False)
    make_model(folder / "model.zip")
    return folder


def make_model(file: Path) -> None:
    """A model of Stable-Baselines3."""
    from gymnasium import spaces
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecTransposeImage

    from lcd.envs import ProcgenOptions, ProcgenVecEnv

    env = VecTransposeImage(ProcgenVecEnv(ProcgenOptions("maze"), 1))
    assert isinstance(env.observation_space, spaces.Box)
    PPO("CnnPolicy", env, n_steps=8, batch_size=8, device="cpu").save(file)
    env.close()


def make_store(folder: Path) -> Any:
    """A store with one run, whose episodes nobody played; the run."""
    import pandas as pd

    from lcd.experiments.plan import plan_game
    from lcd.experiments.presets import PRESETS
    from lcd.experiments.store import Store

    store, run = Store(folder), plan_game("maze", PRESETS["smoke"]).cells[0]
    episodes = pd.DataFrame(
        [
            (run.game, run.view, run.learning, run.seed, step, levels, episode, episode, 5.0, 100)
            for step in run.evaluation.steps
            for levels in ("unseen", "training")
            for episode in range(4)
        ],
        columns=["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"],
    )
    workspace: Any = store.workspace(run)
    machine = {"threads": 1}
    if isinstance(workspace, Path):
        store.finish(run, workspace, episodes, 1.0, None, machine)
    else:  # a context
        with workspace as place:
            store.finish(run, place, episodes, 1.0, None, machine)
    shutil.rmtree(folder / ".unfinished", ignore_errors=True)
    return run


def _image(seed: int, shape: tuple[int, ...]) -> Any:
    from PIL import Image

    return Image.fromarray(np.random.default_rng(seed).integers(256, size=shape).astype(np.uint8))


def make_images(good: Path) -> None:
    """Images and maps in two folders."""
    for part, shape, ending in (("images", (64, 64, 3), ".png"), ("maps", (64, 64), ".jpg")):
        (good / part).mkdir()
        for number, name in enumerate("abc"):
            _image(number, shape).save(good / part / f"{name}{ending}")


def make_clickme(good: Path) -> None:
    """Images with maps as ClickMe has them: in files of numpy, and as a TFRecord."""
    for part in ("npz", "shards"):
        (good / part).mkdir()
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "image": draw.integers(256, size=(64, 64, 3), dtype=np.uint8),
        "heatmap": draw.random((64, 64)),
        "label": 3,
    }
    for name in "abc":
        np.savez_compressed(good / "npz" / f"{name}.npz", **arrays)
    _write_shard(good / "shards" / "a.tfrecords")


def make_recording(good: Path) -> None:
    """Images with recorded responses."""
    (good / "recording").mkdir()
    draw = np.random.default_rng(0)
    images = draw.integers(256, size=(24, 16, 16, 3), dtype=np.uint8)
    np.savez_compressed(good / "recording" / "a.npz", images=images, responses=draw.random((2, 24, 3)))


def _write_shard(file: Path) -> None:
    import struct

    import google_crc32c

    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)

    def field(place: int, content: bytes) -> bytes:
        return bytes([place << 3 | 2]) + number(len(content)) + content

    def masked(content: bytes) -> bytes:
        checksum = google_crc32c.value(content)
        return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def png(seed: int, shape: tuple[int, ...]) -> bytes:
        content = io.BytesIO()
        _image(seed, shape).save(content, "PNG")
        return content.getvalue()

    with file.open("wb") as shard:
        for seed in range(3):
            features = {
                "image": field(1, field(1, png(seed, (64, 64, 3)))),
                "heatmap": field(1, field(1, png(seed, (64, 64)))),
                "label": field(3, field(1, number(seed))),
            }
            entries = (field(1, field(1, name.encode()) + field(2, value)) for name, value in features.items())
            example = field(1, b"".join(entries))
            length = struct.pack("<Q", len(example))
            shard.write(length + masked(length) + example + masked(example))


def make_gaze(good: Path) -> None:
    """A trial of Atari-HEAD: a table of gaze and its frames."""
    import tarfile

    folder = good / "gaze"
    folder.mkdir()
    lines = ["frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions"]
    with tarfile.open(folder / "trial.tar.bz2", "w:bz2") as archive:
        for number in range(4):
            name = f"F_{number}"
            lines.append(f"{name},0,0,50,0,{number},80.5,{100 + number},20,30")
            content = io.BytesIO()
            _image(number, (210, 160, 3)).save(content, "PNG")
            member = tarfile.TarInfo(f"trial/{name}.png")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    (folder / "trial.txt").write_text("\n".join(lines) + "\n")


def _diagnosis(game: str, seed: int) -> Any:
    """A diagnosis of episodes that nobody played."""
    import pandas as pd

    from lcd.experiments.plan import Plan, plan_game
    from lcd.experiments.presets import PRESETS
    from lcd.measurement.scores import CELLS, LEVELS, Normalisation
    from lcd.studies.diagnosis import Diagnosis

    plan = plan_game(game, PRESETS["smoke"])
    steps = plan.cells[0].evaluation.steps
    draw = np.random.default_rng(seed)
    rows = [
        (game, view, learning, number, step, levels, episode, episode, draw.normal(place + step / steps[-1], 1), 100)
        for place, (view, learning) in enumerate(CELLS.values())
        for number in range(3)
        for step in steps
        for levels in LEVELS
        for episode in range(4)
    ]
    names = ["game", "view", "learning", "seed", "step", "levels", "episode", "level_seed", "return", "length"]
    settings = {"preset": "smoke", "plan": Plan((plan,)).as_dict()}
    return Diagnosis.from_episodes(
        pd.DataFrame(rows, columns=names),
        game=game,
        budget=plan.budget,
        normalisation=Normalisation(5, 10, "published"),
        settings=settings,
    )


def make_diagnoses(good: Path) -> None:
    """A diagnosis."""
    (good / "diagnosis").mkdir()
    _diagnosis("maze", 0).to_json(good / "diagnosis" / "diagnosis.json")


def make_tables(good: Path) -> None:
    """Tables of a survey."""
    from lcd.studies.survey.tables import SurveyTables

    games = ("coinrun", "heist", "leaper", "miner")
    SurveyTables.of([_diagnosis(game, seed) for seed, game in enumerate(games)]).write(good / "tables")


def make_plans(good: Path) -> None:
    """A survey's plan, and that of a diagnosis."""
    from lcd.experiments.plan import Plan
    from lcd.experiments.presets import PRESETS
    from lcd.studies.planning import plan_diagnosis

    (good / "plans").mkdir()
    (good / "plans" / "validation.toml").write_text(
        'games = ["maze", "ninja", "leaper", "bigfish", "plunder"]\npreset = "smoke"\nfurther_seeds = 1\n'
        'improvements = ["augment-crop", "phasic"]\n[[hypotheses]]\npredictor = "perceptual"\ngain = "perceptual"\n'
    )
    (good / "plans" / "survey.toml").write_text('games = ["maze"]\npreset = "smoke"\nseeds = 2\n')
    plan = plan_diagnosis("maze", PRESETS["smoke"], distribution_mode="easy", teacher=None)
    (good / "plans" / "plan.json").write_text(json.dumps(Plan((plan,)).as_dict()))


TEACHERS_ENCODER = "impoola:4"
"""Encoder of the teacher that has a checkpoint."""


def make_teachers(good: Path) -> None:
    """A teacher's card, and a checkpoint of its training, of a segment that is over at once."""
    from unittest import mock

    from lcd.envs import ProcgenOptions
    from lcd.experiments.settings import Hyperparameters
    from lcd.teachers import training
    from lcd.teachers.library import SHIPPED

    (good / "teachers").mkdir()
    shutil.copy(SHIPPED / "maze.json", good / "teachers" / "card.json")
    run = training.TrainingRun(64, Hyperparameters(num_envs=4, rollout_steps=16, minibatches=2), TEACHERS_ENCODER)
    with mock.patch.object(training, "SEGMENT_STEPS", 64):
        training.train_policy(ProcgenOptions("bigfish", num_levels=50), run, good / "teachers")
