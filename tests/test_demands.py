import numpy as np
import pytest

from lcd.measurement.demands import CONTRASTS, DIFFERENCE, demands_of


@pytest.fixture(scope="module")
def cells():
    return np.random.default_rng(0).uniform(-1, 2, (4, 50, 3))


def test_demands_sum_to_the_gap_for_any_cells(cells):
    found = demands_of(*cells)
    np.testing.assert_allclose(found.perceptual + found.policy + found.joint, found.gap, atol=1e-12)


def test_headroom_and_gap_reach_from_the_unhelped_to_the_best(cells):
    found = demands_of(*cells)
    np.testing.assert_allclose(cells[0] + found.gap + found.headroom, 1)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.6, 0.1, 0.6), (0.5, 0.0, 0.0)),  # only the view matters
        ((0.1, 0.1, 0.6, 0.6), (0.0, 0.5, 0.0)),  # only the learning matters
        ((0.1, 0.3, 0.4, 0.6), (0.2, 0.3, 0.0)),  # additive
        ((0.0, 0.0, 0.0, 0.8), (0.8, 0.8, -0.8)),  # help pays only together
        ((0.0, 0.8, 0.8, 0.8), (0.0, 0.0, 0.8)),  # either help is enough
    ],
)
def test_known_answers(scores, expected):
    np.testing.assert_allclose(demands_of(*scores)[:3], expected, atol=1e-12)


def test_what_one_help_brings_alone_is_its_demand_and_what_is_joint(cells):
    found = demands_of(*cells)
    np.testing.assert_allclose(found.perceptual_gain, found.perceptual + found.joint, atol=1e-12)
    np.testing.assert_allclose(found.policy_gain, found.policy + found.joint, atol=1e-12)


def test_exchanging_the_helps_exchanges_the_demands(cells):
    a, b, c, d = cells
    one, other = demands_of(a, b, c, d), demands_of(a, c, b, d)
    np.testing.assert_allclose(one.perceptual, other.policy)
    np.testing.assert_allclose(one.joint, other.joint, atol=1e-12)


def test_help_that_changes_nothing_has_no_demand(cells):
    a, _, c, _ = cells
    np.testing.assert_allclose(demands_of(a, a, c, c).perceptual, 0, atol=1e-12)


def test_contrasts_are_the_formulas(cells):
    found = demands_of(*cells)
    for name, contrast in CONTRASTS.items():
        value = contrast.offset + np.einsum("i,i...->...", np.array(contrast.weights), cells)
        np.testing.assert_allclose(value, getattr(found, name), atol=1e-12)
    difference = np.einsum("i,i...->...", np.array(DIFFERENCE.weights), cells)
    np.testing.assert_allclose(difference, found.perceptual - found.policy, atol=1e-12)


def test_cells_broadcast_and_wrong_shapes_are_refused():
    assert demands_of(0.1, np.zeros(3), 0.2, np.ones((2, 1))).gap.shape == (2, 3)
    with pytest.raises(ValueError, match="broadcast"):
        demands_of(np.zeros(2), np.zeros(3), 0, 0)
