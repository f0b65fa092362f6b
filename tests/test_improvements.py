"""Published improvements of PPO: what each changes, and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from lcd.agents import PPO
from lcd.agents.improvements.augmentation import AUGMENTATIONS, MARGIN, colour_jitter, random_crop
from lcd.agents.improvements.augmented import AugmentedPPO, RegularisedPPO, RegularisedSamples
from lcd.agents.improvements.phasic import PhasicPPO
from lcd.envs import ProcgenOptions, make_vec_env
from lcd.experiments.improvements import IMPROVEMENTS, PUBLISHED_NAMES, get_improvement, import_improvement
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings
from lcd.studies.validation.plan import Hypothesis

SEQUENTIAL = ProcgenOptions("coinrun", num_levels=200, use_sequential_levels=True)
SMALL = {"encoder": "small", "n_steps": 8, "batch_size": 16, "n_epochs": 1, "device": "cpu", "seed": 0}


@pytest.fixture
def games() -> VecEnv:
    return make_vec_env(ProcgenOptions("bossfight"), 4, "pixels", 0)


def frames(count: int = 6, channels: int = 3, side: int = 64) -> torch.Tensor:
    shape = (count, channels, side, side)
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_is_changed_by_random_numbers_of_its_own(name: str) -> None:
    same = frames(1).expand(6, -1, -1, -1)
    torch.manual_seed(0)
    changed = AUGMENTATIONS[name](same)
    assert changed.shape == same.shape
    assert changed.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in changed}) == 6
    torch.manual_seed(0)
    assert torch.equal(changed, AUGMENTATIONS[name](same))


def test_a_crop_is_a_shift_that_repeats_the_edge() -> None:
    rows = torch.arange(64, dtype=torch.uint8)[:, None].expand(64, 64)
    images = torch.stack([rows, rows.T]).expand(500, -1, -1, -1)
    torch.manual_seed(0)
    down, right = random_crop(images).long().unbind(1)
    shifts = torch.stack([down[:, 32, 0], right[:, 0, 32]]) - 32
    assert shifts.min() == -round(64 * MARGIN) == -12
    assert shifts.max() == 12
    wanted = (torch.arange(64) + shifts[..., None]).clamp(0, 63)
    assert torch.equal(down, wanted[0][:, :, None].expand(-1, -1, 64))
    assert torch.equal(right, wanted[1][:, None, :].expand(-1, 64, -1))


def test_a_convolution_keeps_shapes() -> None:
    """Where an image is even it stays so; its edges stay where they were."""
    image = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    image[:, :, :, 16:] = torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None]
    changed = AUGMENTATIONS["convolution"](image).float()
    for part in (changed[..., :15], changed[..., 17:]):
        assert part.std(dim=(2, 3)).max() == 0
    assert ((changed[..., 0] - changed[..., -1]).abs().amax(dim=(1, 2)) > 5).all()


def test_colours_turn_around_grey() -> None:
    grey = frames(200)[:, :1].expand(-1, 3, -1, -1)
    changed = colour_jitter(grey).float()
    assert (changed[:, 0] - changed[:, 2]).abs().max() <= 1
    ratio = changed.mean(dim=(1, 2, 3)) / grey.float().mean(dim=(1, 2, 3))
    assert ratio.min() < 0.7
    assert ratio.max() > 1.3
    red = torch.zeros(200, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 150
    strongest = colour_jitter(red).float().mean(dim=(2, 3)).argmax(dim=1)
    assert strongest.bincount(minlength=3).min() > 40  # of 200: any hue
    with pytest.raises(ValueError, match="3 channels, not of 4"):
        colour_jitter(frames(channels=4))


def test_what_is_augmented_is_learned_from_and_nothing_else(games: VecEnv, monkeypatch) -> None:
    monkeypatch.setattr(
        "lcd.agents.improvements.augmented.get_augmentation", lambda name: lambda batch: torch.full_like(batch, 7)
    )
    model = AugmentedPPO(env=games, **SMALL)
    model.learn(64)
    every = torch.arange(32)
    assert (model.rollout_buffer.frames(every) == 7).all()  # type: ignore[attr-defined]
    regularised = RegularisedPPO(env=games, **SMALL)
    regularised.learn(32)
    assert not (regularised.rollout_buffer.frames(every) == 7).all()  # type: ignore[attr-defined]


def samples(model: PPO, augmented: torch.Tensor) -> RegularisedSamples:
    observations = frames()
    with torch.no_grad():
        actions, values, log_prob = model.policy(observations)
    ones = torch.ones(len(observations))
    return RegularisedSamples(observations, actions, values.flatten(), log_prob, ones, ones, augmented)


def test_regularisation_is_the_distance_between_both_views(games: VecEnv) -> None:
    plain, model = PPO(env=games, **SMALL), RegularisedPPO(env=games, weight=0.5, **SMALL)
    torch.nn.init.normal_(plain.policy.value_net.weight)
    model.policy.load_state_dict(plain.policy.state_dict())
    same = samples(model, frames())
    loss, statistics = model.minibatch_loss(same, 0.2)
    usual, _ = plain.minibatch_loss(same, 0.2)
    assert statistics["regularisation_loss"].abs() < 1e-6
    assert loss.item() == pytest.approx(usual.item(), abs=1e-6)
    other = same._replace(augmented=255 - frames())
    loss, statistics = model.minibatch_loss(other, 0.2)
    with torch.no_grad():
        wanted, values = model.policy.heads(other.observations)
        found, estimates = model.policy.heads(other.augmented)
    divergence = (wanted.exp() * (wanted - found)).sum(dim=1).mean()
    expected = divergence + functional.mse_loss(estimates, values) / 2
    assert statistics["regularisation_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert expected > 1e-4
    assert loss.item() == pytest.approx((usual + 0.5 * expected).item(), rel=1e-5)


def test_regularisation_moves_only_what_is_said_of_augmented_frames(games: VecEnv) -> None:
    model = RegularisedPPO(env=games, weight=1.0, **SMALL)
    torch.nn.init.normal_(model.policy.value_net.weight)
    batch = samples(model, 255 - frames())
    gradients = []
    for constant in (False, True):
        with torch.no_grad():
            wanted, values = model.policy.heads(batch.observations)
        if constant:
            found, estimates = model.policy.heads(batch.augmented)
            loss = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
            loss = loss + functional.mse_loss(estimates, values) / 2
        else:
            loss = model.minibatch_loss(batch, 0.2)[0] - PPO.minibatch_loss(model, batch, 0.2)[0]  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(loss, model.policy.action_net.weight)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_augmented_is_refused(games: VecEnv) -> None:
    maps = make_vec_env(ProcgenOptions("bossfight"), 2, "semantic", 0)
    with pytest.raises(ValueError, match="learn from frames"):
        AugmentedPPO(env=maps, **SMALL)
    with pytest.raises(ValueError, match="choose one of crop, convolution, colour"):
        AugmentedPPO(env=games, augmentation="flip", **SMALL)
    with pytest.raises(ValueError, match="choose one that is trained"):
        RegularisedPPO(env=games, **(SMALL | {"encoder": "small+frozen"}))
    with pytest.raises(ValueError, match="weight"):
        RegularisedPPO(env=games, weight=-1.0, **SMALL)


def run(**others: object) -> RunSettings:
    usual = {"options": ProcgenOptions("bossfight", num_levels=200), "view": "pixels", "learning": "rl", "seed": 0}
    hyper = Hyperparameters(num_envs=4, rollout_steps=8, minibatches=2)
    return RunSettings(**(usual | {"steps": 64, "evaluation": Evaluation((0, 64)), "hyperparameters": hyper} | others))  # type: ignore[arg-type]


def test_a_run_without_improvement_keeps_its_identity() -> None:
    assert "improvement" not in run().as_dict()
    improved = run(improvement="augment-crop")
    assert improved.identity != run().identity
    assert RunSettings.from_dict(improved.as_dict()) == improved


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"improvement": "no-such"}, "choose one of augment-crop"),
        ({"improvement": "shorter-credit"}, "other settings of a run"),
        ({"improvement": "augment-crop", "learning": "imitation", "teacher": "its checksum"}, "of the learner 'rl'"),
        ({"improvement": "augment-crop", "harmonizer": 1.0}, "without the harmonizer"),
        ({"improvement": "augment-crop", "view": "semantic"}, "from frames, not from semantic"),
        ({"improvement": "curious", "view": "semantic"}, "from frames, not from semantic"),
        *(
            ({"improvement": name, "options": SEQUENTIAL}, "and coinrun draws them itself: choose another game")
            for name in ("replayed-levels", "curriculum")
        ),
    ],
)
def test_an_improvement_that_does_not_fit_is_refused(others: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(**others)


@pytest.mark.parametrize("name", ["phasic", "decoupled", "curious"])
def test_learners_that_train_the_encoder_are_planned_with_no_frozen_one(name: str) -> None:
    with pytest.raises(ValueError, match=r"trains the encoder, and 'nature\+frozen' is frozen: choose another"):
        run(improvement=name, encoder="nature+frozen")


def test_a_short_policy_phase_costs_as_much_a_step(games: VecEnv) -> None:
    def work(rollout: int, share: float | None) -> float:
        model = PhasicPPO("EncoderPolicy", games, **(SMALL | {"n_steps": rollout}), memory=1024)
        if share is not None:
            model.shorten(share)
        return model.remembered_of_each * model.auxiliary_epochs / (rollout * games.num_envs)

    assert work(16, 16 / 64) == pytest.approx(work(64, None))


def test_the_registry_says_what_each_is_for() -> None:
    for kind in ("perceptual", "policy"):
        assert sum(each.kind == kind for each in IMPROVEMENTS.values()) >= 2
    for name, improvement in IMPROVEMENTS.items():
        assert get_improvement(name) is improvement
        changes = (improvement.learner, improvement.hyperparameters, improvement.harmonizer, improvement.encoder)
        assert sum(bool(each) for each in changes) == 1, name
        Hyperparameters(**improvement.hyperparameters)
        assert improvement.summary
        assert improvement.source


def test_improvements_are_also_named_as_their_sources_name_them() -> None:
    known = {"PPG": "phasic", "daac": "decoupled", "rad-crop": "augment-crop", "DrAC-colour": "invariant-colour"}
    for published, name in known.items():
        assert import_improvement(published) == import_improvement(name) == name
        assert Hypothesis("policy", published).gain == name
    assert len(set(PUBLISHED_NAMES.values())) == len(PUBLISHED_NAMES)
    assert not set(PUBLISHED_NAMES) & set(IMPROVEMENTS)
    with pytest.raises(ValueError, match=r"phasic.*ppg"):
        get_improvement("ppq")


@pytest.mark.parametrize("name", ["phasic", "decoupled", "replayed-levels", "curriculum"])
def test_policy_improvements_learn_from_label_maps_as_well(name: str) -> None:
    assert run(improvement=name, view="semantic").improvement == name
