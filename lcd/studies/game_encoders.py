"""Encoders that are pretrained on a game's own training levels for the runs of a store, each once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lcd.agents import EncoderName
from lcd.envs import GameOptions
from lcd.envs.external.game import GameFault
from lcd.envs.external.options import ExternalOptions
from lcd.experiments.own_code import OwnCode
from lcd.experiments.plan import GamePlan
from lcd.experiments.resources import BYTES_PER_WORKER, Resources
from lcd.io.child_processes import in_processes
from lcd.io.files import checksum, locked, replacing
from lcd.io.modules import SOURCE

if TYPE_CHECKING:
    from lcd.pretraining.pretraining import Pretraining

FIRST_VERSIONS = (None, "1", "procgen 0.10.7")
"""Versions of games whose pretrained encoders have no version in their names."""


@dataclass(frozen=True)
class GameEncoder:
    """An encoder that is pretrained on a game's training levels, or is still to be.

    Attributes
    ----------
    options
        The game.
    settings
        How it is pretrained: on no more frames than the budget of a learner in the diagnosis.
    file
        Its weights.
    own
        Code of the user's own that its architecture needs.
    """

    options: GameOptions
    settings: Pretraining
    file: Path
    own: OwnCode

    @classmethod
    def of(cls, plan: GamePlan, objective: str, folder: Path) -> GameEncoder:
        """The encoder of a diagnosis, pretrained on an objective of `lcd.pretraining.objectives.OBJECTIVES`.

        Parameters
        ----------
        plan
            Game, levels and architecture.
        objective
            The objective.
        folder
            Folder of such files, see `encoder_folder`.
        """
        from lcd.pretraining.objectives import OBJECTIVES
        from lcd.pretraining.pretraining import FEWEST, Pretraining

        run = plan.cells[0]
        architecture = EncoderName.read(run.encoder).architecture
        frames = min(Pretraining.frames, max(FEWEST, plan.budget))
        record = run.options.as_record()
        described = [run.options.label, *([record["distribution_mode"]] if "distribution_mode" in record else [])]
        described += [objective, architecture, f"{run.options.num_levels}levels", f"{frames}frames"]
        if (version := OBJECTIVES[objective].version) > 1:
            described.append(f"v{version}")
        known = [record.get("env"), run.game_version, run.encoder_version]
        of_a_package = run.options.family == ExternalOptions.family
        if of_a_package:
            known.append(run.game)  # whose module may have games of the same names as another
        if of_a_package or SOURCE in (run.encoder_version or "") or run.game_version not in FIRST_VERSIONS:
            described.append(checksum(json.dumps(known, sort_keys=True).encode())[:8])
        file = folder / f"{'-'.join(described)}.safetensors".replace(":", "_").replace(",", "_")
        settings = Pretraining(objective, architecture, frames, num_levels=run.options.num_levels)
        return cls(run.options, settings, file, OwnCode.of([run]))

    def pretrain(self) -> None:
        """Pretrain it with one thread and write its file, or check the file where there is one.

        Raises
        ------
        ValueError
            If the file is damaged, or the frames take more memory than there is.
        lcd.agents.TrainingDiverged
            If the loss is not finite.
        """
        from lcd.agents import save_backbone
        from lcd.agents.encoders.weights import check_sealed
        from lcd.agents.parallel import one_thread
        from lcd.pretraining.pretraining import pretrain

        self.own.load()
        with locked(self.file):  # another plan may pretrain the same one
            if self.file.exists():
                check_sealed(self.file)
                return
            with one_thread():
                made = pretrain(self.options, self.settings)
            with replacing(self.file) as partial:
                save_backbone(made.encoder, partial, self.settings.architecture, made.card)


def encoder_folder(store: Path) -> Path:
    """Folder of the encoders that were pretrained for the runs of a store; in older stores it is ``eyes``."""
    older = store / "eyes"
    return older if older.is_dir() else store / "encoders"


def pretrain_all(encoders: Iterable[GameEncoder], resources: Resources, report: Callable[[str], None]) -> None:
    """Pretrain those encoders that have no file yet, and check the files of the others.

    Parameters
    ----------
    encoders
        The encoders.
    resources
        With what: how many are pretrained at once, each with one thread.
    report
        Called with a line before them and after each.

    Raises
    ------
    ValueError
        If a file is damaged, or frames take more memory than there is.
    lcd.agents.TrainingDiverged
        If a loss is not finite.
    lcd.envs.external.game.GameFault
        If a game hangs.
    """
    from lcd.pretraining.pretraining import HELD_OUT, frame_bytes

    missing = []
    for encoder in encoders:
        if encoder.file.exists():
            encoder.pretrain()
        else:
            missing.append(encoder)
    if not missing:
        return
    count = f"{len(missing)} encoder{'s' if len(missing) > 1 else ''}"
    report(f"Pretraining {count} on frames of the training levels, some minutes each.")
    frames = max(frame_bytes(each.options, each.settings.frames) for each in missing)
    processes = resources.processes(BYTES_PER_WORKER + round((1 + HELD_OUT) * frames))
    for done, (encoder, _) in enumerate(in_processes(GameEncoder.pretrain, missing, processes, fault=GameFault), 1):
        report(f"{encoder.options.label}, {encoder.settings.objective}: pretrained, {done} of {len(missing)}")
