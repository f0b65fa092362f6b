"""Settings: what is wrong is one sentence that names the field, what is allowed, and what was given."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import AfterValidator, Field, InstanceOf, model_validator
from test_layout import known_modules
from tiny import TINY

from lcd.envs.calibration.difficulty import DifficultyFactors
from lcd.experiments.plan import plan_game
from lcd.experiments.settings import Hyperparameters, RunSettings
from lcd.io.refusals import SENTENCES
from lcd.io.settings import (
    AS_FLOAT,
    LISTED,
    Count,
    Flag,
    Names,
    NotNegative,
    Number,
    Positive,
    Seed,
    Several,
    Share,
    Text,
    Whole,
    from_data,
    one_of,
    settings,
)
from lcd.measurement.scores import Normalisation


class Refused(ValueError):
    pass


def refuse(name: str) -> str:
    if name == "refused":
        raise Refused("That name is refused: choose another.")
    return name


@settings
class Inner:
    count: Count = 1
    share: Share = 0.5
    sizes: Mapping[Text, Whole] = field(default_factory=dict)


@settings
class Outer:
    inner: Inner
    seeds: Several[Seed] = ()
    name: Annotated[Text, AfterValidator(refuse)] | None = None
    rate: Positive = 3
    weight: NotNegative = 0
    below: Annotated[Number, Field(lt=2.5)] = 0
    steps: Annotated[Whole, Field(le=10**6)] = 0
    kind: Literal["even", "geometric"] = "even"
    colour: Annotated[Text, one_of(("red", "blue"), "colour")] = "red"
    factors: Annotated[tuple[Annotated[Positive, AS_FLOAT], ...], Field(min_length=1, max_length=3), LISTED] = (1.0,)
    whether: Flag = False
    names: Names = ()
    inners: Several[Inner] = ()
    either: Inner | Literal["none"] = "none"
    file: Path | None = None
    where: InstanceOf[np.ndarray] | None = None

    @model_validator(mode="after")
    def _check(self) -> Outer:
        if self.rate == 7:
            raise ValueError("The rate is 7: choose another.")
        return self


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        # missing, extra, not known
        ({"inner": None, "DROP": "inner"}, "inner is missing: give it."),
        ({"colours": "red"}, "There is no setting 'colours': did you mean colour?"),
        ({"inner": {"cuont": 1}}, "There is no setting 'cuont' in inner: did you mean count?"),
        ({"inner": {3: 1}}, "There is no setting '3' in inner: choose among count, share, sizes."),
        ({"inners": [{}, {"x": 1}]}, "There is no setting 'x' in inners[1]: choose among count, share, sizes."),
        # of another type
        ({"seeds": [1.5]}, "seeds[0] must be a whole number, not 1.5."),
        ({"steps": "1"}, "steps must be a whole number, not '1'."),
        ({"steps": True}, "steps must be a whole number, not True."),
        ({"steps": 2.0}, "steps must be a whole number, not 2.0."),
        ({"rate": "1"}, "rate must be a number, not '1'."),
        ({"rate": True}, "rate must be a number, not True."),
        ({"rate": None}, "rate must be a number, not None."),
        ({"rate": np.array([1.0])}, "rate must be a number, not array([1.])."),
        ({"name": b"x"}, "name must be a text in quotation marks, not b'x'."),
        ({"whether": 1}, "whether must be true or false, not 1."),
        ({"whether": "yes"}, "whether must be true or false, not 'yes'."),
        ({"seeds": "12"}, "seeds must be a list, not '12'."),
        ({"seeds": {1: 2}}, "seeds must be a list, not {1: 2}."),
        ({"names": "ab"}, "names must be a list of names, each in quotation marks, not 'ab'."),
        ({"file": 3}, "file must be a path, not 3."),
        ({"where": 3}, "where must be ndarray, not 3."),
        # too small, too large, not finite
        ({"seeds": [0, -1]}, "seeds[1] must be at least 0, not -1."),
        ({"steps": 10**7}, "steps must be at most 1,000,000, not 10000000."),
        ({"rate": 0}, "rate must be above 0, not 0."),
        ({"rate": -0.5}, "rate must be above 0, not -0.5."),
        ({"weight": -1}, "weight must be at least 0, not -1."),
        ({"below": 2.5}, "below must be below 2.5, not 2.5."),
        ({"inner": {"share": 1.5}}, "inner.share must be a number from 0 to 1, not 1.5."),
        ({"rate": float("nan")}, "rate must be finite, not nan."),
        ({"rate": float("inf")}, "rate must be finite, not inf."),
        ({"rate": 10**400}, f"rate must be finite, not 1{'0' * 99}... (401 characters)."),
        ({"factors": []}, "factors must hold at least 1 of them, not 0."),
        ({"factors": [1] * 9}, "factors must hold at most 3 of them, not 9."),
        # one of some
        ({"kind": "odd"}, "kind must be 'even' or 'geometric', not 'odd'."),
        ({"colour": "green"}, "Unknown colour 'green': choose one of red, blue."),
        # inside others
        ({"inner": None}, "inner must be an object with the settings of Inner, not None."),
        ({"inner": []}, "inner must be an object with the settings of Inner, not []."),
        ({"inner": {"count": 0}}, "inner.count must be at least 1, not 0."),
        ({"inner": {"sizes": [3]}}, "inner.sizes must be an object with names and values, not [3]."),
        ({"inner": {"sizes": {"a": "3"}}}, "inner.sizes['a'] must be a whole number, not '3'."),
        ({"inner": {"sizes": {3: 3}}}, "inner.sizes[3] must be a text in quotation marks, not 3."),
        ({"inners": [{}, {"count": "1"}]}, "inners[1].count must be a whole number, not '1'."),
        ({"names": ["a", 3]}, "names[1] must be a text in quotation marks, not 3."),
        ({"either": {"share": 2}}, "either.share must be a number from 0 to 1, not 2."),
        # rules of the class's own
        ({"rate": 7}, "The rate is 7: choose another."),
        ({"name": "refused"}, "That name is refused: choose another."),
    ],
)
@pytest.mark.parametrize("way", ["arguments", "data", "replace"])
def test_what_is_wrong_is_one_sentence(given, sentence, way):
    data: dict[str, Any] = {"inner": {}} | given
    data.pop(data.pop("DROP", None), None)
    if way == "replace" and "inner" not in data:
        pytest.skip("what is replaced has every field")
    make = {
        "arguments": lambda: Outer(**data),
        "data": lambda: from_data(Outer, data),
        "replace": lambda: replace(Outer(Inner()), **data),
    }[way]
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == sentence
    assert "\n" not in sentence
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, Refused) == (data.get("name") == "refused")


def test_every_sentence_is_tried():
    marks = next(mark for mark in test_what_is_wrong_is_one_sentence.pytestmark if mark.args[0] != "way")
    told = " ".join(sentence for _, sentence in marks.args[1]) + TOLD_ELSEWHERE
    for kind, pattern in SENTENCES.items():
        middle = max(pattern.replace("{", "\0").replace("}", "\0").split("\0")[::2], key=len)
        assert middle in told, kind


TOLD_ELSEWHERE = "There are more values than settings,  inner is given twice: give it once."


def test_values_by_place_are_told_by_name():
    for make, sentence in (
        (lambda: Outer(3), "inner must be an object with the settings of Inner, not 3."),
        (lambda: Inner(1, 2), "share must be a number from 0 to 1, not 2."),
        (lambda: Inner(1, 1, {}, 4), "There are more values than settings, 4 among them: name each."),
        (lambda: Outer(Inner(), inner=Inner()), "inner is given twice: give it once."),
        (lambda: Inner(1, 0.5, share=0.5), "share is given twice: give it once."),
        (lambda: from_data(Outer, {3: 4}), f"There is no setting '3': choose among {', '.join(_names(Outer))}."),
        (lambda: from_data(Outer, [3]), "Outer must be an object with the settings of Outer, not [3]."),
        (lambda: DifficultyFactors(noise=2), "The difficulty factor noise must be a number from 0 to 1, not 2."),
    ):
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value) == sentence


def _names(kind):
    return [each.name for each in fields(kind)]


def test_an_error_without_a_sentence_is_told_in_one_line():
    @settings
    class Odd:
        mask: bytes = b""

    with pytest.raises(ValueError, match=r"^mask cannot be 3: Input should be [^\n]*\.$"):
        Odd(3)


def test_huge_values_are_shortened():
    for given in (
        {"seeds": ["x" * 10**6]},
        {"x" * 10**6: 1},
        {"rate": "y" * 10**6},
        {"inner": {"sizes": {"z\n" * 10**6: "1"}}},
        {"seeds": [10**9000]},
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
            from_data(Outer, {"inner": Inner()} | given)
        assert len(str(caught.value)) < 500


def test_values_are_kept_as_plain_ones():
    made = Outer(
        {"count": np.int64(3)},
        seeds=np.arange(3),
        rate=np.float32(0.5),
        weight=np.int16(2),
        factors=[1, np.float64(2)],
        whether=np.bool_(True),
        file="a",
    )
    assert made == Outer(Inner(3), (0, 1, 2), rate=0.5, weight=2, factors=(1.0, 2.0), whether=True, file=Path("a"))
    kinds = [type(each) for each in (made.inner.count, made.seeds[0], made.rate, made.weight, *made.factors)]
    assert kinds == [int, int, float, int, float, float]  # a whole number stays one where a number is wanted
    assert made.whether is True


def test_they_are_dataclasses():
    made = Outer(Inner(2))
    assert is_dataclass(made)
    assert asdict(made)["inner"] == {"count": 2, "share": 0.5, "sizes": {}}
    assert replace(made, rate=4) == Outer(Inner(2), rate=4) != made
    assert hash(Hyperparameters(gamma=0.5)) == hash(Hyperparameters(gamma=0.5))
    assert Hyperparameters.gamma == 0.999
    assert Outer.__match_args__[:2] == ("inner", "seeds")
    with pytest.raises(FrozenInstanceError):
        made.rate = 3
    assert from_data(Outer, asdict(made)) == made


@pytest.mark.parametrize(
    "hint", [int, float, str, bool, "tuple[int, ...]", "int | None", "Annotated[int, Field(ge=1)]"]
)
def test_types_that_convert_silently_are_refused(hint):
    body = {"__annotations__": {"field": hint}, "__module__": __name__}
    with pytest.raises(TypeError, match=r"^Bad\.field converts what it is given: use lcd\.io\.settings\.\w+\.$"):
        settings(type("Bad", (), body))


def test_settings_cross_to_new_processes():
    run = plan_game("maze", TINY).cells[0]
    assert pickle.loads(pickle.dumps(run)) == run
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_identity, run).result() == run.identity
        assert pool.submit(_refusal, run).result() == "seed must be at least 0, not -1."


def _identity(run: RunSettings) -> str:
    run.__dict__.pop("identity", None)
    return run.identity


def _refusal(run: RunSettings) -> str:
    try:
        replace(run, seed=-1)
    except ValueError as error:
        return str(error)
    return ""


def test_published_constants_stay_whole_numbers_in_records():
    assert asdict(Normalisation(5, 10, "published")) == {"random": 5, "best": 10, "source": "published"}
    assert str(asdict(Normalisation(5, 10, "published"))["best"]) == "10"


def test_no_dataclass_checks_types_by_hand_where_settings_do():
    """`__post_init__` is left to arrays and tables, which pydantic knows nothing about."""
    by_hand = {
        f"{name}.{kind.name}"
        for name, file in known_modules().items()
        for kind in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(kind, ast.ClassDef)
        if any(isinstance(each, ast.FunctionDef) and each.name == "__post_init__" for each in kind.body)
    }
    assert by_hand == {
        "lcd.alignment.recordings.Recording",
        "lcd.measurement.method_scores.MethodScores",
        "lcd.alignment.references.ReferenceMaps",
        "lcd.pretraining.frames.GameFrames",
        "lcd.studies.survey.tables.SurveyTables",
        "lcd.studies.taxonomy.taxonomy.Taxonomy",
    }
