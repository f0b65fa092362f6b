"""Pretraining on a game's own frames: cases whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import lcd
from gymnasium import spaces
from torch import nn
from wandering_square import wandering_square

from lcd.agents import EncoderPolicy, load_policy, save_policy
from lcd.agents.encoders.weights import read_card
from lcd.envs import ProcgenOptions
from lcd.envs.family import policy_spaces
from lcd.envs.procgen.actions import action_classes
from lcd.pretraining.frames import GameFrames, Transitions, collect_frames
from lcd.pretraining.objectives import OBJECTIVES, Segmentation, slow_loss, slowness
from lcd.pretraining.pretraining import Pretraining, pretrain, pretrain_on_frames
from lcd.studies.pretraining import default_file
from lcd.studies.replay import record

pytestmark = pytest.mark.costly()

ACTIONS = spaces.Discrete(15)
SMALL = {"architecture": "small", "frames": 4_096, "epochs": 3, "batch_size": 128, "learning_rate": 2e-3}

FRAMES = policy_spaces(ProcgenOptions("maze"), "pixels")[0]


@pytest.fixture(scope="module")
def frames():
    return collect_frames(ProcgenOptions("coinrun", num_levels=200), 2_000, num_envs=16)


def test_frames_follow_each_other_within_episodes(frames):
    assert frames.frames.shape[1:] == (16, 64, 64, 3)
    assert len(frames.frames) == len(frames.actions) + 1
    whole = Transitions(*(torch.cat(parts) for parts in zip(*frames.batches(50, 0), strict=True)))
    assert len(whole.frames) == len(frames) // 50 * 50
    before = whole.frames.movedim(1, -1).numpy()
    after = whole.next_frames.movedim(1, -1).numpy()
    places = list(zip(*np.nonzero(frames.goes_on), strict=True))
    steps = [frames.frames[time : time + 2, game].tobytes() for time, game in places]
    where = {step: place for step, place in zip(steps, places, strict=True) if steps.count(step) == 1}
    found = [where.get(one.tobytes() + other.tobytes()) for one, other in zip(before, after, strict=True)]
    known = [row for row, place in enumerate(found) if place is not None]
    assert len(known) > 100
    for row in known:
        assert whole.actions[row] == frames.actions[found[row]]
        assert np.array_equal(whole.labels[row].numpy(), frames.labels[found[row]])


def test_ends_of_episodes_are_no_steps():
    crossings = collect_frames(ProcgenOptions("leaper"), 3_200, num_envs=16)
    assert len(crossings) == crossings.goes_on.sum() < crossings.actions.size
    again = collect_frames(ProcgenOptions("leaper"), 3_200, num_envs=16)
    assert np.array_equal(crossings.frames, again.frames)


def test_a_trained_agent_may_play():
    policy = EncoderPolicy(FRAMES, ACTIONS, lambda _: 0.0, "small")
    nn.init.zeros_(policy.action_net.weight)
    with torch.no_grad():
        policy.action_net.bias.copy_(torch.tensor([-50.0] * 14 + [50.0]))
    played = collect_frames(ProcgenOptions("maze"), 64, policy=policy, num_envs=8)
    assert (played.actions == 14).all()


def test_constant_and_repeated_features_are_not_slow():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 400, 4, generator=generator)
    assert slowness(*noise) == pytest.approx(1, abs=0.1)
    for many in (40, 64, 256):  # of 32 features, however few frames there are
        assert slowness(*torch.randn(2, many, 32, generator=generator)) == pytest.approx(1, abs=0.05)
    assert slowness(torch.ones(400, 4), torch.ones(400, 4)) == 1
    assert slowness(noise[0], noise[0]) == 0
    assert slowness(noise[0, :, :1].expand(-1, 4), noise[0, :, :1].expand(-1, 4)) == pytest.approx(0.75)


def test_slow_features_recover_a_known_slow_source():
    """Sources that change at different speeds, mixed: the slowest comes back, up to its sign."""
    random = np.random.default_rng(0)
    time = np.arange(6_000)
    slow = np.sin(time / 60)
    fast = np.stack([np.sin(time / 3), random.standard_normal(6_000), np.sign(np.sin(time / 2))])
    mixing = random.standard_normal((12, 4))
    mixed = torch.tensor((mixing @ np.vstack([slow, fast])).T, dtype=torch.float32)
    mixed = (mixed - mixed.mean(0)) / mixed.std(0)
    torch.manual_seed(0)
    head = nn.Linear(12, 1)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(800):
        optimizer.zero_grad()
        found = head(mixed)
        slow_loss(found[:-1], found[1:], penalty=5.0).backward()
        optimizer.step()
    found = head(mixed).detach().numpy()[:, 0]
    assert abs(np.corrcoef(found, slow)[0, 1]) > 0.99
    assert found.var() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("name", "world", "batch_size", "least", "most"),
    [
        ("autoencoding", {"size": 16, "steps": 32, "anywhere": False}, 16, 0.0, 0.05),  # of what one makes who is blind
        ("segmentation", {"size": 16, "steps": 32, "anywhere": False}, 16, 0.99, 1.0),
        ("inverse-dynamics", {"size": 8}, 64, 0.95, 1.0),
        ("inverse-dynamics", {"size": 8, "obedient": False}, 64, 0.2, 0.3),  # one in four
        ("predictive-coding", {"size": 8}, 64, 0.75, 1.0),  # some of a batch come to lie alike
        ("predictive-coding", {"size": 8, "obedient": False}, 64, 0.0, 0.035),  # one in a batch is 0.016
    ],
)
def test_what_a_square_does_is_learned_as_well_as_it_can_be_known(name, world, batch_size, least, most):
    frames, others = (wandering_square(seed=seed, **world) for seed in (0, 1))
    settings = Pretraining(name, "small", epochs=8, batch_size=batch_size, learning_rate=5e-3)
    _, found = pretrain_on_frames(frames, others, ((0,), (1,), (2,), (3,)), settings)
    score = found["score"] / (found["chance"] if name == "autoencoding" else 1)
    assert least <= score <= most


FOUR = ((0,), (1,), (2,), (3,))


@pytest.mark.parametrize("architecture", ["nature", "small", "impala:4,8"])
@pytest.mark.parametrize("side", [48, 128])
def test_an_encoder_is_made_for_the_size_of_its_frames(architecture, side):
    """An encoder made for Procgen's size would use only the upper left corner of larger frames."""
    settings = Pretraining("slow-features", architecture, epochs=1, batch_size=16)
    plain = GameFrames(
        np.zeros((3, 8, side, side, 3), np.uint8), None, np.zeros((2, 8), np.int64), np.ones((2, 8), np.bool_)
    )
    encoder, _ = pretrain_on_frames(plain, plain, FOUR, settings)
    assert encoder._observation_space.shape == (3, side, side)
    black, corner = torch.zeros(1, 3, side, side, dtype=torch.uint8), torch.zeros(1, 3, side, side, dtype=torch.uint8)
    corner[..., side - 12 :, side - 12 :] = 255
    assert not torch.equal(encoder.encode(black), encoder.encode(corner))
    with pytest.raises(ValueError, match=f"made for images of {side} x {side} pixels, and these have 64 x 64"):
        encoder.encode(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "segmentation"])
def test_frames_without_labels_will_do_where_labels_are_not_learned(name):
    labelled = wandering_square(16, steps=8)
    settings = Pretraining(name, "small", epochs=1, batch_size=16)
    cards = [pretrain_on_frames(each, each, FOUR, settings)[1] for each in (labelled, replace(labelled, labels=None))]
    assert cards[0] == cards[1]


def test_frames_that_nothing_can_be_learned_from_are_one_clear_sentence():
    whole = wandering_square(16, steps=8)
    settings = Pretraining("segmentation", "small", epochs=1, batch_size=16)
    for given, others, asked, sentence in (
        (replace(whole, labels=None), whole, settings, "the training frames have none"),
        (whole, replace(whole, labels=None), settings, "the evaluation frames have none"),
        (whole, wandering_square(16, steps=8, side=48), settings, "not 64 x 64 x 3 and 48 x 48 x 3"),
        (whole, replace(whole, goes_on=whole.goes_on & False), settings, "0 steps within episodes for evaluation"),
        (whole, whole, replace(settings, batch_size=200), "128 steps within episodes for training do not fill"),
        (replace(whole, actions=whole.actions + 1), whole, settings, "The action 4 is in no class"),
    ):
        with pytest.raises(ValueError, match=sentence):
            pretrain_on_frames(given, others, FOUR, asked)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames": np.zeros((9, 16, 64, 64, 3))}, "Frames are bytes of shape"),
        ({"frames": np.zeros((9, 16, 64, 64), np.uint8)}, "Frames are bytes of shape"),
        ({"labels": np.zeros((8, 16, 64, 64), np.uint8)}, "labels are bytes of shape"),
        ({"labels": np.full((9, 16, 64, 64), 65, np.uint8)}, "A label is at most 64, not 65"),
        ({"actions": np.zeros((9, 16), np.int64)}, "actions are whole numbers of shape"),
        ({"actions": np.zeros((8, 16))}, "actions are whole numbers"),
        ({"goes_on": np.ones((8, 16), np.int64)}, "goes_on are truth values"),
    ],
)
def test_arrays_that_are_no_frames_are_one_clear_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(wandering_square(16, steps=8), **change)


def test_an_agent_that_cannot_play_procgen_is_one_clear_sentence():
    large, other = spaces.Box(0, 255, (3, 84, 84), np.uint8), spaces.Discrete(4)
    for space, actions in ((large, ACTIONS), (FRAMES, other)):
        policy = EncoderPolicy(space, actions, lambda _: 0.0, "nature")
        for play in (
            lambda policy: collect_frames(ProcgenOptions("maze"), 64, policy=policy, num_envs=8),
            lambda policy: record(policy, ProcgenOptions("maze")),
        ):
            with pytest.raises(ValueError, match="give one trained on that game"):
                play(policy)


def test_actions_that_do_the_same_are_one():
    classes = action_classes("maze")
    objective = OBJECTIVES["inverse-dynamics"](8, classes)
    assert objective.num_classes == len(classes)
    still = np.array([[4, 4, 4, 2]])  # to stand still, three times of four
    frames = GameFrames(np.zeros((2, 4, 8, 8, 3), np.uint8), np.zeros((2, 4, 8, 8), np.uint8), still, still > 0)
    assert objective.chance(frames, frames, 2) == 0.75


def test_chance_is_the_best_score_without_looking_at_the_frame():
    """Frames of two kinds, by turns: their mean is half off; and a label that is present in one of four frames."""
    frames, labels = np.zeros((9, 1, 64, 64, 3), np.uint8), np.zeros((9, 1, 64, 64), np.uint8)
    frames[::2] = 255
    labels[:, :, :32] = 5
    labels[1::4, :, :32, :32] = 7
    made = GameFrames(frames, labels, np.zeros((8, 1), np.int64), np.ones((8, 1), np.bool_))
    assert OBJECTIVES["autoencoding"](8, ((0,),)).chance(made, made, 4) == pytest.approx(0.25)
    chance = OBJECTIVES["segmentation"](8, ((0,),)).chance(made, made, 8)
    assert chance == pytest.approx(0.5 * (1 + (7 / 8)))


def test_segmentation_never_loses_a_small_thing():
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[0, 11, 21] = 7
    small = Segmentation(8, ((0,),))._labels(Transitions(*(torch.zeros(1),) * 3, labels))
    assert small.shape == (1, 32, 32)
    assert small[0, 5, 10] == 7


def test_segmentation_keeps_the_player_beside_larger_things_of_higher_labels():
    labels = torch.full((2, 64, 64), 52, dtype=torch.uint8)
    labels[0, 11, 21] = 1
    labels[1, 30:32, 30:32] = 0
    small = Segmentation(8, ((0,),))._labels(Transitions(*(torch.zeros(1),) * 3, labels))
    assert (small[0] == 1).nonzero().tolist() == [[5, 10]]
    assert (small[1] == 0).nonzero().tolist() == [[15, 15]]
    assert sorted(small.unique().tolist()) == [0, 1, 52]


def test_the_same_seed_gives_the_same_encoder():
    settings = Pretraining("autoencoding", **(SMALL | {"frames": 2_048, "epochs": 1}))
    one, other = (pretrain(ProcgenOptions("maze"), settings) for _ in range(2))
    assert one.card == other.card
    assert all(map(torch.equal, one.encoder.backbone.parameters(), other.encoder.backbone.parameters()))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"objective": "sleeping"}, "Unknown objective 'sleeping'"),
        ({"frames": 10}, "frames must be at least 2,048, not 10"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"architecture": "resnet"}, "Unknown encoder 'resnet'"),
    ],
)
def test_impossible_settings_are_one_clear_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Pretraining(**({"objective": "autoencoding"} | settings))


def test_the_command_writes_an_encoder_that_a_policy_takes(tmp_path):
    arguments = [
        "pretrain",
        "maze",
        "--objective",
        "autoencoding",
        "--frames",
        "2048",
        "--epochs",
        "1",
        "--encoder",
        "small",
    ]
    done = lcd(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "encoders" / "maze-autoencoding-small-2048frames-1epochs.safetensors"
    assert f"encoders/{file.name}" in done.stdout
    assert read_card(file)["objective"] == "autoencoding"
    policy = EncoderPolicy(FRAMES, ACTIONS, lambda _: 0.0, f"small@{file}")
    save_policy(policy, tmp_path / "policy.safetensors", {})
    assert load_policy(tmp_path / "policy.safetensors")[0].is_frozen
    with_agent = lcd(*arguments, "--agent", "policy.safetensors", "--out", "encoder.safetensors", cwd=tmp_path)
    assert with_agent.returncode == 0, with_agent.stderr
    assert read_card(tmp_path / "encoder.safetensors")["seen_by"] == "a trained agent"
    wrong = lcd("pretrain", "maze", "--objective", "sleeping", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_default_files_of_different_settings_have_different_names(tmp_path):
    agents = [tmp_path / "one" / "policy.safetensors", tmp_path / "other" / "policy.safetensors"]
    for agent in agents:
        agent.parent.mkdir()
        agent.write_text(agent.parent.name)
    maze, usual = ProcgenOptions("maze"), Pretraining("slow-features")
    changes = {"architecture": "small", "frames": 4_096, "epochs": 3, "num_levels": 100, "seed": 1}
    files = [
        default_file(maze, usual, None),
        default_file(ProcgenOptions("maze", "hard"), usual, None),
        *(default_file(maze, replace(usual, **{name: value}), None) for name, value in changes.items()),
        *(default_file(maze, usual, agent) for agent in agents),
    ]
    assert files[0].as_posix() == "encoders/maze-slow-features.safetensors"
    assert len(set(files)) == len(files)


def test_a_small_set_makes_no_batch_of_its_rest():
    images, labels = np.zeros((4, 2, 8, 8, 3), np.uint8), np.zeros((4, 2, 8, 8), np.uint8)
    frames = GameFrames(images, labels, np.zeros((3, 2), np.int64), np.ones((3, 2), bool))
    assert [len(batch.frames) for batch in frames.batches(4, 0)] == [4]
