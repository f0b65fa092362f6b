import numpy as np
import pytest

from lcd.demands import CONTRASTS, DIFFERENCE, shapley_demands


@pytest.fixture(scope="module")
def cells():
    return np.random.default_rng(0).uniform(-1, 2, (4, 50, 3))


def test_demands_sum_to_the_gap_for_any_cells(cells):
    found = shapley_demands(*cells)
    np.testing.assert_allclose(found.perceptual + found.policy, found.gap, atol=1e-12)


def test_headroom_and_gap_reach_from_the_unhelped_to_the_best(cells):
    found = shapley_demands(*cells)
    np.testing.assert_allclose(cells[0] + found.gap + found.headroom, 1)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.1, 0.6, 0.1, 0.6), (0.5, 0.0, 0.5, 0.0, 0.4)),  # only sight helps
        ((0.1, 0.1, 0.6, 0.6), (0.0, 0.5, 0.5, 0.0, 0.4)),  # only imitation helps
        ((0.0, 0.0, 0.0, 0.8), (0.4, 0.4, 0.8, 0.8, 0.2)),  # help pays only together
        ((0.0, 0.8, 0.8, 0.8), (0.4, 0.4, 0.8, -0.8, 0.2)),  # either help does
    ],
)
def test_known_answers(scores, expected):
    np.testing.assert_allclose(shapley_demands(*scores), expected, atol=1e-12)


def test_exchanging_the_helps_exchanges_the_demands(cells):
    a, b, c, d = cells
    one, other = shapley_demands(a, b, c, d), shapley_demands(a, c, b, d)
    np.testing.assert_allclose(one.perceptual, other.policy)
    np.testing.assert_allclose(one.interaction, other.interaction, atol=1e-12)


def test_help_that_changes_nothing_has_no_demand(cells):
    a, _, c, _ = cells
    np.testing.assert_allclose(shapley_demands(a, a, c, c).perceptual, 0, atol=1e-12)


def test_contrasts_are_the_formulas(cells):
    found = shapley_demands(*cells)
    for name, contrast in CONTRASTS.items():
        value = contrast.offset + np.einsum("i,i...->...", np.array(contrast.weights), cells)
        np.testing.assert_allclose(value, getattr(found, name), atol=1e-12)
    difference = np.einsum("i,i...->...", np.array(DIFFERENCE.weights), cells)
    np.testing.assert_allclose(difference, found.perceptual - found.policy, atol=1e-12)


def test_cells_broadcast_and_wrong_shapes_are_refused():
    assert shapley_demands(0.1, np.zeros(3), 0.2, np.ones((2, 1))).gap.shape == (2, 3)
    with pytest.raises(ValueError, match="broadcast"):
        shapley_demands(np.zeros(2), np.zeros(3), 0, 0)
