"""Soak test: losses when processes are killed, bits flip, files are damaged, or training runs long.

    python scripts/soak.py                                  # everything, some hours; the table is docs/soak.csv
    python scripts/soak.py kills flips --kills 5 --flips 20 # two of the parts, fewer of each
    python scripts/soak.py learn --minutes 3

kills   SIGKILL to a survey of several games at a random moment: to the process that plans, to one that trains, or to
        all at once. The same command then goes on. When it reaches the end, every run, diagnosis and table must equal,
        bit for bit, those of an undisturbed survey, except times. Then another survey begins, until
        as many signals were sent as are asked for.
resume  SIGKILL to a single run, which goes on from its last checkpoint, by `interrupted_run.py`.
flips   One bit of a file of a finished survey is flipped, over all kinds of files. Its reader must refuse it in one
        sentence, or return the same as before.
learn   `PPO.learn` goes on in one process, and its memory must not grow. The first quarter of the time is warming up.
files   Damaged untrusted files, over all commands, by `damaged_files.py`.

A row of the table says what was tried, how often, how often it was detected (refused in one sentence), how often it
changed nothing, and how often something was lost: a run, a bit of a result, or the one sentence. The exit status is 1
if anything was lost or memory grew by more than 10 MB. An interrupted part enters what it has found so far; parts that
are not run keep their rows. For Linux, as it reads /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import lcd  # noqa: F401, first: it keeps the old gym's notice off the terminal

# isort: split
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lcd.agents import PPO, Encoder, load_policy, save_backbone
from lcd.agents.encoders.weights import load_weights, read_card
from lcd.envs import ProcgenOptions, make_vec_env
from lcd.experiments.plan import Plan
from lcd.experiments.store import Store
from lcd.io.checksums import SUMS, Contents
from lcd.io.files import checksum, replacing
from lcd.studies.output import OutputFolder
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.tables import FILES, SurveyTables

PARTS = ("kills", "resume", "flips", "learn", "files")
COLUMNS = ["part", "what", "tried", "detected", "unchanged", "lost", "growth_mb"]
MOST_GROWTH_MB = 10.0
GAMES = ("coinrun", "maze", "starpilot")
SURVEY = 'preset = "smoke"\nseeds = 1\ntrain_teachers = true\n'
LARGEST_WAIT = 600.0
"""Seconds after which a command that should have ended is taken to hang."""

console = Console()


@dataclass
class Row:
    """A line of the table, see the module's description."""

    part: str
    what: str
    tried: int = 0
    detected: int = 0
    unchanged: int = 0
    lost: int = 0
    growth_mb: float = float("nan")


def say(text: str) -> None:
    """Tell how far a part has come."""
    console.print(text, highlight=False, soft_wrap=True)


# Surveys, disturbed and not


@dataclass(frozen=True)
class Place:
    """A folder with a survey's file, its store, its diagnoses and its tables, and the survey's games."""

    folder: Path
    games: tuple[str, ...]

    @property
    def store(self) -> Path:
        """Folder of the runs."""
        return self.folder / "store"

    @property
    def runs(self) -> dict[str, Path]:
        """Folders of the finished runs, by their names."""
        return {path.parent.name: path.parent for path in self.store.glob("*/run.json") if path.parent.name[0] != "."}

    def start(self, workers: int) -> subprocess.Popen[str]:
        """Begin or go on with the survey, in a session of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plan.toml").write_text(f"games = {list(self.games)}\n{SURVEY}")
        command = [sys.executable, "-m", "lcd.cli.main", "survey", "plan.toml", "--store", "store", "--out", "out"]
        command += ["--tables", "tables", "--workers", str(workers), "--threads", "1", "--device", "cpu"]
        errors = (self.folder / "errors.txt").open("w")
        with errors:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=errors, text=True, start_new_session=True
            )

    def carry_out(self, workers: int) -> float:
        """Carry out the whole survey undisturbed, unless that was done before, and give the seconds that it took."""
        took = self.folder / "seconds.txt"
        if took.exists():
            return float(took.read_text())
        started = time.monotonic()
        process = self.start(workers)
        try:
            if process.wait():
                raise RuntimeError(f"The undisturbed survey ended with {process.returncode}: {self.errors()}")
        except BaseException:
            end_session(process)
            raise
        took.write_text(f"{time.monotonic() - started:.1f}")
        return self.carry_out(workers)

    def errors(self) -> str:
        """What the last command wrote to its standard error stream."""
        return (self.folder / "errors.txt").read_text()


def end_session(process: subprocess.Popen[str]) -> None:
    """Kill a command with all of its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that a process began, and those that these began; its own children first."""
    try:
        own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return own + [grandchild for child in own for grandchild in descendants(child)]


def trainers(pid: int) -> list[int]:
    """Processes of a command that train, which the server of processes among its children began."""
    return [worker for child in descendants(pid) for worker in descendants(child)]


def results(place: Place) -> dict[str, bytes | str]:
    """Everything that a survey left, without the times in it, and without what holds checksums of those."""
    found: dict[str, bytes | str] = {}
    for path in sorted(place.folder.rglob("*")):
        if not path.is_file() or path.name in (SUMS, "errors.txt", "seconds.txt", "maze-none.safetensors"):
            continue
        content: bytes | str = path.read_bytes()
        if path.name == "run.json":
            record = json.loads(content)
            for timed in ("seconds", "checksum"):
                del record[timed]
            del record["files"]["progress.csv"]
            content = json.dumps(record)
        elif path.name == "diagnosis.json":
            record = json.loads(content)
            del record["settings"]["core_hours"]
            content = json.dumps(record)
        elif path.name == "progress.csv":
            table = pd.read_csv(path)
            content = table.drop(columns=[name for name in table.columns if str(name).startswith("time/")]).to_csv()
        elif path.parent.name == "tables" and path.name == "games.csv":
            content = pd.read_csv(path).drop(columns="core_hours").to_csv()
        found[str(path.relative_to(place.folder))] = content
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names that only one of two results has, or whose contents differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def kills(count: int, draw: random.Random, undisturbed: Place, workers: int) -> Iterator[list[Row]]:
    """Kill a survey again and again, and compare what it leaves with that of an undisturbed one."""
    victims = {name: Row("kills", name) for name in ("the planning process", "a training process", "all processes")}
    plans = Row("kills", "surveys that ended all the same")
    rows = [*victims.values(), plans]
    whole = undisturbed.carry_out(workers)
    expected = results(undisturbed)
    say(f"kills: an undisturbed survey of {len(undisturbed.runs)} runs takes {whole:.0f} s")
    while sum(row.tried for row in victims.values()) < count:
        place = replace(undisturbed, folder=Path(tempfile.mkdtemp(prefix="disturbed-", dir=undisturbed.folder.parent)))
        while True:
            before = {name: checksum(path / "run.json") for name, path in place.runs.items()}
            process = place.start(workers)
            try:
                more = sum(row.tried for row in victims.values()) < count
                try:
                    process.wait(draw.uniform(0, 2 / 3 * whole) if more else LARGEST_WAIT + 3 * whole)
                except subprocess.TimeoutExpired:
                    row = kill(process, victims, draw)
                else:
                    row = plans
                    row.tried += 1
            finally:
                end_session(process)
            after = {name: checksum(path / "run.json") for name, path in place.runs.items()}
            wrong = [name for name in before if before[name] != after.get(name)]
            if "Traceback" in place.errors() or (row is plans and process.returncode):
                wrong.append(place.errors().strip()[-2000:])
            if row is plans:
                wrong += differing(expected, results(place))
            row.lost += len(wrong)
            row.unchanged += not wrong
            done = sum(each.tried for each in victims.values())
            say(
                f"kills: {done} of {count}, {row.what}; {len(after)} runs are finished"
                + "".join(f"\n  LOST {each}" for each in wrong)
            )
            yield rows
            if row is plans:
                break


def kill(process: subprocess.Popen[str], victims: dict[str, Row], draw: random.Random) -> Row:
    """Send SIGKILL to one of a command's processes, or to all, and wait until all of them are gone."""
    name = draw.choice(list(victims))
    working = trainers(process.pid)
    if name == "a training process" and not working:
        name = "the planning process"
    if name == "all processes":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        victim = draw.choice(working) if name == "a training process" else process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    try:
        process.wait(LARGEST_WAIT)
        deadline = time.monotonic() + 60
        while session_lives(process.pid):  # who trains for a plan that is gone ends by itself
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("the training processes", 60)
            time.sleep(0.05)
    except subprocess.TimeoutExpired as error:
        victims[name].lost += 1
        say(f"  LOST {error}: it goes on after {name} was killed")
    victims[name].tried += 1
    return victims[name]


def session_lives(session: int) -> bool:
    """Whether any process of a session is alive."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(group) == session and state != "Z":
                return True
    return False


# Bits


def flips(count: int, draw: random.Random, place: Place, workers: int) -> Iterator[list[Row]]:
    """Turn one bit of a file around at a time, and read the file as the commands do."""
    say("flips: first there must be a survey whose files can be damaged")
    place.carry_out(workers)
    readers = readers_of(place)
    kinds = {kind: Row("flips", kind) for kind in sorted({kind for kind, _, _ in readers})}
    reference = {file: read() for _, file, read in readers}
    for number in range(count):
        row = list(kinds.values())[number % len(kinds)]
        _, file, read = draw.choice([reader for reader in readers if reader[0] == row.what])
        whole = bytearray(file.read_bytes())
        bit = draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        row.tried += 1
        try:
            same = reference[file] == read()
            row.unchanged += same
            wrong = None if same else "it is read as something else"
        except Exception as error:  # each kind of error is to be judged
            known = isinstance(error, ValueError) or type(error).__name__ == "StoreError"
            clear = known and "\n" not in str(error) and str(error).endswith(".")
            row.detected += clear
            wrong = None if clear else f"{type(error).__name__}: {error}"
        finally:
            file.write_bytes(whole)
        row.lost += wrong is not None
        say(f"flips: {number + 1} of {count}, {row.what}" + (f"\n  LOST bit {bit} of {file}: {wrong}" if wrong else ""))
        yield list(kinds.values())


Reader = Callable[[], Any]


def readers_of(place: Place) -> list[tuple[str, Path, Reader]]:
    """Kinds of files of a finished survey, each file, and what reads it as the commands do."""
    plan = Survey.read(place.folder / "plan.toml").plan
    store = Store(place.store)
    found: list[tuple[str, Path, Reader]] = []

    def run_of(run: Any) -> Any:
        stored = store.load(run)
        return stored.settings, stored.episodes.to_csv(), stored.seconds, stored.threads, str(stored.teacher)

    def policy_of(file: Path) -> Any:
        policy, card = load_policy(file)
        return {name: value.numpy().tobytes() for name, value in policy.state_dict().items()}, str(card)

    for run in plan.runs:
        for file in sorted(store.folder(run).iterdir()):
            found.append((f"a run's {file.name}", file, lambda run=run: run_of(run)))  # type: ignore[misc]
            if file.suffix == ".safetensors":
                found.append((f"{file.name} by its path", file, lambda file=file: policy_of(file)))  # type: ignore[misc]
    policy_file = next(iter(place.runs.values())) / "policy.safetensors"

    def encoder() -> Encoder:
        return cast("Encoder", load_policy(policy_file)[0].features_extractor)

    weights = place.store / "encoders" / "maze-none.safetensors"
    if not weights.exists():
        with replacing(weights) as partial:
            save_backbone(encoder(), partial, "nature", {"objective": "none"})

    def encoder_of() -> Any:
        read = encoder()
        load_weights(read, weights)
        return read_card(weights), [value.numpy().tobytes() for value in read.state_dict().values()]

    found.append(("an encoder's weights", weights, encoder_of))

    def tables_of(folder: Path) -> Any:
        tables = SurveyTables.read(folder)
        return [getattr(tables, name).to_csv() for name in FILES.values()]

    out, tables = place.folder / "out", place.folder / "tables"
    for file in sorted(tables.iterdir()):
        found.append((f"a survey's {file.name}", file, lambda: tables_of(tables)))
    for game in plan.games:
        folder = out / game.game
        for file in sorted(folder.iterdir()):

            def contents(folder: Path = folder, file: Path = file) -> Any:
                """What `sha256sum --check` reads."""
                read = Contents.read(folder, [file.name])
                read.check("restore it")
                return read.files

            def diagnoses() -> Any:
                return tables_of(out)

            def planned(folder: Path = folder, game: Any = game) -> Any:
                OutputFolder(folder).check(Plan((game,)))

            special: dict[str, Reader] = {"plan.json": planned, "diagnosis.json": diagnoses, SUMS: diagnoses}
            found.append((f"a diagnosis's {file.name}", file, special.get(file.name, contents)))
    return found


# Memory


class Memory(BaseCallback):
    """Measures the memory of the process after each rollout, and ends learning when the time is up."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds
        self._last_line = 0.0
        self.measured: list[float] = []

    def _on_rollout_start(self) -> None:
        self.measured.append(resident_mb())
        if time.monotonic() - self._last_line > 30:
            self._last_line = time.monotonic()
            left = self._end - self._last_line
            say(f"learn: {self.num_timesteps:,} steps, {self.measured[-1]:.1f} MB, {left:.0f} s left")

    def _on_step(self) -> bool:
        return time.monotonic() < self._end


def resident_mb() -> float:
    """Memory of this process that is not shared or swapped out, in millions of bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def learn(minutes: float) -> Iterator[list[Row]]:
    """Learn from pixels in one process, and tell by how much its memory grew after warming up."""
    torch.set_num_threads(1)
    env = VecNormalize(
        VecMonitor(make_vec_env(ProcgenOptions("coinrun", num_levels=200), 64, "pixels")), norm_obs=False
    )
    model = PPO(env=env, encoder="nature", n_steps=32, batch_size=512, n_epochs=1, seed=0, device="cpu")
    memory = Memory(60 * minutes)
    row = Row("learn", f"PPO, minutes: {minutes:g}")
    try:
        model.learn(10**9, callback=memory)
    finally:
        env.close()
        measured = np.array(memory.measured[len(memory.measured) // 4 :])
        tenth = max(1, len(measured) // 10)
        if len(measured):
            row.tried = len(memory.measured)
            row.growth_mb = float(np.median(measured[-tenth:]) - np.median(measured[:tenth]))
            row.lost = int(row.growth_mb > MOST_GROWTH_MB)
            row.unchanged = row.tried - row.lost
        say(f"learn: {row.tried} rollouts, memory grew by {row.growth_mb:.1f} MB")
        yield [row]


# A single run


def resume(count: int, seed: int) -> Iterator[list[Row]]:
    """Kill a single run again and again; what it leaves must be what an undisturbed one does."""
    from interrupted_run import rows

    examples: list[str] = []
    for found in rows(count, seed):
        examples = found["examples"]
        say(f"resume: {found['kills']} of {count} kills, {found['runs']} runs finished, {found['lost']} of them differ")
        signals = Row("resume", "kills of a run", found["kills"], unchanged=found["kills"])
        runs = Row("resume", "runs that ended", found["runs"], lost=found["lost"])
        runs.unchanged = runs.tried - runs.lost
        yield [signals, runs]
    for example in examples:
        say(f"  LOST {example}")


# Somebody else's files


def files(count: int, seed: int) -> Iterator[list[Row]]:
    """Damaged files of somebody else's over all commands."""
    from damaged_files import rows

    found: dict[str, Row] = {}
    for first in range(0, count, 200):
        for each in rows(min(200, count - first), seed + first):
            row = found.setdefault(each["kind"], Row("files", each["kind"]))
            row.tried += each["tried"]
            row.detected += each["refused"]
            row.unchanged += each["accepted"]
            row.lost += each["faults"]
            for example in each["examples"]:
                say(f"  LOST {each['kind']}, {each['command']}: {example}")
        say(f"files: {min(first + 200, count)} of {count}")
        yield list(found.values())


# The table


def enter(rows: list[Row], output: Path) -> pd.DataFrame:
    """Put the rows of a part in the place of those that the table has of it."""
    new = pd.DataFrame([asdict(row) for row in rows if row.tried], columns=COLUMNS)
    kept = pd.read_csv(output) if output.exists() else new.iloc[:0]
    together = pd.concat([part for part in (kept[~kept["part"].isin({row.part for row in rows})], new) if len(part)])
    together = together.sort_values("part", key=lambda parts: parts.map(PARTS.index), kind="stable").round(1)
    with replacing(output) as partial:
        together.to_csv(partial, index=False)
    return together


def show(table: pd.DataFrame) -> None:
    """Print the table."""
    printed = Table(*COLUMNS, title="Reliability")
    for row in table.to_dict("records"):
        printed.add_row(*("" if row[name] != row[name] else f"{row[name]}" for name in COLUMNS))
    console.print(printed)


def main() -> None:
    """Carry out the parts, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all of them")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="SIGKILLs to send")
    parser.add_argument("--flips", type=int, default=60, metavar="N", help="bits to flip")
    parser.add_argument("--minutes", type=float, default=60, help="of learning")
    parser.add_argument("--files", type=int, default=1000, metavar="N", help="damaged files")
    parser.add_argument("--seed", type=int, default=0, help="of moments, bits and damages")
    parser.add_argument("--games", default=",".join(GAMES), help="of the survey")
    parser.add_argument("--workers", type=int, default=2, help="training processes of a survey")
    parser.add_argument("--output", type=Path, default=Path("docs/soak.csv"), help="the table")
    parser.add_argument("--work", type=Path, help="folder of the surveys; by default a temporary one")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"There is no part {unknown[0]!r}: choose among {', '.join(PARTS)}.")
    for ending in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, as in the background
        signal.signal(ending, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        undisturbed = Place(work / "undisturbed", tuple(options.games.split(",")))
        draw = random.Random(options.seed)
        parts = {
            "kills": lambda: kills(options.kills, draw, undisturbed, options.workers),
            "resume": lambda: resume(options.kills, options.seed),
            "flips": lambda: flips(options.flips, draw, undisturbed, options.workers),
            "learn": lambda: learn(options.minutes),
            "files": lambda: files(options.files, options.seed),
        }
        table = pd.DataFrame(columns=COLUMNS)
        interrupted = False
        for name in options.parts or PARTS:
            rows: list[Row] = []
            try:
                for rows in parts[name]():
                    table = enter(rows, options.output)
            except KeyboardInterrupt:
                interrupted = True
                break
    show(table)
    if interrupted:
        say(f"Interrupted: what was found so far is in {options.output}.")
    sys.exit(130 if interrupted else int((table["lost"] > 0).any()))


if __name__ == "__main__":
    main()
