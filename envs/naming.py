"""Names of the games that come with the package."""

from __future__ import annotations

import re


def own_name(game: str) -> str:
    """A game's name in lower case, without Gymnasium's ``lcd/`` and ``-v0`` around its title."""
    asked = game.lower()
    return asked.removeprefix("lcd/").removesuffix("-v0") if asked.startswith("lcd/") else asked


def file_name(game: str) -> str:
    """A game's name as a file can have it: ``"ALE/Breakout-v5"`` becomes ``"ALE-Breakout-v5"``."""
    return re.sub(r"[^\w.-]+", "-", game)
