"""The plan of a validation: games, improvements, seeds that take no part in the estimate, and hypotheses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from lcd.experiments.improvements import IMPROVEMENTS, get_improvement, import_improvement, name_here
from lcd.io.limits import MOST_SEEDS, short
from lcd.io.limits import path as checked_path
from lcd.io.settings import Flag, Names, Text, Whole, from_data, settings
from lcd.io.untrusted import LARGEST_TOML, check_file, read_toml
from lcd.measurement.validity import FEWEST_GAMES, KINDS
from lcd.studies.survey.plan import Survey, check_trusted
from lcd.studies.validation.predictors import OF_LADDER, PREDICTORS, SCORE


@settings(called="A hypothesis's {}")
class Hypothesis:
    """What is expected before anything is measured: that a predictor goes with the gains of improvements over games.

    Attributes
    ----------
    predictor
        Name of a predictor, see `lcd.studies.validation.predictors.PREDICTORS`.
    gain
        Kind of improvements whose mean gain it is about, ``"perceptual"`` or ``"policy"``; or one improvement.
    sign
        Sign of the expected rank correlation.
    given_score
        Whether it is the partial correlation, with the plain score held constant.
    """

    predictor: Text
    gain: Annotated[Text, AfterValidator(name_here)]
    sign: Literal["positive", "negative"] = "positive"
    given_score: Flag = False

    @model_validator(mode="after")
    def _check(self) -> Hypothesis:
        if self.predictor not in PREDICTORS:
            raise ValueError(
                f"A hypothesis has no predictor {short(self.predictor)}: choose one of {', '.join(PREDICTORS)}."
            )
        if self.gain not in (*KINDS, *IMPROVEMENTS) and ":" not in self.gain:
            raise ValueError(
                f"A hypothesis is about the gains of {' or '.join(KINDS)} improvements or of one of them, not of "
                f"{short(self.gain)}."
            )
        if self.given_score and self.predictor == SCORE:
            raise ValueError("A hypothesis is about the plain score, which cannot be held constant as well.")
        return self

    @property
    def text(self) -> str:
        """The hypothesis as a sentence."""
        gains = f"the mean gain of {self.gain} improvements" if self.gain in KINDS else f"the gain of {self.gain}"
        held = ", the plain score held constant" if self.given_score else ""
        direction = "larger" if self.sign == "positive" else "smaller"
        return f"Where {PREDICTORS[self.predictor]} is larger, {gains} is {direction}{held}."


def _imported(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(import_improvement, names))


@settings(called="A validation's {}")
class Validation:
    """What is validated, on what.

    Attributes
    ----------
    survey
        The games, and the budget and seeds of their diagnoses.
    improvements
        Names of improvements, see `lcd.experiments.improvements`, of either kind; one of your own is named with its
        module, ``"my_ideas:SHARPER"``.
    further_seeds
        Seeds of each improved learner and of the learner that it improves; none of them is a diagnosis's.
    ladder
        Whether the ladder's steps are predictors, too.
    hypotheses
        What was expected before.
    """

    survey: Survey
    improvements: Annotated[Names, AfterValidator(_imported)]
    further_seeds: Annotated[Whole, Field(ge=1, le=MOST_SEEDS)] = 2
    ladder: Flag = False
    hypotheses: tuple[Hypothesis, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Validation:
        if self.survey.algorithm is not None:
            raise ValueError(f"A validation improves plain PPO, not {self.survey.algorithm}: leave algorithm out.")
        if self.survey.baselines:
            raise ValueError("A validation measures no baselines: leave them out, or add them to the survey.")
        if len(set(self.improvements)) < len(self.improvements):
            raise ValueError(f"A validation names each improvement once, unlike {', '.join(self.improvements)}.")
        for kind in KINDS:
            if not any(get_improvement(name).kind == kind for name in self.improvements):
                raise ValueError(f"A validation compares improvements of both kinds, and there is no {kind} one.")
        if len(self.survey.games) < FEWEST_GAMES:
            raise ValueError(
                f"A validation correlates over games, {FEWEST_GAMES} or more, not {len(self.survey.games)}."
            )
        for hypothesis in self.hypotheses:
            if hypothesis.gain not in (*KINDS, *self.improvements):
                raise ValueError(f"A hypothesis is about {hypothesis.gain}, which is not measured: add it.")
            if hypothesis.predictor in OF_LADDER and not self.ladder:
                raise ValueError(
                    f"A hypothesis is about {hypothesis.predictor}, a step of the ladder, which is not measured: set "
                    "ladder = true."
                )
        if again := [each for each in self.hypotheses if self.hypotheses.count(each) > 1]:
            raise ValueError(f"A hypothesis is there twice, and would widen the limits of all: {again[0].text}")
        return self

    @classmethod
    def read(cls, source: Path | str, *, trust: bool = False) -> Validation:
        """Read a validation's TOML file: that of a survey, with the further attributes of this class.

        Parameters
        ----------
        source
            The file.
        trust
            As in `lcd.Survey.read`.

        Raises
        ------
        ValueError
            If there is no such file, or it is no plan of a validation.
        """
        path, remedy = checked_path("The validation", source), "give the TOML file of a validation"
        check_file(path, LARGEST_TOML, what="validation", remedy=remedy, lost=remedy)
        data = read_toml(path, what="a validation", remedy=remedy)
        own = {each.name for each in fields(cls)} - {"survey"}
        if "improvements" not in data:
            raise ValueError(
                f"{source} names no improvements: a validation needs a line such as improvements = ['invariant-crop', "
                "'longer-credit']."
            )
        check_trusted(data["improvements"], source, trust=trust)
        survey = Survey.from_toml({name: value for name, value in data.items() if name not in own}, source, trust=trust)
        given = {name: value for name, value in data.items() if name in own}
        expected = given.pop("hypotheses", [])
        if not isinstance(expected, list) or not all(isinstance(each, Mapping) for each in expected):
            raise ValueError(f"The hypotheses in {source} must be tables, [[hypotheses]], not {short(expected)}.")
        hypotheses = tuple(from_data(Hypothesis, each) for each in expected)
        return cls(survey=survey, hypotheses=hypotheses, **_checked(given))

    @property
    def further(self) -> range:
        """The seeds that take no part in the estimate."""
        first = 1 + max(run.seed for game in self.survey.plan.games for run in game.cells)
        return range(first, first + self.further_seeds)


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """The attributes as their types; a list for a tuple."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
