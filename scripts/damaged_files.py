"""Fuzz test of the readers of untrusted files: each damaged file must be refused in one sentence, or still be valid.

``python scripts/damaged_files.py --count 300`` prints a table. Files of every kind are damaged in every way: flipped
bits, cut off, wrong types, nested deeply, huge numbers declared, or no ordinary file at all. The readers run in this
process, with limits on their time and additional memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

SECONDS, MEMORY = 60, 3 * 2**30
"""Limits of one reading: time, and address space beside what the process has."""

HUGE = (10**12, 2**31, 2**63, 10**30, 10**400, -1, 0, 1e308, float("inf"), float("nan"))
NAMES = (
    "nature@/etc/passwd",
    "hf:somebody/model",
    "timm:resnet18",
    "impala:100000,100000,100000",
    "nature:" + "9" * 50,
)
ODD = ([], {}, None, True, "text", ["maze"], "\x1b[31m\n", "\ud800", "[/]", "$x$", "../../x", *HUGE, *NAMES)


class TookTooLongError(BaseException):
    """A reading did not end; no reader can catch it by mistake."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name
        What the table calls it.
    command
        What reads it.
    make
        Makes a good file in an empty folder, and gives its path.
    read
        Reads it; ends as a command does, or raises ValueError for bad input.
    data
        Whether it is JSON or TOML, whose values can be replaced; or a file of safetensors with such metadata.
    """

    name: str
    command: str
    make: Callable[[Path], Path]
    read: Callable[[Path], None]
    data: str = ""


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Damage so many files, and tell what became of them.

    Parameters
    ----------
    count
        Damaged files, over all kinds.
    seed
        Of the damages.

    Returns
    -------
    list of dict
        A row a kind: kind, command, tried, refused (one sentence and exit status 2), accepted (read to the end, for the
        damage changes nothing or leaves a valid file), faults (a traceback, another status, no end, or the memory), and
        examples of faults.
    """
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, _quiet(Path(name)):
        folder = Path(name)
        kinds = _kinds(folder)
        table = [
            {"kind": kind.name, "command": kind.command, "tried": 0, "refused": 0, "accepted": 0, "faults": 0}
            | {"examples": []}
            for kind in kinds
        ]
        for number, kind in enumerate(kinds):
            work = folder / f"whole-{number}"
            work.mkdir()
            ended, said = _outcome(kind, kind.make(work))
            if ended != "accepted":
                raise RuntimeError(f"A whole file of the kind {kind.name!r} is not read: {said}")
            _remove(work)
        for number in range(count):
            place = number % len(kinds)
            kind, row = kinds[place], table[place]
            work = folder / f"case-{number}"
            work.mkdir()
            file = kind.make(work)
            how = _damage(file, kind, draw)
            ended, said = _outcome(kind, file)
            row["tried"] += 1
            row[ended] += 1
            if ended == "faults":
                row["examples"].append(f"{how}: {said}")
            _remove(work)
    return table


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Work in a folder, without measuring this machine where a plan is only to be printed."""
    import torch

    from lcd.experiments.timing import kind_of

    before = Path.cwd()
    os.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = mock.patch("lcd.cli.display.measured_rates", lambda runs, *others: {kind_of(run): 1e3 for run in runs})
    try:
        with warnings.catch_warnings(), rates:
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)
        os.chdir(before)


def _outcome(kind: Kind, file: Path) -> tuple[str, str]:
    """What became of a file: a column of the table, and what was said."""
    said = io.StringIO()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, limits[1]))
    status: Any = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            kind.read(file)
    except SystemExit as end:
        status = end.code or 0
    except ValueError as error:
        status = 2
        said.write(str(error))
    except TookTooLongError:
        return "faults", f"more than {SECONDS} s"
    except BaseException:
        return "faults", traceback.format_exc()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    text = said.getvalue()
    if status == 0:
        return "accepted", text
    refused = status == 2 and "Traceback" not in text and text.strip() and "\n" not in text.strip()
    if not refused or "memory" in text:
        return "faults", f"exit status {status}: {text}"
    return "refused", text


def _too_long(number: int, frame: Any) -> None:
    raise TookTooLongError


def _remove(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


# What is done to a file


def _damage(file: Path, kind: Kind, draw: random.Random) -> str:
    """Damage a file in place, and tell how."""
    ways: list[Callable[[Path, random.Random], str]] = [_flip, _flip, _cut, _fill, _repeat, _no_file]
    if kind.data:
        replace = {"json": _replace_json, "toml": _replace_toml, "safetensors": _replace_metadata}[kind.data]
        ways = [*ways, replace, replace, replace, replace, _nest]
    way = draw.choice(ways)
    return f"{file.name} {way(file, draw)}"


def _flip(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    places = [draw.randrange(len(content)) for _ in range(draw.choice((1, 1, 1, 8, 64)))]
    if draw.random() < 0.5:  # at the beginning, where lengths and kinds are
        places = [place % 256 % len(content) for place in places]
    for place in places:
        content[place] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return f"with flipped bits at {places[:8]}"


def _cut(file: Path, draw: random.Random) -> str:
    content = file.read_bytes()
    kept = draw.choice((0, 1, 8, draw.randrange(len(content)), len(content) - 1))
    file.write_bytes(content[:kept])
    return f"cut to {kept} bytes"


def _fill(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    start, length = draw.randrange(len(content)), draw.choice((1, 8, 100))
    sign = draw.choice((0, 255, 0x2C, 0x22, 0x5B, 0x0A))
    content[start : start + length] = bytes([sign]) * length
    file.write_bytes(content)
    return f"with {length} times {sign} at {start}"


def _repeat(file: Path, draw: random.Random) -> str:
    content = file.read_bytes()
    start = draw.randrange(len(content))
    part = content[start : start + draw.choice((1, 16, 4096))]
    times = draw.choice((2, 1000))
    file.write_bytes(content[:start] + part * times + content[start:])
    return f"with {len(part)} bytes at {start} {times} times"


def _no_file(file: Path, draw: random.Random) -> str:
    """What bears a file's name and is none, or one of nothing but a size."""
    what = draw.choice(("a pipe", "a folder", "zeros without end", "a link to itself", "lost", "a huge hole"))
    file.unlink()
    if what == "a pipe":
        os.mkfifo(file)
    elif what == "a folder":
        file.mkdir()
    elif what == "zeros without end":
        file.symlink_to("/dev/zero")
    elif what == "a link to itself":
        file.symlink_to(file.name)
    elif what == "a huge hole":
        with file.open("wb") as hole:
            hole.truncate(2**40)
    return f"is {what}"


def _nest(file: Path, draw: random.Random) -> str:
    depth = draw.choice((100, 900, 100_000))
    opened = draw.choice(('{"a":', "["))
    closed = {"[": "]", '{"a":': "}"}[opened]
    text = opened * depth + "1" + closed * depth * draw.randrange(2)
    if file.suffix == ".toml":
        file.write_text(f"games = {text}" if draw.random() < 0.5 else "a." * depth + "a = 1")
    elif file.suffix == ".json":
        file.write_text(text)
    else:
        _rewritten(file, lambda metadata: metadata | {draw.choice(sorted(metadata)): text})
    return f"nested {depth} times"


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values are in JSON data."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(value, (*path, key))


def _replaced(data: Any, draw: random.Random) -> tuple[Any, str]:
    """The data with one value that is another, or is gone."""
    places = list(_places(data))
    shallow = [path for path in places if len(path) <= 2]
    path = draw.choice(shallow if draw.random() < 0.6 else places)
    value = draw.choice(ODD)
    if not path:
        return value, f"is {value!r:.40}"
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if draw.random() < 0.2:
        del inner[path[-1]]
        return data, f"without {path}"
    inner[path[-1]] = value
    return data, f"with {value!r:.40} at {path}"


def _replace_json(file: Path, draw: random.Random) -> str:
    data, how = _replaced(json.loads(file.read_text()), draw)
    file.write_text(json.dumps(data))
    return how


def _replace_toml(file: Path, draw: random.Random) -> str:
    key = draw.choice(
        ("games", "preset", "steps", "seeds", "encoder", "evaluations", "num_levels", "appearance", "mode")
    )
    value = draw.choice([value for value in ODD if value is not None])
    text = json.dumps(value) if not isinstance(value, float) else repr(value)
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{key} ")]
    file.write_text("\n".join([*lines, f"{key} = {text}"]) + "\n")
    return f"with {key} = {text:.40}"


def _replace_metadata(file: Path, draw: random.Random) -> str:
    how = ""

    def change(metadata: dict[str, str]) -> dict[str, str]:
        nonlocal how
        key = draw.choice([key for key in metadata if key != "sha256"])
        try:
            value, how = _replaced(json.loads(metadata[key]), draw)
            text = json.dumps(value)
        except json.JSONDecodeError:
            text = str(draw.choice(NAMES))
            how = f"is {text:.40}"
        how = f"{key} {how}"
        return metadata | {key: text}

    _rewritten(file, change)
    return how


def _rewritten(file: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Write a file of safetensors again with other metadata, as whoever forges one does: without a seal."""
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = change({key: text for key, text in header["__metadata__"].items() if key != "sha256"})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


# Kinds of files, and what reads them


def _lcd(*arguments: object) -> None:
    """Run the command as a process would, but for the process."""
    from lcd.cli.main import main

    with mock.patch.object(sys, "argv", ["lcd", *map(str, arguments)]):
        main()


def _copied(template: Path, name: str) -> Callable[[Path], Path]:
    """What makes a copy of a folder, and gives the path of one of its files."""

    def make(folder: Path) -> Path:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return folder / name

    return make


def _kinds(folder: Path) -> list[Kind]:
    """All kinds; good files of each are in the folder."""
    good = folder / "good"
    good.mkdir()
    policies, run = _make_policies(good), _make_store(good / "store")
    for make in (_make_images, _make_clickme, _make_gaze, _make_diagnoses, _make_tables, _make_plans, _make_teachers):
        make(good)

    def align(file: Path) -> None:
        maps = f"{good / 'images'},{good / 'maps'}"
        _lcd("align", file, "--maps", maps, "--source", "human", "--count", 2, "--methods", "gradient", *_OUT)

    def align_images(file: Path) -> None:
        maps = f"{file.parents[1] / 'images'},{file.parents[1] / 'maps'}"
        small = policies / "policy.safetensors"
        _lcd("align", small, "--maps", maps, "--source", "human", "--count", 2, "--methods", "gradient", *_OUT)

    def align_clickme(file: Path) -> None:
        large = policies / "large.safetensors"
        _lcd("align", large, "--maps", file.parent, "--count", 2, "--methods", "gradient", *_OUT)

    def watch(file: Path) -> None:
        _lcd("watch", "--run", file, "--max-steps", 2, "--out", "film.gif")

    def encoder(file: Path) -> None:
        _lcd("diagnose", "maze", "--preset", "smoke", "--encoder", f"nature@{file}", "--dry-run")

    def survey(file: Path) -> None:
        _lcd("survey", file, "--dry-run")

    def plan(file: Path) -> None:
        _lcd("diagnose", "maze", "--preset", "smoke", "--out", file.parent, "--dry-run")

    def place(file: Path) -> None:
        _lcd("taxonomy", good / "tables", "--place", file.parent)

    def tables(file: Path) -> None:
        _lcd("taxonomy", file.parent, "--place", good / "diagnosis")

    def store(file: Path) -> None:
        from lcd.cli.errors import exit_status
        from lcd.experiments.store import Store

        try:
            Store(file.parents[1]).load(run)
        except Exception as error:
            if (status := exit_status(error)) is None:
                raise
            print(error, file=sys.stderr)
            raise SystemExit(status) from None

    def trial(file: Path) -> None:
        from lcd.alignment.gaze import read_trial

        read_trial(file.parent / "trial.txt")

    def card(file: Path) -> None:
        from lcd.teachers.library import Card

        Card.read(file)

    def checkpoint(file: Path) -> None:
        from lcd.teachers.training import _read_segment

        _read_segment(file)

    return [
        Kind("policy", "lcd align", _copied(policies, "policy.safetensors"), align, "safetensors"),
        Kind("policy of a run", "lcd watch", _copied(policies, "run.safetensors"), watch, "safetensors"),
        Kind("encoder, safetensors", "lcd diagnose", _copied(policies, "encoder.safetensors"), encoder, "safetensors"),
        Kind("encoder, torch.save", "lcd diagnose", _copied(policies, "encoder.pt"), encoder),
        Kind("encoder, older torch.save", "lcd diagnose", _copied(policies, "older.pth"), encoder),
        Kind("survey", "lcd survey", _copied(good / "plans", "survey.toml"), survey, "toml"),
        Kind("plan", "lcd diagnose --out", _copied(good / "plans", "plan.json"), plan, "json"),
        Kind("diagnosis", "lcd taxonomy --place", _copied(good / "diagnosis", "diagnosis.json"), place, "json"),
        *(
            Kind(f"table {name}", "lcd taxonomy", _copied(good / "tables", f"{name}.csv"), tables)
            for name in ("games", "scores", "curves", "demands")
        ),
        Kind("record of a run", "store", _copied(good / "store", f"{run.name}/run.json"), store, "json"),
        Kind("episodes of a run", "store", _copied(good / "store", f"{run.name}/episodes.csv"), store),
        Kind("image", "lcd align --maps", _pictures(good, "images/b.png"), align_images),
        Kind("map", "lcd align --maps", _pictures(good, "maps/b.jpg"), align_images),
        Kind("ClickMe, npz", "lcd align --maps", _copied(good / "npz", "a.npz"), align_clickme),
        Kind("ClickMe, TFRecord", "lcd align --maps", _copied(good / "shards", "a.tfrecords"), align_clickme),
        Kind("gaze, table", "read_trial", _copied(good / "gaze", "trial.txt"), trial),
        Kind("gaze, frames", "read_trial", _copied(good / "gaze", "trial.tar.bz2"), trial),
        Kind("card of a teacher", "lcd teachers", _copied(good / "teachers", "card.json"), card, "json"),
        Kind("checkpoint of a teacher", "lcd teachers train", _copied(good / "teachers", "segment-0.pt"), checkpoint),
    ]


_OUT = ("--out", "alignment.csv")


def _pictures(good: Path, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for part in ("images", "maps"):
            shutil.copytree(good / part, folder / part)
        return folder / name

    return make


def _make_policies(good: Path) -> Path:
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
    return folder


def _make_store(folder: Path) -> Any:
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


def _make_images(good: Path) -> None:
    for part, shape, ending in (("images", (64, 64, 3), ".png"), ("maps", (64, 64), ".jpg")):
        (good / part).mkdir()
        for number, name in enumerate("abc"):
            _image(number, shape).save(good / part / f"{name}{ending}")


def _make_clickme(good: Path) -> None:
    for part in ("npz", "shards"):
        (good / part).mkdir()
    draw = np.random.default_rng(0)
    arrays = {
        "image": draw.integers(256, size=(64, 64, 3), dtype=np.uint8),
        "heatmap": draw.random((64, 64)),
        "label": 3,
    }
    for name in "abc":
        np.savez_compressed(good / "npz" / f"{name}.npz", **arrays)
    _write_shard(good / "shards" / "a.tfrecords")


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


def _make_gaze(good: Path) -> None:
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
    from lcd.measurement.scores import CELLS, LEVELS
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
        normalisation=plan.normalisation,
        settings=settings,
    )


def _make_diagnoses(good: Path) -> None:
    (good / "diagnosis").mkdir()
    _diagnosis("maze", 0).to_json(good / "diagnosis" / "diagnosis.json")


def _make_tables(good: Path) -> None:
    from lcd.studies.survey.tables import SurveyTables

    games = ("coinrun", "heist", "leaper", "miner")
    SurveyTables.of([_diagnosis(game, seed) for seed, game in enumerate(games)]).write(good / "tables")


def _make_plans(good: Path) -> None:
    from lcd.experiments.plan import Plan
    from lcd.experiments.presets import PRESETS
    from lcd.studies.pipeline import plan_diagnosis

    (good / "plans").mkdir()
    (good / "plans" / "survey.toml").write_text('games = ["maze"]\npreset = "smoke"\nseeds = 2\n')
    plan = plan_diagnosis("maze", PRESETS["smoke"], distribution_mode="easy", teacher=None)
    (good / "plans" / "plan.json").write_text(json.dumps(Plan((plan,)).as_dict()))


def _make_teachers(good: Path) -> None:
    import torch

    from lcd.teachers.library import SHIPPED

    (good / "teachers").mkdir()
    shutil.copy(SHIPPED / "maze.json", good / "teachers" / "card.json")
    state = {"number": 0, "cooled": 0, "policy": {"a": torch.zeros(4)}, "table": [{"steps": 1}]}
    torch.save(state, good / "teachers" / "segment-0.pt")


def main() -> None:
    """Print the table."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="Damaged files, over all kinds.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = pd.DataFrame(rows(options.count, options.seed))
    print(table.drop(columns="examples").to_string(index=False))
    for row in table.to_dict("records"):
        for example in row["examples"]:
            print(f"\n{row['kind']}: {example}")


if __name__ == "__main__":
    main()
