"""Settings of one training run: everything that determines its result, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, InstanceOf, model_validator

from lcd.agents import EncoderName, parse_encoder, read_card
from lcd.envs.family import (
    GameOptions,
    family_of,
    observation_space,
    options_from_record,
    runs_others_code,
)
from lcd.envs.levels import check_begins
from lcd.envs.views import SEMANTIC, View, get_view
from lcd.experiments.improvements import get_improvement, is_imported
from lcd.experiments.learners import get_learner
from lcd.io.files import checksum
from lcd.io.limits import MOST_EVALUATIONS, MOST_FACTOR, MOST_STEPS, json_object, short
from lcd.io.settings import (
    AS_FLOAT,
    LISTED,
    Flag,
    GamesAtOnce,
    NotNegative,
    Number,
    Positive,
    RunSteps,
    Seed,
    Several,
    Share,
    Text,
    Whole,
    from_data,
    settings,
)

RunPrecision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[RunPrecision | None, ...] = (*get_args(RunPrecision), None)
"""Of an encoder's numbers; None in runs of before."""

TRAINING_VERSION = 3
"""Version of the training code; raised when runs with the same settings would give other results."""

IMPORTED = "#"
"""In the identity of an imported teacher, between its name and the checksums of its source and its labels."""

EXPERT = "expert"
"""Name of a teacher that is the game's own optimal policy, and needs no file."""


def check_made_for(card: Mapping[str, Any], options: GameOptions, name: str, *, any_mode: bool = False) -> None:
    """Check that a policy was made for a game and its mode, as far as its card says.

    Parameters
    ----------
    card
        The policy's card: it, or the run in it, may name a game and a distribution mode.
    options
        What the policy is wanted for.
    name
        What the message calls it, such as ``"The teacher maze.safetensors"``.
    any_mode
        Whether any mode of the game will do.

    Raises
    ------
    ValueError
        If the card names another game or mode.
    """
    run, wanted = card.get("run"), options.as_record()
    game, mode = options.game, wanted.get("distribution_mode")
    for each in (card, run if isinstance(run, Mapping) else {}):
        made_for, its_mode = each.get("game", game), each.get("distribution_mode", mode)
        if str(made_for).lower() != game.lower():
            raise ValueError(f"{name} was made for {made_for}, not for {game}: choose another.")
        if its_mode != mode and not any_mode:
            raise ValueError(
                f"{name} was made for {game} in the mode {its_mode}, not in the mode {mode}: choose another."
            )


_UpToAMillion = Annotated[Whole, Field(ge=1, le=2**20)]


@settings
class Hyperparameters:
    """Hyperparameters of the learner, the same for reinforcement learning and imitation.

    The defaults are the usual ones for Procgen's easy mode (Cobbe et al., 2020, arXiv:1912.01588); `mixing` and
    `memory` are those of `lcd.agents.DAgger`.
    """

    num_envs: GamesAtOnce = 64
    rollout_steps: _UpToAMillion = 256
    minibatches: _UpToAMillion = 8
    epochs: _UpToAMillion = 3
    learning_rate: Annotated[Positive, AS_FLOAT] = 5e-4
    gamma: Annotated[Share, AS_FLOAT] = 0.999
    gae_lambda: Annotated[Share, AS_FLOAT] = 0.95
    clip_range: Annotated[NotNegative, AS_FLOAT] = 0.2
    entropy: Annotated[NotNegative, AS_FLOAT] = 0.01
    mixing: Annotated[Share, AS_FLOAT] = 0.0
    memory: Annotated[Whole, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check_minibatches(self) -> Hyperparameters:
        if self.rollout % self.minibatches:
            raise ValueError(
                f"{self.minibatches} minibatches do not divide a rollout of {self.num_envs} x {self.rollout_steps} "
                "steps: choose a divisor."
            )
        if self.rollout == self.minibatches:
            raise ValueError(f"{self.minibatches} minibatches of a rollout of as many steps hold one each: take fewer.")
        return self

    def changed(self, given: Mapping[str, Any] | str) -> Hyperparameters:
        """The same with some of them replaced.

        Parameters
        ----------
        given
            The others, by name; or the text of an object in JSON that holds them.

        Raises
        ------
        ValueError
            If one is unknown or impossible.
        """
        data = json_object("hyperparameters", given, example='{"learning_rate": 2.5e-4}')
        return from_data(Hyperparameters, asdict(self) | data)

    def for_labels(self) -> Hyperparameters:
        """Those of a learner from labels alone: what only PPO uses has the same values whatever PPO has.

        So such runs are shared by diagnoses of learners that differ in no more than that.
        """
        return replace(self, gamma=0.99, gae_lambda=0.95, clip_range=0.2, entropy=0.01)  # those of `standard`

    @property
    def rollout(self) -> int:
        """Environment steps between two updates, over all environments."""
        return self.num_envs * self.rollout_steps

    def for_ppo(self) -> dict[str, Any]:
        """Keyword arguments of Stable-Baselines3's PPO, without those of the environment and of imitation."""
        return {
            "n_steps": self.rollout_steps,
            "batch_size": self.rollout // self.minibatches,
            "n_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "clip_range": self.clip_range,
            "ent_coef": self.entropy,
        }


@settings(called="{} of the evaluation")
class Evaluation:
    """Schedule and size of a run's evaluations.

    Attributes
    ----------
    steps
        Environment steps done at each evaluation: from 0 to the end of the run, multiples of the rollout.
    num_envs
        Environments, on training and on unseen levels each.
    episodes_per_env
        Episodes in each of them.
    inverse_temperatures
        Candidate factors of the logits. Each is tried on training levels; unseen levels are then played with that of
        the highest return. With 1 alone the policy is evaluated unchanged.
    """

    steps: Annotated[
        tuple[Annotated[Whole, Field(ge=0, le=MOST_STEPS * (MOST_FACTOR + 1))], ...],
        Field(min_length=1, max_length=MOST_EVALUATIONS * MOST_FACTOR + 2),
        LISTED,
    ]
    num_envs: GamesAtOnce = 64
    episodes_per_env: GamesAtOnce = 1
    inverse_temperatures: Annotated[tuple[Annotated[Positive, AS_FLOAT], ...], Field(min_length=1), LISTED] = (1.0,)

    @property
    def episodes(self) -> int:
        """Most episodes of a run's evaluations: on training levels of every temperature, on unseen ones of two."""
        tempered = len({*self.inverse_temperatures} - {1.0})
        plays = 2 + tempered + (tempered > 0)
        return len(self.steps) * plays * self.num_envs * self.episodes_per_env

    @model_validator(mode="after")
    def _check_order(self) -> Evaluation:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[0] != 0:
            raise ValueError(f"The steps of the evaluations must begin with 0 and rise, not be {short(self.steps)}.")
        return self


@settings
class RunSettings:
    """One run: a cell of the factorial on one game with one seed, a teacher, one of its candidates, or a control.

    Attributes
    ----------
    options
        The game on its training levels.
    view
        Name of a view, see `lcd.envs.views`.
    learning
        Name of a learner, see `lcd.experiments.learners`.
    seed
        Seed of initial weights, order of training levels, actions and evaluated levels.
    steps
        Environment steps; a multiple of the rollout.
    encoder
        Name of the visual encoder, see `lcd.agents.EncoderName`.
    encoder_checksum
        SHA-256 of the weights file in the encoder's name; a run with other weights is another run.
    encoder_version
        See `lcd.agents.encoders.registry.version_of_encoder`; None for the package's own encoders.
    evaluation, hyperparameters
        See their classes.
    harmonizer
        Weight of the harmonizer's auxiliary loss, for a learner from pixels; see `lcd.experiments.harmonized`.
    teacher
        Identity of an imitation run's teacher: that of the run that trained it, the checksum of its file, its
        name and checksums of its source and labels where it is imported, or `EXPERT`.
    teacher_view
        Name of the view that the teacher acts on.
    improvement
        Name of an improvement that has a learner of its own, see `lcd.experiments.improvements`.
    improvement_version
        See `lcd.experiments.improvements.version_of_improvement`; None for the package's own improvements.
    precision
        In which encoders compute, ``"float32"`` or ``"bfloat16"``; None, for runs of before, that of the machine.
    game_version
        See `lcd.envs.family.GameFamily.version`; None, for runs of before, unknown.
    keep_best
        Whether to keep the weights of the best evaluation on training levels, as a teacher.
    candidates
        Identities of runs from reward of the same game: this one begins with the weights of the one of them that
        returns most on the training levels of its own evaluations.
    """

    options: InstanceOf[GameOptions]
    view: Text
    learning: Text
    seed: Seed
    steps: RunSteps
    evaluation: Evaluation
    encoder: Text = "nature"
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    teacher: Text | None = None
    keep_best: Flag = False
    encoder_checksum: Text | None = None
    encoder_version: Text | None = None
    harmonizer: Number = 0.0
    precision: RunPrecision | None = None
    game_version: Text | None = None
    teacher_view: Text = SEMANTIC.name
    improvement: Text | None = None
    improvement_version: Text | None = None
    candidates: Several[Text] = ()

    @model_validator(mode="after")
    def _check(self) -> RunSettings:
        check_begins(self.options.start_level)
        _ = self.unseen_options  # refuses that no level is unseen
        self._check_view()
        self._check_learner()
        self._check_improvement()
        self._check_schedule()
        return self

    def _check_view(self) -> None:
        """Check that the game has the view, and that the encoder reads it."""
        view, family = get_view(self.view), family_of(self.options)
        _check_shown(view, self.options)
        if view.drawn_as not in family.views:
            raise ValueError(f"{self.game} has no view {self.view!r}: choose one of {', '.join(family.views)}.")
        named = EncoderName.read(self.encoder)
        encoder, _ = parse_encoder(named.architecture)
        if (named.weights is None) != (self.encoder_checksum is None):
            raise ValueError(
                f"A checksum of weights belongs to an encoder with a weights file, not to {self.encoder!r}."
            )
        if view.kind == "image" and not encoder.reads_frames:
            raise ValueError(f"The encoder {self.encoder!r} reads label maps only, not pixels: choose another.")
        if self.harmonizer and (view.name != "pixels" or not self.harmonizer > 0):
            raise ValueError(
                f"The harmonizer is for learners from pixels, with a weight above 0, not for {self.view} with "
                f"{self.harmonizer}."
            )
        if self.harmonizer and get_learner(self.learning).harmonized is None:
            raise ValueError(f"There is no harmonizer for {self.learning!r}: it is for reward and imitation.")
        if self.harmonizer and self.hyperparameters.memory:
            raise ValueError(
                f"The harmonizer learns from the newest rollout only, not from {self.hyperparameters.memory} earlier "
                "ones too: set memory to 0."
            )
        if self.harmonizer and named.frozen:
            raise ValueError(f"The harmonizer trains the encoder, and {self.encoder!r} is frozen: choose another.")

    def _check_learner(self) -> None:
        """Check that a learner has a teacher exactly if it needs one."""
        if (self.teacher is None) == get_learner(self.learning).needs_teacher:
            needed = "needs a teacher" if self.teacher is None else "has no teacher"
            raise ValueError(f"The learner {self.learning!r} {needed}.")
        if self.teacher is None and self.teacher_view != SEMANTIC.name:
            raise ValueError(f"The view of a teacher belongs to imitation, not to {self.learning!r}.")
        if get_view(self.teacher_view).drawn_as not in family_of(self.options).views:
            raise ValueError(f"{self.game} has no view {self.teacher_view!r}, on which its teacher could act.")
        _check_shown(get_view(self.teacher_view), self.options)
        if self.candidates and self.learning != "rl":
            raise ValueError(f"Only a learner from reward goes on from another's weights, not {self.learning!r}.")
        if get_learner(self.learning).is_shaped and self.teacher == EXPERT:
            raise ValueError("Rewards are shaped by the value of a teacher, which is a run's, not that of its actions.")
        if get_learner(self.learning).is_shaped and self.view != self.teacher_view:
            raise ValueError(f"Rewards are shaped by a value of the learner's own view, {self.view!r}.")
        if self.harmonizer and self.teacher_view != SEMANTIC.name:
            raise ValueError("The harmonizer takes its maps from label maps, on which the teacher must act as well.")
        if self.teacher == EXPERT and not family_of(self.options).has_expert(self.options):
            raise ValueError(f"No optimal policy is known for {self.game}, so that {EXPERT!r} cannot be its teacher.")

    def _check_improvement(self) -> None:
        """Check that an improvement has a learner, and is of the one from frames and reward."""
        if self.improvement is None:
            return
        if self.learning != "rl" or self.harmonizer:
            raise ValueError(f"The improvement {self.improvement!r} is of the learner 'rl', without the harmonizer.")
        if not is_imported(self.improvement):
            return  # the record of a finished run, which is read without its code
        improvement = get_improvement(self.improvement)
        if improvement.learner is None:
            raise ValueError(f"The improvement {self.improvement!r} is other settings of a run, not another learner.")
        improvement.check_game(self.options, self.view)
        if improvement.trains_encoder and EncoderName.read(self.encoder).frozen:
            raise ValueError(
                f"The improvement {self.improvement!r} trains the encoder, and {self.encoder!r} is frozen: choose "
                "another."
            )

    def _check_schedule(self) -> None:
        """Check that evaluations come after whole rollouts, the last one at the end."""
        if self.evaluation.steps[-1] != self.steps:
            raise ValueError(
                f"The last evaluation, at {self.evaluation.steps[-1]}, must be at the end of the run, at {self.steps}."
            )
        for step in self.evaluation.steps:
            if step % self.hyperparameters.rollout:
                raise ValueError(
                    f"A run is evaluated after whole rollouts of {self.hyperparameters.rollout} steps, not at {step}."
                )

    @property
    def game(self) -> str:
        """Name of the game."""
        return self.options.game

    @property
    def unseen_options(self) -> GameOptions:
        """The game on all other levels."""
        return self.options.unseen_levels(self.options.num_levels)

    @property
    def needs(self) -> tuple[str, ...]:
        """Identities of the runs, or checksums of the files, whose weights this run uses."""
        from_file = self.teacher is not None and self.teacher != EXPERT and IMPORTED not in self.teacher
        return (*self.candidates, *((str(self.teacher),) if from_file else ()), *getattr(self.options, "needs", ()))

    @cached_property
    def identity(self) -> str:
        """Hash of all settings, independent of the path of the encoder's weights."""
        data = {"training_version": TRAINING_VERSION} | self.as_dict()
        if self.encoder_checksum is not None:
            data["encoder"] = EncoderName.read(self.encoder).without_weights
            data["eye"] = data.pop("encoder_checksum")  # its name when the first runs were made, whose identity is kept
        text = json.dumps(data, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Readable name of the run, which ends in its identity."""
        role = "-teacher" if self.keep_best else ""
        return f"{self.options.label}-{self.view}-{self.learning}{role}-seed{self.seed}-{self.identity}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` reads it."""
        data = asdict(self) | self.options.as_record() | {"candidates": list(self.candidates)}
        del data["options"]
        for name in ("steps", "inverse_temperatures"):
            data["evaluation"][name] = list(data["evaluation"][name])
        for name in (
            "encoder_checksum",
            "encoder_version",
            "harmonizer",
            "precision",
            "game_version",
            "improvement",
            "improvement_version",
            "candidates",
        ):  # left out at their defaults, so that older runs keep their identity
            if not data[name]:
                del data[name]
        if self.teacher_view == SEMANTIC.name:
            del data["teacher_view"]
        if not data["hyperparameters"]["memory"]:
            del data["hyperparameters"]["memory"]
        if data["evaluation"]["inverse_temperatures"] == [1.0]:
            del data["evaluation"]["inverse_temperatures"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSettings:
        """The settings that `as_dict` wrote.

        Raises
        ------
        ValueError
            If a field is missing, unknown or impossible.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"The settings of a run must be an object, not {short(data)}.")
        try:
            options, described = options_from_record(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The settings of a run are incomplete: {error}.") from error
        rest = {name: value for name, value in data.items() if name not in described}
        if "eye" in rest:  # the checksum's name in older records
            rest.setdefault("encoder_checksum", rest.pop("eye"))
        if unknown := set(rest) - {f.name for f in fields(cls)} | set(rest) & {"options"}:
            raise ValueError(f"Unknown settings of a run: {short(sorted(map(str, unknown)))}.")
        return from_data(cls, rest | {"options": options})


def _check_shown(view: View, options: GameOptions) -> None:
    """Check that a game can be shown so, if to know that runs no code that its record names.

    Raises
    ------
    lcd.envs.views.NoSuchView
        If it cannot.
    """
    if not runs_others_code(options):
        view.of_game(options)


def maker_of(card: Mapping[str, Any]) -> str | None:
    """Identity of the run that made a policy, by its card; None if no run did."""
    return RunSettings.from_dict(card["run"]).identity if "run" in card else None


def made_by_a_run(file: Path, identity: str, what: str) -> bool:
    """Check that a policy file is the one that was planned, without trusting it, and tell whether a run made it.

    Parameters
    ----------
    file
        The file.
    identity
        Of the run that made it, or its own checksum, which is longer, where a user gave it.
    what
        Its name in the message.

    Raises
    ------
    ValueError
        If it is another file.
    """
    by_a_run = len(identity) < len(checksum(file))
    if identity != (maker_of(read_card(file)) if by_a_run else checksum(file)):
        raise ValueError(f"{what} {file} has changed since the run was planned: start the command again.")
    return by_a_run


def encoder_of(settings: RunSettings) -> str:
    """Name of the encoder of a run: its visual encoder, or `mlp` where the view is a vector."""
    shape = observation_space(settings.options, settings.view).shape or ()
    return "mlp" if len(shape) == 1 else settings.encoder
