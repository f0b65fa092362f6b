"""One bit of a file of a finished survey is flipped; its reader must refuse it, or return the same as before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from lcd.agents import Encoder, load_policy, save_backbone
from lcd.agents.encoders.weights import load_weights, read_card
from lcd.experiments.plan import Plan
from lcd.experiments.store import Store
from lcd.io.checksums import SUMS, Contents
from lcd.io.files import replacing
from lcd.studies.output import OutputFolder
from lcd.studies.survey.columns import FILES
from lcd.studies.survey.plan import Survey
from lcd.studies.survey.tables import SurveyTables
from soaking.surveys import Place
from soaking.table import Row, say

Reader = Callable[[], Any]


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
                OutputFolder(folder).check(Plan((game,)).as_dict())

            special: dict[str, Reader] = {"plan.json": planned, "diagnosis.json": diagnoses, SUMS: diagnoses}
            found.append((f"a diagnosis's {file.name}", file, special.get(file.name, contents)))
    return found
