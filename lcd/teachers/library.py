"""The reference teachers that come with the package, and their cards."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from lcd.envs import GAMES, ProcgenOptions, get_game
from lcd.envs.procgen.options import GameName
from lcd.io.files import checksum, replacing
from lcd.io.settings import NotNegative, Positive, Text, Whole, from_data, one_of, settings
from lcd.io.untrusted import in_short, read_json
from lcd.teachers.evaluation import PPO_50M_RETURNS, Score

FORMAT, EARLIER_FORMAT = "lcd.teacher/2", "lcd.teacher/1"
"""Of a card; the earlier one calls `Card.inverse_temperature` "sharpness". Both are read."""

_LARGEST_CARD = 2**20  # bytes
SHIPPED = Path(__file__).parent / "data"
MODES = ("easy", "hard")
"""Distribution modes that teachers are made for: those with published normalisation constants."""


@settings
class Card:
    """Model card of a teacher.

    Attributes
    ----------
    game, distribution_mode
        What it plays.
    recipe
        How it was trained, see `lcd.teachers.recipes.Recipe`.
    steps, core_hours
        Environment steps of its training, and their processor time on the machine that trained it.
    inverse_temperature
        Factor of its logits, set after training; see `lcd.teachers.evaluation.tune_inverse_temperature`.
    training, unseen
        Scores on its training levels and on others.
    expert
        Score of the expert with privileged information, on unseen levels.
    versions
        Of Python and of the packages that decide what it learned.
    checksum
        SHA-256 of its file.
    begun_from
        Checksum of the teacher that its last training started from, whose steps and hours are included; None where it
        was trained from scratch.
    """

    game: GameName
    distribution_mode: Annotated[Text, one_of(MODES, "mode of a teacher")]
    recipe: dict[Text, Any]
    steps: Whole
    core_hours: NotNegative
    inverse_temperature: Positive
    training: Score
    unseen: Score
    expert: Score
    versions: dict[Text, Text]
    checksum: Text
    begun_from: Text | None = None

    def share_of_ppo_50m(self, score: Score) -> float | None:
        """A score as a share of PPO's after 50M steps, both counted from the return of a random policy.

        None outside easy mode, where PPO's returns are unknown.
        """
        if self.distribution_mode != "easy":
            return None
        constants = get_game(self.game).normalisation(self.distribution_mode)
        assert constants is not None
        return (score.mean - constants[0]) / (PPO_50M_RETURNS[self.game] - constants[0])

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
            data = read_json(path, _LARGEST_CARD)
            if (version := data.pop("format")) not in (FORMAT, EARLIER_FORMAT):
                raise KeyError("format")
            if version == EARLIER_FORMAT:
                data["inverse_temperature"] = data.pop("sharpness")
            return from_data(cls, data)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} is no card of a teacher ({in_short(error)}): install the package again."
            ) from error


def teacher_name(game: str, distribution_mode: str) -> str:
    """Name of a game's teacher: the game, followed by the mode unless that is easy.

    Raises
    ------
    ValueError
        If no teachers are made for the mode.
    """
    if distribution_mode not in MODES:
        raise ValueError(f"There are no teachers for the mode {distribution_mode!r}: choose {' or '.join(MODES)}.")
    return game if distribution_mode == "easy" else f"{game}-{distribution_mode}"


def shipped_games(folder: Path = SHIPPED, *, distribution_mode: str = "easy") -> list[str]:
    """Games whose teachers for a mode come with the package."""
    return [game for game in GAMES if (folder / f"{teacher_name(game, distribution_mode)}.safetensors").is_file()]


def shipped_teacher(game: str, folder: Path = SHIPPED, *, distribution_mode: str = "easy") -> tuple[Path, Card]:
    """The file of a game's teacher for a mode, and its card.

    Raises
    ------
    ValueError
        If there is none, or the file is not the one that the card describes.
    """
    game = get_game(game).name
    name = teacher_name(game, distribution_mode)
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        option = "" if distribution_mode == "easy" else f" --mode {distribution_mode}"
        raise ValueError(
            f"No teacher for {name} comes with this package: `lcd teachers train {game}{option}` makes one."
        )
    card = Card.read(path.with_suffix(".json"))
    if checksum(path) != card.checksum:
        raise ValueError(f"{path} is not the file that its card describes: install the package again.")
    return path, card


def shipped_for(options: ProcgenOptions) -> tuple[Path, str] | None:
    """The file of a game's teacher and its SHA-256, None where none comes with the package.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    mode = options.distribution_mode
    if mode not in MODES or options.game not in shipped_games(distribution_mode=mode):
        return None
    path, card = shipped_teacher(options.game, distribution_mode=mode)
    return path, card.checksum


def card_of(path: Path, content: str, folder: Path = SHIPPED) -> Card | None:
    """The card that describes a teacher's file, from beside it or from among those that come with the package.

    Parameters
    ----------
    path, content
        The file, and the SHA-256 of what it holds.
    folder
        Cards of the package.

    Returns
    -------
    Card or None
        None where no card describes the file.
    """
    for beside in (path.with_suffix(".json"), *sorted(folder.glob("*.json"))):
        try:
            card = Card.read(beside)
        except ValueError:  # missing, or something else of that name
            continue
        if card.checksum == content:
            return card
    return None


def shipped_cards(folder: Path = SHIPPED) -> list[Card]:
    """The cards of all teachers that come with the package, those of the easy mode first."""
    return [
        shipped_teacher(game, folder, distribution_mode=mode)[1]
        for mode in MODES
        for game in shipped_games(folder, distribution_mode=mode)
    ]
