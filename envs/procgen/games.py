"""The 16 games of Procgen: names, normalisation constants and object types."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lcd.envs.naming import own_name
from lcd.io.limits import short, text

ACTION_KEYS: tuple[tuple[str, ...], ...] = (
    ("LEFT", "DOWN"),
    ("LEFT",),
    ("LEFT", "UP"),
    ("DOWN",),
    (),
    ("UP",),
    ("RIGHT", "DOWN"),
    ("RIGHT",),
    ("RIGHT", "UP"),
    ("D",),
    ("A",),
    ("W",),
    ("S",),
    ("Q",),
    ("E",),
)
"""Keys that each of Procgen's 15 actions holds down."""

DISTRIBUTION_MODES = ("easy", "hard", "extreme", "memory", "exploration")


@dataclass(frozen=True)
class Game:
    """One Procgen game.

    Attributes
    ----------
    name
        Procgen's own name, for example ``"starpilot"``.
    title
        The name in Gymnasium's style, for example ``"StarPilot"``.
    easy, hard
        Return of a random policy and the best possible return, the normalisation constants of Cobbe et al., *Leveraging
        Procedural Generation to Benchmark Reinforcement Learning*, 2020 (arXiv:1912.01588), appendix C.
    classes
        Object types by the image number that Procgen draws them with. Animation frames of one object share a name.
    themed
        Object types whose theme decides play (the colour of a key): each theme is a class of its own.
    merged_themes
        Object types that keep several themes of one meaning in the semantic drawing.
    sized_themes
        Object types whose themes differ in shape, and so in play; see `lcd.envs.procgen.twin`.
    replaced_themes
        Themed types with the themes whose colour another type has too; see `lcd.envs.procgen.twin`.
    hand_drawn
        Colours (red, green, blue) of what Procgen paints without an asset, such as bars and a compass.
    glaze
        Name of what Procgen paints in translucent white over other things.
    has_front
        Whether label maps also show which way the player points; see `lcd.envs.procgen.heading`.
    modes
        Distribution modes that the game supports beside ``easy`` and ``hard``.
    """

    name: str
    title: str
    easy: tuple[float, float]
    hard: tuple[float, float]
    classes: Mapping[int, str]
    themed: Mapping[int, int] = field(default_factory=dict)
    merged_themes: Mapping[int, int] = field(default_factory=dict)
    sized_themes: Mapping[int, int] = field(default_factory=dict)
    replaced_themes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    hand_drawn: Mapping[tuple[int, int, int], str] = field(default_factory=dict)
    glaze: str | None = None
    has_front: bool = False
    modes: tuple[str, ...] = ()

    def normalisation(self, distribution_mode: str) -> tuple[float, float] | None:
        """Published return of a random policy and best possible return, or None for a mode without published ones."""
        return {"easy": self.easy, "hard": self.hard}.get(distribution_mode)


SCENERY = frozenset(
    {
        *("wall", "wall top", "outer wall", "dirt", "road", "panel", "cloud", "target background"),
        *("exhaust", "explosion", "trail", "dust cloud", "air jump", "time left", "progress"),
    }
)
"""Classes that are neither the agent nor relevant to its play."""

_EXPLOSIONS = {54 + i: "explosion" for i in range(5)}
_TRAIL = {59: "trail"}
_WALKER = {0: "player", 9: "player jumping", 12: "player walking", 13: "player walking"}

_GAMES = (
    Game(
        "bigfish",
        "BigFish",
        easy=(1, 40),
        hard=(0, 40),
        classes={0: "player", 2: "fish"},
        sized_themes={2: 3},
    ),
    Game(
        "bossfight",
        "BossFight",
        easy=(0.5, 13),
        hard=(0.5, 13),
        classes={
            0: "player",
            1: "player bullet",
            2: "boss",
            3: "shields",
            4: "enemy bullet",
            7: "barrier",
        }
        | _EXPLOSIONS,
        sized_themes={0: 4, 1: 3, 2: 4, 4: 3, 7: 8},
    ),
    Game(
        "caveflyer",
        "CaveFlyer",
        easy=(3.5, 12),
        hard=(2, 13.4),
        classes={
            0: "player",
            1: "goal",
            2: "obstacle",
            3: "target",
            4: "player bullet",
            5: "enemy",
            8: "wall",
            9: "exhaust",
        }
        | _EXPLOSIONS,
        has_front=True,
        modes=("memory", "exploration"),
    ),
    Game(
        "chaser",
        "Chaser",
        easy=(0.5, 13),
        hard=(0.5, 14.2),
        classes={
            0: "player",
            2: "large orb",
            3: "weak enemy",
            4: "enemy egg",
            5: "wall",
            6: "enemy",
            7: "enemy",
            8: "enemy",
        },
        hand_drawn={(0, 255, 0): "orb"},
        modes=("extreme",),
    ),
    Game(
        "climber",
        "Climber",
        easy=(2, 12.6),
        hard=(1, 12.6),
        classes=_WALKER | {1: "coin", 5: "enemy", 6: "enemy", 7: "enemy", 15: "wall", 16: "wall top"},
        modes=("exploration",),
    ),
    Game(
        "coinrun",
        "CoinRun",
        easy=(5, 10),
        hard=(5, 10),
        classes=_WALKER
        | {
            1: "goal",
            2: "saw",
            3: "saw",
            5: "enemy",
            6: "enemy",
            7: "enemy",
            15: "wall",
            16: "wall top",
            17: "lava",
            18: "lava top",
            20: "crate",
        }
        | _TRAIL,
        modes=("exploration",),
    ),
    Game(
        "dodgeball",
        "DodgeBall",
        easy=(1.5, 19),
        hard=(1.5, 19),
        classes={
            0: "player",
            1: "lava wall",
            3: "player ball",
            4: "enemy",
            5: "door",
            6: "enemy ball",
            7: "open door",
            8: "dust cloud",
            10: "outer wall",
        },
        has_front=True,
        modes=("extreme", "memory"),
    ),
    Game(
        "fruitbot",
        "FruitBot",
        easy=(-1.5, 32.4),
        hard=(-0.5, 27.2),
        classes={
            0: "player",
            1: "barrier",
            2: "outer wall",
            3: "key",
            4: "bad object",
            7: "good object",
            10: "locked door",
            11: "lock",
            12: "present",
        },
        sized_themes={4: 6, 7: 6, 12: 3},
    ),
    Game(
        "heist",
        "Heist",
        easy=(3.5, 10),
        hard=(2, 10),
        classes={0: "player", 1: "locked door", 2: "key", 9: "exit", 51: "wall"},
        themed={1: 3, 2: 3},
        modes=("memory", "exploration"),
    ),
    Game(
        "jumper",
        "Jumper",
        easy=(3, 10),
        hard=(1, 10),
        classes=_WALKER
        | {10: "player walking left", 11: "player walking left", 1: "goal", 2: "spike", 6: "wall", 7: "wall top"}
        | _TRAIL,
        hand_drawn={(168, 166, 158): "compass", (252, 186, 3): "compass needle"},
        glaze="air jump",
        modes=("memory", "exploration"),
    ),
    Game(
        "leaper",
        "Leaper",
        easy=(3, 10),
        hard=(1.5, 10),
        classes={0: "player", 1: "log", 2: "road", 3: "water", 4: "car", 5: "finish line"},
        merged_themes={0: 5},
        modes=("extreme", "exploration"),
    ),
    Game(
        "maze",
        "Maze",
        easy=(5, 10),
        hard=(4, 10),
        classes={0: "player", 2: "goal", 51: "wall"},
        modes=("memory", "exploration"),
    ),
    Game(
        "miner",
        "Miner",
        easy=(1.5, 13),
        hard=(1.5, 20),
        classes={0: "player", 1: "boulder", 2: "diamond", 5: "enemy", 6: "exit", 9: "dirt", 10: "outer wall"},
        modes=("memory",),
    ),
    Game(
        "ninja",
        "Ninja",
        easy=(3.5, 10),
        hard=(2, 10),
        classes=_WALKER | {1: "goal", 6: "bomb", 7: "throwing star", 14: "fire", 20: "wall"} | _EXPLOSIONS,
        hand_drawn={(66, 245, 135): "jump charge"},
        has_front=True,
        modes=("exploration",),
    ),
    Game(
        "plunder",
        "Plunder",
        easy=(4.5, 30),
        hard=(3, 30),
        classes={1: "player bullet", 3: "target background", 6: "panel", 7: "ship"} | _EXPLOSIONS,
        themed={7: 6},
        replaced_themes={7: (1, 4)},
        hand_drawn={(66, 245, 135): "time left", (245, 66, 144): "progress"},
    ),
    Game(
        "starpilot",
        "StarPilot",
        easy=(2.5, 64),
        hard=(1.5, 35),
        classes={
            0: "player",
            1: "player bullet",
            2: "enemy bullet",
            3: "enemy bullet",
            4: "flyer",
            5: "meteor",
            6: "cloud",
            7: "turret",
            8: "fast flyer",
            9: "finish line",
        }
        | _EXPLOSIONS,
        sized_themes={9: 4},
        modes=("extreme",),
    ),
)

GAMES: Mapping[str, Game] = MappingProxyType({game.name: game for game in _GAMES})
"""The 16 games by name."""


def get_game(name: str) -> Game:
    """Look a game up by Procgen's name, Gymnasium's title or its id ``lcd/TITLE-v0``, in any case.

    Raises
    ------
    ValueError
        If there is no such game; the message suggests the nearest names.
    """
    asked = own_name(text("A game", name))
    game = GAMES.get(asked)
    if game is None:
        near = difflib.get_close_matches(asked[:100], GAMES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(GAMES)}."
        raise ValueError(f"Unknown game {short(name)}: {hint}")
    return game
