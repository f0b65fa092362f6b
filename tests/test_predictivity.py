"""Neural predictivity on neurons that are known: what explains them, how well, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from tiny_vision import TinyVision, pictures

from lcd.alignment import regression
from lcd.alignment.layers import LayeredNetwork, find_layers, layer_activations
from lcd.alignment.predictivity import OVER, ceilings, predictivity, spearman_brown
from lcd.alignment.recordings import Recording
from lcd.alignment.regression import Regression, cross_validated, cross_validated_at_places, folds_of

IMAGES, SITES, REPETITIONS, NOISE = 600, 40, 4, 1.5
TRUE_CEILING = 1 / np.sqrt(1 + NOISE**2 / REPETITIONS)
RIDGE, PLS = Regression("ridge", folds=5), Regression("pls", folds=5)


@pytest.fixture(scope="module")
def layers():
    """Activations of each layer of the small network."""
    model = TinyVision().eval()
    network = LayeredNetwork(model, lambda images: model(images.float() / 255))
    inputs = torch.from_numpy(pictures(IMAGES)).permute(0, 3, 1, 2)
    return {layer.name: each for layer, each in layer_activations(network, inputs, find_layers(network, inputs))}


def standardised(signal):
    return (signal - signal.mean(axis=0)) / signal.std(axis=0)


def flat(activations):
    return activations.reshape(len(activations), -1)


def neurons(activations, seed=1, sites=SITES, noise=NOISE, repetitions=REPETITIONS):
    """Random sums of a layer's activations with variance 1, and noise of a known standard deviation."""
    random = np.random.default_rng(seed)
    signal = standardised(flat(activations) @ random.normal(size=(flat(activations).shape[1], sites)))
    return Recording(signal + noise * random.normal(size=(repetitions, *signal.shape)))


def scored(layers, recording, settings, over="both"):
    fold = folds_of(recording.clusters, settings)
    predicted = {
        name: cross_validated(flat(each), recording.mean, recording.clusters, settings) for name, each in layers.items()
    }
    return predictivity(predicted, recording, fold, over=over)


@pytest.mark.parametrize("settings", [RIDGE, PLS])
def test_neurons_are_explained_to_their_ceiling_by_the_layer_that_made_them_and_less_by_others(layers, settings):
    found = scored(layers, neurons(layers["second"]), settings)
    right = found["second"]
    assert right.ceiling.low < TRUE_CEILING < right.ceiling.high
    assert right.score.low < TRUE_CEILING < right.score.high
    assert right.corrected.value == pytest.approx(1, abs=0.04)
    assert right.corrected.high > 0.98
    for name in ("first", "last"):
        assert found[name].corrected.high < right.corrected.low
        assert found[name].ceiling == right.ceiling
    assert right.unreliable == 0


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("settings", [RIDGE, Regression("pls", (1, 2, 5, 10), folds=5)])
def test_pure_noise_is_not_predicted_whatever_is_chosen_in_the_training_folds(settings, over):
    """Many more features than images, and components and penalties that could be fitted to the held-out responses."""
    random = np.random.default_rng(3)
    features = random.normal(size=(200, 900)).astype(np.float32)
    found = scored({"noise": features}, Recording(random.normal(size=(1, 200, 40))), settings, over)["noise"]
    assert found.score.low < 0 < found.score.high
    assert found.score.high - found.score.low < 0.2
    assert np.isnan(found.corrected.value)


def test_a_choice_that_saw_the_held_out_responses_would_be_noticed():
    """The features that correlate most with all responses, the held-out ones too, "predict" noise."""
    random = np.random.default_rng(3)
    features, noise = random.normal(size=(200, 900)).astype(np.float32), random.normal(size=(1, 200, 1))
    chosen = np.abs(standardised(features).T @ noise[0]).ravel().argsort()[-20:]
    found = scored({"noise": features[:, chosen]}, Recording(noise), RIDGE, "images")["noise"]
    assert found.score.low > 0.3


def test_images_of_a_cluster_are_in_one_fold_and_teach_nothing_about_each_other():
    """Each image occurs four times: split over folds, its noise would be known."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(100, 150)), 4, axis=0).astype(np.float32)
    noise = np.repeat(random.normal(size=(1, 100, 30)), 4, axis=1)
    groups = np.repeat(np.arange(100), 4)
    kept, leaked = (
        scored({"noise": features}, Recording(noise, groups=given), RIDGE)["noise"].score for given in (groups, None)
    )
    assert kept.low < 0 < kept.high
    assert leaked.low > 0.9
    fold = folds_of(groups, RIDGE)
    assert all(len(np.unique(fold[groups == number])) == 1 for number in range(100))


def test_standardisation_sees_the_training_folds_only(layers):
    """Changing an image changes no prediction for other images of its fold."""
    features, recording = flat(layers["first"]).copy(), neurons(layers["second"], sites=3)
    fold = folds_of(recording.clusters, RIDGE)
    before = cross_validated(features, recording.mean, recording.clusters, RIDGE)
    features[0] *= 1_000
    after = cross_validated(features, recording.mean, recording.clusters, RIDGE)
    same_fold = np.flatnonzero(fold == fold[0])[1:]
    np.testing.assert_array_equal(before[same_fold], after[same_fold])
    assert not np.allclose(before[fold != fold[0]], after[fold != fold[0]])


def test_predictions_are_those_of_scikit_learn_on_the_plain_features(monkeypatch, layers):
    """With more features than images, where this package rotates them first."""
    random = np.random.default_rng(0)
    features = (flat(layers["first"])[:60] @ random.normal(size=(64, 300))).astype(np.float32)
    responses = neurons(layers["second"], sites=5).mean[:60]
    test = folds_of(np.arange(60), RIDGE) == 0
    scaler = StandardScaler().fit(features[~test].astype(np.float64))
    train, held_out = (scaler.transform(features[rows].astype(np.float64)) for rows in (~test, test))
    penalty = 0.1
    monkeypatch.setattr(regression, "PENALTIES", (penalty,))
    ridge = Ridge(penalty * np.square(train).sum(axis=1).mean()).fit(train, responses[~test]).predict(held_out)
    np.testing.assert_allclose(cross_validated(features, responses, np.arange(60), RIDGE)[test], ridge, atol=1e-8)
    pls = PLSRegression(7, scale=True, max_iter=5_000).fit(features[~test].astype(np.float64), responses[~test])
    expected = pls.predict(features[test].astype(np.float64))
    found = cross_validated(features, responses, np.arange(60), Regression("pls", (7,), folds=5))[test]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_components_are_chosen_for_each_site(layers):
    """One site is a single direction, another one needs many: each gets what a fixed choice gives it at best."""
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 30)).astype(np.float32) * np.array([5] + 29 * [1], np.float32)
    signal = standardised(np.stack([features[:, 0], features @ random.normal(size=30)], axis=1))
    recording = Recording((signal + 0.3 * random.normal(size=signal.shape))[None])
    chosen = cross_validated(features, recording.mean, recording.clusters, Regression("pls", (1, 20), folds=5))
    errors = {
        count: np.square(
            cross_validated(features, recording.mean, recording.clusters, Regression("pls", (count,), folds=5))
            - recording.mean
        ).mean(axis=0)
        for count in (1, 20)
    }
    found = np.square(chosen - recording.mean).mean(axis=0)
    assert (found <= 1.1 * np.minimum(errors[1], errors[20])).all()
    assert (np.abs(errors[1] - errors[20]) > 0.02).any()


@pytest.mark.parametrize("repetitions", [2, 5, 8])
def test_the_ceiling_is_known_from_the_noise(repetitions):
    """Also with an odd number, of which a half is less than half."""
    random = np.random.default_rng(0)
    recording = Recording(random.normal(size=(2_000, 60)) + NOISE * random.normal(size=(repetitions, 2_000, 60)))
    found = ceilings(recording)
    assert found.mean() == pytest.approx(1 / np.sqrt(1 + NOISE**2 / repetitions), abs=0.01)


def test_presentations_that_are_missing_lower_the_ceiling_and_break_nothing():
    random = np.random.default_rng(0)
    responses = random.normal(size=(1_000, 40)) + random.normal(size=(6, 1_000, 40))
    whole = ceilings(Recording(responses)).mean()
    responses[2:, ::2] = np.nan  # half of the images were presented twice only
    fewer = ceilings(Recording(responses)).mean()
    assert np.sqrt(1 / 1.5) < fewer < whole == pytest.approx(np.sqrt(1 / (1 + 1 / 6)), abs=0.01)


def test_images_that_were_presented_once_do_not_lower_the_corrected_score():
    """Their noise sets no ceiling, so that they are left out of what is divided by it."""
    random = np.random.default_rng(3)
    signal = random.normal(size=(400, 30))
    responses = signal + random.normal(size=(10, *signal.shape))
    responses[1:, ::2] = np.nan
    found = predictivity({"truth": signal}, Recording(responses), np.arange(400) % 5, over="images")["truth"]
    assert found.corrected.value == pytest.approx(1, abs=0.02)
    assert found.score.value < 0.9


def test_limits_over_few_clusters_are_as_wide_as_the_spread_of_further_ones(monkeypatch):
    """Resampled, the m clusters of a fold vary as if they were m - 1: with 2 limits would be 29 % too narrow."""
    monkeypatch.setattr("lcd.alignment.predictivity.RESAMPLES", 200)
    random, found, clusters, each = np.random.default_rng(4), [], 10, 10
    groups = np.repeat(np.arange(clusters), each)
    for _ in range(60):
        signal = random.normal(size=(clusters * each, 1))
        noise = (0.7 + 0.6 * random.random(clusters)[groups])[:, None] * random.normal(size=(2, clusters * each, 1))
        recording = Recording(signal[None] + noise, groups=groups)
        made = predictivity({"truth": signal}, recording, groups % 5, over="images")["truth"].score
        found.append((made.value, made.high - made.low))
    values, widths = np.array(found).T
    assert widths.mean() == pytest.approx(2 * 1.96 * values.std(), rel=0.25)


def test_spearman_brown_is_the_reliability_of_a_longer_test():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(0.5, 1) == 0.5
    assert spearman_brown(spearman_brown(0.3, 2), 3) == pytest.approx(spearman_brown(0.3, 6))


def test_noise_alone_has_no_ceiling_and_no_corrected_score():
    random = np.random.default_rng(0)
    recording = Recording(random.normal(size=(4, 400, 10)))
    assert np.isnan(ceilings(recording)).sum() >= 8


@pytest.mark.parametrize("repetitions", [2, 3, 5])
def test_sites_whose_repetitions_disagree_have_no_ceiling(repetitions):
    random = np.random.default_rng(0)
    for seed in range(20):
        common = random.normal(size=(1, 20, 4))
        signs = np.where(np.arange(repetitions) % 2, 1.0, -1.0)[:, None, None]
        found = ceilings(Recording(signs * common + 0.3 * random.normal(size=(repetitions, 20, 4))), seed=seed)
        assert not (found > 1).any()


def test_known_ceilings_are_taken(layers):
    recording = neurons(layers["second"], noise=0.0, repetitions=1)
    known = Recording(recording.responses, ceilings=np.full(SITES, 0.5))
    found = scored({"second": layers["second"]}, known, RIDGE)["second"]
    assert found.score.value == pytest.approx(1, abs=0.01)
    assert found.corrected.value == pytest.approx(2, abs=0.02)
    assert (found.ceiling.value, found.unreliable) == (0.5, 0)


def test_constant_activations_explain_nothing():
    random = np.random.default_rng(0)
    recording = Recording(random.normal(size=(1, 100, 4)))
    for settings in (RIDGE, PLS):
        assert scored({"constant": np.ones((100, 7), np.float32)}, recording, settings)["constant"].score.value == 0


@pytest.mark.parametrize("settings", [RIDGE, PLS])
def test_repeated_activations_change_no_prediction(layers, settings):
    """More components are asked for than there are different activations."""
    features, recording = flat(layers["last"]), neurons(layers["last"], sites=3)
    once, twice = (
        cross_validated(each, recording.mean, recording.clusters, settings)
        for each in (features, np.concatenate([features, features], axis=1))
    )
    np.testing.assert_allclose(once, twice, atol=1e-6)


def test_sites_of_a_map_are_predicted_from_their_places(layers):
    """Of maps each place of which weighs the layer's channels in its own way; and of maps that all weigh them alike."""
    random, channels = np.random.default_rng(0), layers["first"]  # 4 channels of 4 x 4 places
    own, alike = random.normal(size=(4, 4, 4)), np.broadcast_to(random.normal(size=(4, 1, 1)), (4, 4, 4))
    found = {}
    for name, weights in (("own", own), ("alike", alike)):
        signal = standardised(np.einsum("nchw,chw->nhw", channels, weights).reshape(IMAGES, -1))
        recording = Recording(signal + random.normal(size=(4, IMAGES, 16)), grid=(4, 4))
        fold = folds_of(recording.clusters, RIDGE)
        predicted = {
            str(shared): cross_validated_at_places(
                channels, recording.mean, (4, 4), recording.clusters, RIDGE, shared=shared
            )
            for shared in (False, True)
        }
        moved = cross_validated_at_places(
            channels[:, :, ::-1].copy(), recording.mean, (4, 4), recording.clusters, RIDGE
        )
        found[name] = predictivity(predicted | {"moved": moved}, recording, fold)
    assert found["own"]["False"].corrected.value == pytest.approx(1, abs=0.03)
    assert found["own"]["True"].corrected.high < found["own"]["False"].corrected.low
    assert found["alike"]["True"].corrected.value == pytest.approx(1, abs=0.03)
    for each in found.values():
        assert each["moved"].score.high < 0.1


@pytest.mark.parametrize(
    ("clusters", "folds", "sentence"),
    [
        (np.arange(4), 5, "4 images are too few for 5 folds, which need 10 each: set fewer folds, or record more."),
        (np.arange(99), 10, "99 images are too few for 10 folds, which need 10 each"),
        (np.repeat(np.arange(3), 50), 2, "3 clusters of dependent images are too few for 2 folds, which need 2 each"),
    ],
)
def test_too_few_images_for_the_folds_are_refused_in_a_sentence(clusters, folds, sentence):
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.")):
        folds_of(clusters, Regression(folds=folds))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "lasso"}, "Unknown method 'lasso': choose one of pls, ridge."),
        ({"components": ()}, "components must hold at least 1 of them, not 0."),
        ({"components": (0,)}, "must be at least 1, not 0."),
        ({"folds": 1}, "folds must be at least 2, not 1."),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
        Regression(**settings)


def test_predictions_of_another_shape_and_other_units_are_refused(layers):
    recording = neurons(layers["second"], sites=3)
    fold = folds_of(recording.clusters, RIDGE)
    with pytest.raises(ValueError, match="600 images and 3 sites need predictions of that shape"):
        predictivity({"second": np.zeros((600, 4))}, recording, fold)
    with pytest.raises(ValueError, match="Unknown unit of resampling 'neurons': choose one of both, images, sites"):
        predictivity({}, recording, fold, over="neurons")  # type: ignore[arg-type]
