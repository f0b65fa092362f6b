"""Improvements of a learner from frames and reward, as data.

Published ones are entries in `IMPROVEMENTS`; one of a user's own is an `Improvement` in a module,
``"my_ideas:SHARPER"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, get_args

from lcd.agents import PPO
from lcd.agents.improvements.augmented import AugmentedPPO, RegularisedPPO
from lcd.agents.improvements.curious import CuriousPPO
from lcd.agents.improvements.curriculum import CurriculumPPO
from lcd.agents.improvements.decoupled import DecoupledPPO
from lcd.agents.improvements.level_replay import LevelReplayPPO
from lcd.agents.improvements.phasic import PhasicPPO
from lcd.envs.family import GameOptions
from lcd.envs.levels import choosable_levels
from lcd.envs.views import get_view
from lcd.io.limits import short
from lcd.io.modules import import_named, version_of_modules

Kind = Literal["perceptual", "policy"]


@dataclass(frozen=True)
class Improvement:
    """A change of the learner from frames and reward.

    Attributes
    ----------
    name
        Its name in settings, tables and commands.
    kind
        What it is meant to help: ``"perceptual"``, seeing, or ``"policy"``, learning to act.
    summary
        What it does, as a part of a sentence.
    source
        Where it comes from: authors, year and arXiv number.
    learner
        Makes the learner instead of `lcd.agents.PPO`, from the same keyword arguments; None where settings suffice.
    hyperparameters
        Fields of `lcd.experiments.settings.Hyperparameters` that it replaces.
    harmonizer
        Weight of the harmonizer's auxiliary loss.
    from_frames
        Whether it learns from frames alone, as every perceptual improvement does.
    chooses_levels
        Whether it chooses the levels that are played, which a game must allow.
    encoder
        What takes the encoder's place: an objective of `lcd.pretraining.objectives` on which it is pretrained, with
        ``+tuned`` where it is fine-tuned; None for the same encoder.
    architecture
        Name of another encoder, trained from scratch, such as ``"impala"`` or ``"my_nets:MyNet"``; None for the same.
    networks
        Networks of about the policy's size that it trains, by which the memory is estimated that it takes of a GPU.
    published_as
        What its source calls it, such as ``"PPG"``; None where that is no name, or for one of a user's own.
    in_colour
        Whether it needs frames of three colours.
    """

    name: str
    kind: Kind
    summary: str
    source: str
    learner: Callable[..., PPO] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    harmonizer: float = 0.0
    encoder: str | None = None
    from_frames: bool = False
    chooses_levels: bool = False
    architecture: str | None = None
    networks: int = 1
    published_as: str | None = None
    in_colour: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is of a user's own, and its name that of a module."""
        return ":" in self.name

    @property
    def trains_encoder(self) -> bool:
        """Whether its learner refuses a frozen encoder."""
        return bool(getattr(getattr(self.learner, "func", self.learner), "trains_encoder", ""))

    def check_game(self, options: GameOptions, view: str) -> None:
        """Check that a game can be learned so.

        Raises
        ------
        ValueError
            If the improvement is of learners from frames and the view is none, or it chooses levels and the game does
            not let it.
        """
        if (self.kind == "perceptual" or self.from_frames) and get_view(view).kind != "image":
            raise ValueError(f"The improvement {self.name!r} is of learners from frames, not from {view}.")
        if self.chooses_levels and choosable_levels(options) is None:
            raise ValueError(
                f"The improvement {self.name!r} chooses the levels that are played, and {options.game} draws them "
                "itself: choose another game."
            )


_RAD, _DRAC = "Laskin et al., 2020 (arXiv:2004.14990)", "Raileanu et al., 2021 (arXiv:2006.12862)"
_HARMONIZER = "Fel et al., 2022 (arXiv:2211.04533)"
_PPG, _DAAC = "Cobbe et al., 2021 (arXiv:2009.04416)", "Raileanu and Fergus, 2021 (arXiv:2102.10330)"
_RND, _PLR = "Burda et al., 2018 (arXiv:1810.12894)", "Jiang et al., 2021 (arXiv:2010.03934)"
_TSCL = "Matiisen et al., 2017 (arXiv:1707.00183)"
_GAE = "Schulman et al., 2016 (arXiv:1506.02438)"
_CHANGES = {
    "crop": "shifted at random",
    "convolution": "filtered by random convolutions",
    "colour": "with colours changed at random",
}

_ALL = (
    *(
        Improvement(
            f"augment-{name}",
            "perceptual",
            f"learns from frames {change}",
            _RAD,
            partial(AugmentedPPO, augmentation=name),
            published_as=f"RAD-{name}",
            in_colour=name == "colour",
        )
        for name, change in _CHANGES.items()
    ),
    *(
        Improvement(
            f"invariant-{name}",
            "perceptual",
            f"is made to act and judge alike on frames {change}",
            _DRAC,
            partial(RegularisedPPO, augmentation=name),
            published_as=f"DrAC-{name}",
            in_colour=name == "colour",
        )
        for name, change in _CHANGES.items()
    ),
    Improvement(
        "pretrained-frozen",
        "perceptual",
        "has an encoder that is pretrained on the game's own frames, without labels, and frozen",
        "docs/encoders.md",
        encoder="autoencoding",
    ),
    Improvement(
        "pretrained-tuned",
        "perceptual",
        "has an encoder that is pretrained on the game's own frames, without labels, and fine-tuned",
        "docs/encoders.md",
        encoder="autoencoding+tuned",
    ),
    Improvement(
        "harmonized",
        "perceptual",
        "attends to what matters, as the game's label map tells",
        _HARMONIZER,
        harmonizer=1.0,
    ),
    Improvement(
        "shorter-credit",
        "policy",
        "counts rewards over some twenty steps (gamma 0.99, lambda 0.9)",
        _GAE,
        hyperparameters={"gamma": 0.99, "gae_lambda": 0.9},
    ),
    Improvement(
        "longer-credit",
        "policy",
        "counts rewards over some hundreds of steps (gamma 0.9997, lambda 0.98)",
        _GAE,
        hyperparameters={"gamma": 0.9997, "gae_lambda": 0.98},
    ),
    Improvement(
        "phasic",
        "policy",
        "teaches its encoder the value in phases of their own, which leave the policy as it is",
        _PPG,
        PhasicPPO,
        published_as="PPG",
    ),
    Improvement(
        "decoupled",
        "policy",
        "has a network of its own for the value, and predicts advantages with that of the policy",
        _DAAC,
        DecoupledPPO,
        networks=2,
        published_as="DAAC",
    ),
    Improvement(
        "curious",
        "policy",
        "is rewarded for frames that are new to it as well",
        _RND,
        CuriousPPO,
        from_frames=True,
        networks=3,
        published_as="RND",
    ),
    Improvement(
        "replayed-levels",
        "policy",
        "plays those training levels more often whose values it misjudges",
        _PLR,
        LevelReplayPPO,
        chooses_levels=True,
        published_as="PLR",
    ),
    Improvement(
        "curriculum",
        "policy",
        "plays those training levels more often whose returns change",
        _TSCL,
        CurriculumPPO,
        chooses_levels=True,
        published_as="TSCL",
    ),
)

IMPROVEMENTS: Mapping[str, Improvement] = MappingProxyType({each.name: each for each in _ALL})
"""Improvements by name."""

PUBLISHED_NAMES: Mapping[str, str] = MappingProxyType(
    {each.published_as.lower(): each.name for each in _ALL if each.published_as is not None}
)
"""Names of improvements by those of their sources in lower case, such as ``"ppg"``, which are taken in their place."""


_IMPORTED: dict[str, Improvement] = {}
"""Improvements of users' own that `import_improvement` imported, by name."""


def get_improvement(name: str) -> Improvement:
    """Look an improvement up by its name.

    Raises
    ------
    ValueError
        If there is no such improvement, or it is in a module and has not been imported.
    """
    known = _IMPORTED if ":" in name else IMPROVEMENTS
    if name not in known:
        raise ValueError(
            f"Unknown improvement {short(name)}: choose one of {', '.join(IMPROVEMENTS)}, or by the names of their "
            f"sources {', '.join(PUBLISHED_NAMES)}; or import one of your own first, such as my_ideas:SHARPER."
        )
    return known[name]


def is_imported(name: str) -> bool:
    """Whether an improvement is known in this process: a published one, or one of a user's own that was imported."""
    return name in _IMPORTED or ":" not in name


def name_here(name: str) -> str:
    """The name of an improvement here, given that of its source, in any case; other names as they are."""
    return PUBLISHED_NAMES.get(name.lower(), name)


def import_improvement(name: str) -> str:
    """The name of an improvement here, after importing it where it is named as one in a module.

    Importing runs the module's code, so a file never causes it, only its user.

    Parameters
    ----------
    name
        Its name, or in any case that of its source (`PUBLISHED_NAMES`); or ``"my_package.ideas:SHARPER"``, that of an
        `Improvement` in a module.

    Returns
    -------
    str
        The name that `get_improvement` then knows it by.

    Raises
    ------
    ValueError
        If there is no such improvement, or a part of it cannot be.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        return name_here(name)
    try:
        found = getattr(import_named(module), attribute, None)
    except ImportError as error:
        raise ValueError(f"The improvement {short(name)} cannot be found: {error}.") from error
    if not isinstance(found, Improvement):
        raise ValueError(
            f"{short(name)} is no lcd.experiments.improvements.Improvement: give a module and the name of one in it."
        )
    _check(found, name)
    _IMPORTED[name] = replace(found, name=name)
    return name


def _check(improvement: Improvement, name: str) -> None:
    """Check that an improvement of a user's own has a kind, and changes one thing that a run can have.

    Raises
    ------
    ValueError
        If it has not.
    """
    if improvement.kind not in get_args(Kind):
        raise ValueError(
            f"The kind of the improvement {name} is {' or '.join(get_args(Kind))}, not {short(improvement.kind)}."
        )
    changes = {
        "learner": improvement.learner is not None,
        "hyperparameters": bool(improvement.hyperparameters),
        "harmonizer": bool(improvement.harmonizer),
        "encoder": improvement.encoder is not None,
        "architecture": improvement.architecture is not None,
    }
    given = [what for what, changed in changes.items() if changed]
    if len(given) != 1:
        raise ValueError(
            f"The improvement {name} must change one of {', '.join(changes)}, not {' and '.join(given) or 'nothing'}."
        )
    made = getattr(improvement.learner, "func", improvement.learner)
    if made is not None and not (issubclass(made, PPO) if isinstance(made, type) else callable(made)):
        raise ValueError(
            f"The learner of the improvement {name} must be a class that derives from lcd.agents.PPO, or make one of "
            f"them, and {short(made)} is none."
        )
    if not isinstance(improvement.hyperparameters, Mapping):
        raise ValueError(
            f"The hyperparameters of the improvement {name} are a dictionary, not {short(improvement.hyperparameters)}."
        )
    for what in ("encoder", "architecture"):
        if not isinstance(getattr(improvement, what), str | None):
            raise ValueError(f"The {what} of the improvement {name} is a name, not {getattr(improvement, what)!r}.")


def version_of_improvement(name: str | None) -> str | None:
    """What tells an improvement of a user's own from a later one of the same name; None for others."""
    if name is None or ":" not in name:
        return None
    learner = get_improvement(name).learner
    makes = getattr(getattr(learner, "func", learner), "__module__", None)
    modules = [name.partition(":")[0], *([makes] if isinstance(makes, str) else [])]
    return version_of_modules(*dict.fromkeys(module for module in modules if not module.startswith("lcd.")))
