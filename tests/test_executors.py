"""Executors by their names."""

import pytest

from lcd.experiments.executors import make_executor, parse_executor
from lcd.experiments.store import Store


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("local", ("local", {})),
        ("ray", ("ray", {})),
        ("ray:auto", ("ray", {"address": "auto"})),
        ("ray:10.0.0.1:6379,gpus=0.5,cpus=2", ("ray", {"address": "10.0.0.1:6379", "gpus": "0.5", "cpus": "2"})),
        ("ray,gpus=0.5", ("ray", {"gpus": "0.5"})),
        ("ray:ray://head:10001", ("ray", {"address": "ray://head:10001"})),
    ],
)
def test_executors_have_names(name, expected):
    assert parse_executor(name) == expected


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raid", "Unknown executor 'raid'"),
        ("local:4", "has no setting '4'"),
        ("ray:auto,gpu=1", "has no setting 'gpu=1'"),
        ("ray:auto,gpus=1,gpus=2", "given twice"),
        ("ray:auto,gpus=0", "not a number above 0"),
        ("ray:auto,cpus=x", "not a number above 0"),
        (7, "executor must be a text"),
    ],
)
def test_an_impossible_executor_is_one_sentence(tmp_path, name, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_executor(name, Store(tmp_path), [])
