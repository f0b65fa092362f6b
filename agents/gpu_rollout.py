"""Collecting a rollout without waiting for the GPU more often than the games do.

Stable-Baselines3's loop moves every frame to the device twice, launches a network's kernels one by one and reads three
results back at each step. This one does the same steps in the same order with one transfer there, one launch and one
transfer back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from lcd.agents.acting import Actor, Frames
from lcd.agents.rollout import ByteRolloutBuffer, channels_first

if TYPE_CHECKING:
    from lcd.agents.ppo import PPO


def collect(
    learner: PPO, actor: Actor, env: VecEnv, callback: BaseCallback, rollout_buffer: ByteRolloutBuffer, steps: int
) -> bool:
    """Collect a rollout as Stable-Baselines3 does, for a policy over a number of actions.

    Parameters
    ----------
    learner
        Whose rollout it is.
    actor
        Draws its policy's actions.
    env, callback, rollout_buffer, steps
        As in ``OnPolicyAlgorithm.collect_rollouts``. A callback finds the same names in its ``locals``.

    Returns
    -------
    bool
        False if the callback ended the training.
    """
    observations = learner._last_obs
    assert isinstance(observations, np.ndarray)
    learner.policy.set_training_mode(False)
    rollout_buffer.reset()
    callback.on_rollout_start()
    frames = Frames(learner.device)
    names: dict[str, Any] = {"self": learner, "env": env, "callback": callback, "rollout_buffer": rollout_buffer}
    for number in range(steps):
        stored = frames.moved(observations)
        chosen, values, log_probs = actor(stored)
        actions = chosen.cpu().numpy()  # the one wait of a step
        new_obs, rewards, dones, infos = env.step(actions)
        assert isinstance(new_obs, np.ndarray)
        learner.num_timesteps += env.num_envs
        names |= {
            "n_rollout_steps": steps,
            "n_steps": number,
            "obs_tensor": channels_first(stored),
            "actions": actions,
            "clipped_actions": actions,
            "values": values,
            "log_probs": log_probs,
            "new_obs": new_obs,
            "rewards": rewards,
            "dones": dones,
            "infos": infos,
        }
        callback.update_locals(names)
        if not callback.on_step():
            return False
        learner._update_info_buffer(infos, dones)
        _value_what_was_cut_off(learner, rewards, dones, infos)
        rollout_buffer.add(
            channels_first(stored),
            actions,
            rewards,
            learner._last_episode_starts,  # type: ignore[arg-type]
            values,
            log_probs,
        )
        learner._last_obs = observations = new_obs
        learner._last_episode_starts = dones
    with torch.no_grad():
        last_values = learner.policy.predict_values(channels_first(frames.moved(observations)))
    rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)
    callback.update_locals(names | {"n_steps": steps, "actions": actions[:, None], "values": last_values})
    callback.on_rollout_end()
    return True


def _value_what_was_cut_off(learner: PPO, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
    """Add, in place, the value of the state in which an episode was cut off for its length to its last reward."""
    for index in np.flatnonzero(dones).tolist():
        last = infos[index].get("terminal_observation")
        if last is None or not infos[index].get("TimeLimit.truncated", False):
            continue
        observation, _ = learner.policy.obs_to_tensor(last)
        with torch.no_grad():
            value = learner.policy.predict_values(observation)[0]
        rewards[index] += (learner.gamma * value).item()
