"""PPO: equal to Stable-Baselines3's in float32, whatever the size of its parts, with everything SB3's users know."""

from __future__ import annotations

import time

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize, VecTransposeImage
from toy_games import ColourGame

from lcd.agents import PPO, EncoderPolicy, TrainingDiverged, evaluate, save_policy
from lcd.agents.parallel import single_threaded
from lcd.envs import NumberedActions

pytestmark = pytest.mark.costly()

EXACT = {"mixed_precision": False}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ppo(env, **kwargs):
    defaults = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "device": "cpu", "seed": 0, "policy_kwargs": EXACT}
    return PPO(env=env, **(defaults | kwargs))


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


def optimiser_steps(model, timesteps):
    steps = []
    hook = model.policy.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    model.learn(timesteps)
    hook.remove()
    return len(steps)


def peers(num_envs=1, **settings):
    """lcd.agents.PPO and Stable-Baselines3's on the same game with the same weights and settings."""
    settings = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"} | settings
    settings |= {"learning_rate": 1e-3, "gamma": 0.99, "gae_lambda": 0.9, "ent_coef": 0.02}
    ours = PPO(env=ColourGame(num_envs), policy_kwargs=EXACT, **settings)
    theirs = stable_baselines3.PPO("CnnPolicy", ColourGame(num_envs), **settings)
    with torch.no_grad():
        for mine, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
            other.copy_(mine)
    return ours, theirs


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size of 12")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip_range_vf": 0.05},
        {"normalize_advantage": False, "vf_coef": 1.0},
        {"batch_size": 12},  # leaves a smaller last minibatch
        {"micro_batch_size": 5},
        {"max_grad_norm": 0.01},
        {"num_envs": 4, "batch_size": 128},  # one minibatch, for the two buffers order their rows differently
    ],
    ids=lambda settings: ",".join(settings) or "defaults",
)
def test_an_update_in_float32_is_that_of_stable_baselines3(settings):
    settings = dict(settings)
    part = settings.pop("micro_batch_size", None)
    ours, theirs = peers(**settings)
    ours.micro_batch_size = part
    before, moved = weights(ours), []
    for model in (ours, theirs):
        model.set_random_seed(1)  # the two drew different numbers to initialise their weights
        model.learn(32 * model.n_envs)
        moved.append(weights(model) - before)
    for name in ("rewards", "values", "log_probs", "advantages", "returns"):
        rows = [getattr(model.rollout_buffer, name) for model in (ours, theirs)]
        # Stable-Baselines3 has flattened some of its columns, environment after environment, to draw from them
        theirs_by_step = rows[1] if rows[1].shape == rows[0].shape else rows[1].reshape(model.n_envs, -1).T
        assert np.allclose(rows[0], theirs_by_step, atol=1e-5), name
    assert float(moved[0].norm()) > 1e-3
    assert float((moved[0] - moved[1]).norm() / moved[1].norm()) < 0.01


def test_parts_of_a_minibatch_give_the_gradient_of_the_whole():
    model = ppo(ColourGame(4), batch_size=64, n_epochs=1)
    model.learn(64)
    batch = next(iter(model._minibatches()))
    gradients = []
    for size in (64, 10, 1):
        model.micro_batch_size = size
        model._gradient(batch, 0.2)
        gradients.append(torch.cat([p.grad.flatten() for p in model.policy.parameters()]))
    assert float(gradients[0].norm()) > 1e-4
    for gradient in gradients[1:]:
        assert torch.allclose(gradient, gradients[0], atol=1e-6, rtol=1e-4)


def test_threads_in_parallel_repeat_the_gradient_of_one(three_threads):
    model = ppo(ColourGame(4), batch_size=64, n_epochs=1)
    model.learn(64)
    batch = next(iter(model._minibatches()))
    gradients = []
    for threads in (1, 3, 3):
        torch.set_num_threads(threads)
        with single_threaded():
            model._gradient(batch, 0.2)
        gradients.append(torch.cat([p.grad.flatten() for p in model.policy.parameters()]))
        assert torch.get_num_threads() == threads
    assert torch.equal(gradients[1], gradients[2])
    assert torch.allclose(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)


class Remembering(torch.nn.Module):
    """A backbone that keeps its input, as a hook on a layer does, and notices when another thread replaced it."""

    def forward(self, images):
        self.kept = images
        time.sleep(0.005)  # long enough for another thread to pass
        assert self.kept is images
        return images.flatten(1)[:, ::7]


@pytest.mark.parametrize("kind", ["stable_baselines3", "module"])
def test_a_module_that_may_keep_state_is_called_by_one_thread_at_a_time(three_threads, kind):
    learner = {"encoder": Remembering(), "policy_kwargs": {}} if kind == "module" else {"policy_kwargs": {}}
    policy = "EncoderPolicy" if kind == "module" else ActorCriticCnnPolicy
    model = ppo(ColourGame(4), policy=policy, batch_size=64, n_epochs=4, **learner)
    model.learn(128)
    assert model._n_updates == 8


@pytest.mark.parametrize("name", ["features_extractor_class", "features_extractor_kwargs"])
def test_an_encoder_is_asked_for_in_one_way(name):
    with pytest.raises(ValueError, match=f"as encoder=.*not as {name}="):
        ppo(ColourGame(4), policy_kwargs={name: {}})


def test_mixed_precision_changes_little():
    model = ppo(ColourGame(4))
    observations = model.policy.obs_to_tensor(model.env.reset())[0]
    with torch.no_grad():
        exact = model.policy.log_probabilities(observations)
        model.policy.mixed_precision = True
        mixed = model.policy.log_probabilities(observations)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, exact, atol=1e-3)


@pytest.mark.parametrize(("encoder", "rate"), [("nature", 1e-3), ("impoola:4,8", 2e-3)])
@pytest.mark.parametrize("view", ["pixels", "semantic"])
def test_it_learns_to_name_the_colour(encoder, rate, view):
    env = VecMonitor(ColourGame(8, view))
    model = ppo(env, encoder=encoder, n_steps=32, batch_size=64, gamma=0.5, learning_rate=rate, policy_kwargs={})
    model.learn(8 * 32 * 8)
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > 4  # of 5; chance is 1.25


def test_saved_and_loaded_it_predicts_the_same_and_trains_on(tmp_path):
    env = ColourGame(4)
    model = ppo(env, encoder="impoola:4,8", micro_batch_size=7).learn(64)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=env, device="cpu")
    assert torch.equal(weights(loaded), weights(model))
    assert (loaded.micro_batch_size, loaded.policy.encoder_name) == (7, "impoola:4,8")
    observations = env.reset()
    assert np.array_equal(
        loaded.predict(observations, deterministic=True)[0], model.predict(observations, deterministic=True)[0]
    )
    moved = []
    for one in (model, loaded):
        one.set_env(env)  # both begin new episodes
        one.set_random_seed(3)
        one.learn(64, reset_num_timesteps=False)
        assert one.num_timesteps == 128
        moved.append(weights(one))
    assert torch.equal(*moved)  # the optimiser's moments came along


def test_a_policy_alone_saves_and_loads_as_stable_baselines3s(tmp_path):
    model = ppo(ColourGame(2), encoder="impala:4").learn(32)
    model.policy.save(tmp_path / "policy")
    policy = EncoderPolicy.load(tmp_path / "policy", device="cpu")
    assert policy.encoder_name == "impala:4"
    observations = model.policy.obs_to_tensor(model.env.reset())[0]
    with torch.no_grad():
        assert torch.equal(policy.log_probabilities(observations), model.policy.log_probabilities(observations))


def test_callbacks_are_called_and_can_stop_it(tmp_path):
    class Count(BaseCallback):
        def __init__(self):
            super().__init__()
            self.calls = {"start": 0, "step": 0, "rollout": 0, "end": 0}

        def _on_training_start(self):
            self.calls["start"] += 1

        def _on_step(self):
            self.calls["step"] += 1
            assert len(self.locals["rewards"]) == 4
            return self.num_timesteps < 160

        def _on_rollout_end(self):
            self.calls["rollout"] += 1

        def _on_training_end(self):
            self.calls["end"] += 1

    count = Count()
    model = ppo(ColourGame(4)).learn(10_000, callback=[count, CheckpointCallback(16, str(tmp_path))])
    assert count.calls == {"start": 1, "step": 40, "rollout": 2, "end": 1}
    assert model.num_timesteps == 160
    assert len(list(tmp_path.glob("*.zip"))) == 2


def test_it_logs_to_csv_and_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    model = ppo(VecMonitor(ColourGame(4)), clip_range_vf=0.2)
    model.set_logger(configure(str(tmp_path), ["csv", "tensorboard"]))
    model.learn(3 * 64)
    table = pd.read_csv(tmp_path / "progress.csv")
    assert table["time/total_timesteps"].tolist() == [64, 128, 192]
    peer = stable_baselines3.PPO("CnnPolicy", VecMonitor(ColourGame(4)), n_steps=16, batch_size=16, clip_range_vf=0.2)
    (tmp_path / "peer").mkdir()
    peer.set_logger(configure(str(tmp_path / "peer"), ["csv"]))
    peer.learn(2 * 64)
    assert set(pd.read_csv(tmp_path / "peer" / "progress.csv").columns) <= set(table.columns)
    assert np.isfinite(table.filter(like="train/").to_numpy()[1:]).all()  # SB3 writes a row before its update
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (
        weights(ppo(VecNormalize(ColourGame(4), norm_obs=False), seed=seed, policy_kwargs={}).learn(192))
        for seed in (5, 5, 6)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("policy", "moves"), [("EncoderPolicy", False), ("CnnPolicy", True)])
def test_before_the_first_reward_a_policy_learns_nothing_from_its_first_values(policy, moves):
    model = ppo(ColourGame(4, rewards=0), policy=policy, ent_coef=0.0, policy_kwargs={})
    before = weights(model)
    assert torch.equal(weights(model.learn(192)), before) is not moves


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_that_are_no_numbers_stop_it_with_one_sentence(reward):
    model = ppo(ColourGame(4, rewards=reward))
    before = weights(model)
    with pytest.raises(TrainingDiverged, match=r"^Training diverged after 64 steps[^\n]*$"):
        model.learn(1000)
    assert torch.equal(weights(model), before)  # no value that is not finite reached them


def test_weights_that_explode_stop_it():
    model = ppo(ColourGame(4), learning_rate=1e30)
    with pytest.raises(TrainingDiverged):
        model.learn(1000)


@pytest.mark.parametrize("target_kl", [None, 1e-4, 10.0])
def test_target_kl_stops_where_stable_baselines3_stops(target_kl):
    ours, theirs = peers(target_kl=target_kl)
    steps = []
    for model in (ours, theirs):
        model.set_random_seed(1)
        steps.append(optimiser_steps(model, 32))
    assert steps[0] == steps[1] == (1 if target_kl == 1e-4 else 4)
    assert ours._n_updates == theirs._n_updates


def test_an_episode_cut_off_is_valued_by_its_last_observation():
    games = [ColourGame(2, lengths=[3, 5], rewards=0.0, truncates=truncates) for truncates in (True, False)]
    cut, ended = (ppo(game, n_steps=6, batch_size=12, learning_rate=0.0, gamma=0.9) for game in games)
    for model in (cut, ended):
        torch.nn.init.normal_(model.policy.value_net.weight)
        model.learn(12)
    expected = np.zeros((6, 2), np.float32)
    assert [(step, index) for step, index, _ in games[0].finals] == [(2, 0), (4, 1), (5, 0)]
    for step, index, final in games[0].finals:
        with torch.no_grad():
            expected[step, index] = 0.9 * cut.policy.predict_values(cut.policy.obs_to_tensor(final)[0])
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(cut.rollout_buffer.rewards, expected, atol=1e-6)
    assert (ended.rollout_buffer.rewards == 0).all()


def test_stable_baselines3s_own_policy_class_can_be_given():
    model = PPO(ActorCriticCnnPolicy, ColourGame(2), n_steps=4, batch_size=8, device="cpu", seed=0)
    before = weights(model)
    assert not torch.equal(weights(model.learn(8)), before)


def test_what_it_cannot_learn_is_refused_in_a_sentence():
    game = ColourGame(2)
    game.action_space = spaces.Box(-1, 1, (2,))
    with pytest.raises(ValueError, match="not Discrete"):
        ppo(game)
    with pytest.raises(ValueError, match="not a Box"):
        ppo(ColourGame(2, "both"))
    with pytest.raises(ValueError, match="share_features_extractor"):
        ppo(ColourGame(2), policy_kwargs={"share_features_extractor": False})
    with pytest.raises(ValueError, match="Unknown encoder"):
        ppo(ColourGame(2), encoder="vgg")


@pytest.mark.parametrize("policy", ["CnnPolicy", ActorCriticCnnPolicy])
def test_stable_baselines3s_own_network_learns_from_stacked_grey_frames(policy):
    class Grey(ColourGame):
        def __init__(self):
            super().__init__(2)
            self.observation_space = spaces.Box(0, 255, (36, 36, 4), np.uint8)

        def _observe(self, colours):
            return np.concatenate([super()._observe(colours)] * 2, axis=-1)[..., :4]

    model = PPO(policy, Grey(), n_steps=8, batch_size=16, n_epochs=1, device="cpu", seed=0)
    before = weights(model)
    assert not torch.equal(weights(model.learn(16)), before)
    assert model.policy.observation_space.shape == (4, 36, 36)
    with pytest.raises(ValueError, match=r"brings its own network: leave encoder= out"):
        PPO(policy, ColourGame(2), encoder="nature")


ARM = np.array([(-1, -1), (0, 1), (1, 0)], np.float32)
"""The continuous action that each colour asks for."""


class Arm(gym.Env):
    """The colour of the frame says which of nine positions of an arm pays."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def frame(self):
        self.colour = int(self.np_random.integers(3))
        return np.full((36, 36, 3), np.eye(3, dtype=np.uint8)[self.colour] * 255, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.frame(), {}

    def step(self, action):
        self.steps += 1
        reward = float(np.allclose(action, ARM[self.colour]))
        return self.frame(), reward, self.steps >= 8, False, {}


def test_normalised_observations_and_continuous_actions_are_learned():
    env = VecNormalize(VecTransposeImage(DummyVecEnv([lambda: NumberedActions(Arm())] * 8)))
    model = ppo(env, encoder="nature:32", n_steps=32, batch_size=64, n_epochs=4, learning_rate=2e-3)
    model.learn(32 * 8 * 12)
    assert evaluate(model.policy, env, 4).returns.mean() > 4  # of 8, and a ninth of it by chance


def test_arguments_of_an_encoder_are_kept_by_what_is_saved_or_refused(tmp_path):
    given = {"encoder": "nature", "encoder_arguments": {"features_dim": 64}}
    model = PPO(env=ColourGame(4), policy_kwargs=given, n_steps=16, batch_size=32, device="cpu")
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert torch.equal(weights(loaded), weights(model))
    model.policy.save(tmp_path / "policy.pt")
    assert EncoderPolicy.load(tmp_path / "policy.pt").features_dim == 64
    with pytest.raises(ValueError, match=r"cannot hold its encoder_arguments features_dim: give what the name takes"):
        save_policy(model.policy, tmp_path / "policy.safetensors", {})
    assert not (tmp_path / "policy.safetensors").exists()


def test_what_suits_an_encoder_and_a_device_is_no_setting_of_a_model(tmp_path):
    ppo(ColourGame(4)).save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert loaded.micro_batch_size is None
    assert loaded.part_size == loaded.policy.features_extractor.images_at_once


def test_actions_that_are_not_numbered_from_0_are_refused():
    class Later(ColourGame):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.action_space = spaces.Discrete(int(self.action_space.n), start=1)

    with pytest.raises(ValueError, match=r"numbered from 0, not Discrete.*NumberedActions"):
        ppo(Later(4))
