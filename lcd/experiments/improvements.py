"""Published improvements of a learner from frames and reward, as data: a new one is an entry in `IMPROVEMENTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

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
    ),
    Improvement(
        "decoupled",
        "policy",
        "has a network of its own for the value, and predicts advantages with that of the policy",
        _DAAC,
        DecoupledPPO,
    ),
    Improvement(
        "curious",
        "policy",
        "is rewarded for frames that are new to it as well",
        _RND,
        CuriousPPO,
        from_frames=True,
    ),
    Improvement(
        "replayed-levels",
        "policy",
        "plays those training levels more often whose values it misjudges",
        _PLR,
        LevelReplayPPO,
        chooses_levels=True,
    ),
    Improvement(
        "curriculum",
        "policy",
        "plays those training levels more often whose returns change",
        _TSCL,
        CurriculumPPO,
        chooses_levels=True,
    ),
)

IMPROVEMENTS: Mapping[str, Improvement] = MappingProxyType({each.name: each for each in _ALL})
"""Improvements by name."""


def get_improvement(name: str) -> Improvement:
    """Look an improvement up by its name.

    Raises
    ------
    ValueError
        If there is no such improvement.
    """
    if name not in IMPROVEMENTS:
        raise ValueError(f"Unknown improvement {short(name)}: choose one of {', '.join(IMPROVEMENTS)}.")
    return IMPROVEMENTS[name]
