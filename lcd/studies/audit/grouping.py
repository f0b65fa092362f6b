"""Groups of games from a taxonomy, and the returns that count as scores 0 and 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lcd.io.limits import NAME_IN_FIGURES, short
from lcd.io.limits import path as path_of
from lcd.io.untrusted import read_csv
from lcd.measurement.hidden_losses import ALL_GAMES
from lcd.measurement.method_scores import Floats
from lcd.measurement.scores import Normalisation

OF_TAXONOMY = ("class", "verdict")
"""Columns of a taxonomy's positions that group games."""

NO_GROUP = ("", "inconclusive")
"""Values that make no group."""

MOST_GROUPINGS, MOST_GROUPS = 20, 200
LARGEST_TABLE = 16 * 2**20

Groups = dict[str, dict[str, list[str]]]


def read_groups(source: Path | str) -> Groups:
    """Groups of games.

    Parameters
    ----------
    source
        A CSV file with the column game and one or more columns of texts, each a way to group the games; a folder that
        ``lcd taxonomy`` wrote; or what ``lcd taxonomy`` reads, such as ``"procgen-easy"``. Of a taxonomy the classes
        and the verdicts are taken; games without a verdict are in no group.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    path = path_of("taxonomy", source)
    if path.is_file() or path.suffix.lower() == ".csv":
        table, name = read_csv(path, dtype={"game": str}, most=LARGEST_TABLE, as_written=True), str(path)
    elif (positions := path / "positions.csv").is_file():
        table, name = read_csv(positions, dtype={"game": str}, most=LARGEST_TABLE), str(positions)
    else:
        from lcd.studies.taxonomy.taxonomy import Taxonomy  # which loads torch

        table, name = Taxonomy.read(source).positions, str(source)
    return groups_of(table, name)


def groups_of(table: pd.DataFrame, name: str) -> Groups:
    """Groups of a table with the column game, see `read_groups`; `name` is its name in messages."""
    if "game" not in table.columns:
        raise ValueError(f"{name} has no column 'game': a taxonomy names each game and its groups.")
    table = table.assign(game=table["game"].str.strip())
    if (again := table["game"].duplicated()).any():
        raise ValueError(f"{name} has the game {short(table['game'][again].iloc[0])} twice: remove one row.")
    texts = [column for column in table.columns if column != "game" and table[column].dtype.kind in "OUT"]
    if "verdict" in table.columns and "perceptual" in table.columns:  # of lcd taxonomy
        texts = [column for column in OF_TAXONOMY if column in table.columns]
    if ALL_GAMES in texts:
        raise ValueError(f"{name} has a column {ALL_GAMES!r}, which is what all games are called: rename it.")
    if not texts:
        raise ValueError(f"{name} has no column of texts that groups the games: add one, such as class.")
    if len(texts) > MOST_GROUPINGS:
        raise ValueError(f"{name} groups games in {len(texts)} ways: keep at most {MOST_GROUPINGS}.")
    found: Groups = {}
    for column in texts:
        groups: dict[str, list[str]] = {}
        for game, group in zip(table["game"].astype(str), table[column].fillna("").astype(str), strict=True):
            if group not in NO_GROUP:
                groups.setdefault(group, []).append(game)
        if len(groups) > MOST_GROUPS or any(
            not group.isprintable() or NAME_IN_FIGURES.fullmatch(group) is None for group in groups
        ):
            raise ValueError(
                f"{name} has in {column!r} more than {MOST_GROUPS} groups, or one without a short name (and no $)."
            )
        found[column] = groups
    return found


def constants_of(
    games: tuple[str, ...], mode: str | None, given: Path | str | None = None
) -> tuple[Floats, Floats] | None:
    """Returns that count as scores 0 and 1 in each game.

    Parameters
    ----------
    games
        Names of the G games.
    mode
        Difficulty of the games.
    given
        A CSV file with the columns game, random and best. Without it those that Procgen's authors published are
        taken, if all games are Procgen's and the table of scores says the mode.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray), each of shape (G,), or None
        None where they are not known.

    Raises
    ------
    ValueError
        If the file lacks a game or holds no such constants.
    """
    if given is not None:
        return _read_constants(games, Path(given))
    if mode not in ("easy", "hard"):
        return None
    from lcd.envs.procgen.games import GAMES, get_game  # which loads torch

    if not set(games) <= set(GAMES):
        return None
    constants = [get_game(game).normalisation(mode) for game in games]
    if any(each is None for each in constants):
        return None
    found = np.array(constants, dtype=np.float64)
    return found[:, 0], found[:, 1]


def _read_constants(games: tuple[str, ...], file: Path) -> tuple[Floats, Floats]:
    table = read_csv(file, dtype={"game": str}, most=LARGEST_TABLE)
    if missing := [name for name in ("game", "random", "best") if name not in table.columns]:
        raise ValueError(f"{file} has no column {missing[0]!r}: constants have game, random and best.")
    table["game"] = table["game"].str.strip()
    if (again := table["game"].duplicated()).any():
        raise ValueError(f"{file} has constants of {short(table['game'][again].iloc[0])} twice: remove one row.")
    rows = {row["game"]: row for row in table.to_dict("records")}
    if absent := [game for game in games if game not in rows]:
        raise ValueError(f"{file} has no constants of {short(absent[0])}: add its row.")
    found = []
    for game in games:
        try:
            constants = Normalisation(rows[game]["random"], rows[game]["best"], source="given")
        except ValueError as error:
            raise ValueError(
                f"{file} holds constants of {short(game)} that cannot be: {str(error).rstrip('.')}."
            ) from None
        found.append((constants.random, constants.best))
    array = np.array(found, dtype=np.float64)
    return array[:, 0], array[:, 1]
