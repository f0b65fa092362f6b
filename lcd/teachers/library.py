"""The reference teachers that come with the package, and their cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envs import GAMES, get_game
from lcd.files import checksum, replacing
from lcd.teachers.examination import LONG_TRAINED, Score

FORMAT = "lcd.teacher/1"
SHIPPED = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Card:
    """What is known of a teacher.

    Attributes
    ----------
    game, distribution_mode
        What it plays.
    recipe
        How it was made, see `lcd.teachers.recipes.Recipe`.
    steps, core_hours
        Environment steps that it learned in, and processor time of that on the machine that made it.
    sharpness
        Factor of its logits after its last course, see `lcd.teachers.examination.sharpest`.
    training, unseen
        Scores on the levels that it learned on and on others.
    expert
        Score of the expert that plays with every privilege, on unseen levels.
    versions
        Of Python and of the packages that decide what it learned.
    checksum
        SHA-256 of its file.
    begun_from
        Checksum of the teacher that its last course began with, whose steps and hours are counted in; None where it
        began untaught.
    """

    game: str
    distribution_mode: str
    recipe: Mapping[str, Any]
    steps: int
    core_hours: float
    sharpness: float
    training: Score
    unseen: Score
    expert: Score
    versions: Mapping[str, str]
    checksum: str
    begun_from: str | None = None

    def share_of_long_training(self, score: Score) -> float:
        """A score as a share of what 50 M steps of PPO reach, both from the return of a random policy up."""
        constants = get_game(self.game).normalisation(self.distribution_mode)
        assert constants is not None
        return (score.mean - constants[0]) / (LONG_TRAINED[self.game] - constants[0])

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        with replacing(path) as partial:
            partial.write_text(json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the file is missing or no card.
        """
        try:
            data = json.loads(path.read_text())
            if data.pop("format") != FORMAT:
                raise KeyError("format")
            scores = {name: Score(**data.pop(name)) for name in ("training", "unseen", "expert")}
            return cls(**(data | scores))
        except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no card of a teacher ({error}): install the package again.") from error


def shipped_games(folder: Path = SHIPPED) -> list[str]:
    """Games whose teachers come with the package."""
    return [game for game in GAMES if (folder / f"{game}.safetensors").is_file()]


def shipped_teacher(game: str, folder: Path = SHIPPED) -> tuple[Path, Card]:
    """The file of a game's teacher, and its card.

    Raises
    ------
    ValueError
        If there is none, or the file is not the one that the card describes.
    """
    path = folder / f"{get_game(game).name}.safetensors"
    if not path.is_file():
        raise ValueError(f"No teacher for {game} comes with this package: `lcd teachers train {game}` makes one.")
    card = Card.read(path.with_suffix(".json"))
    if checksum(path) != card.checksum:
        raise ValueError(f"{path} is not the file that its card describes: install the package again.")
    return path, card
