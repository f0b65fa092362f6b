"""Agents: PPO and imitation on one policy with swappable visual encoders."""

import envs as _envs  # first: it keeps the old gym's notice, which SB3 would provoke, from the user's terminal
from agents.egocentric import Egocentric
from agents.encoders import ENCODERS, Encoder, Impala, Impoola, Nature, parse_encoder, register_encoder
from agents.evaluation import Episodes, evaluate
from agents.imitation import DAgger, TaughtVecEnv, Teacher
from agents.policy import EncoderPolicy
from agents.policy_file import PolicyFileError, load_policy, save_policy
from agents.ppo import PPO, TrainingDiverged

__all__ = [
    "ENCODERS",
    "PPO",
    "DAgger",
    "Egocentric",
    "Encoder",
    "EncoderPolicy",
    "Episodes",
    "Impala",
    "Impoola",
    "Nature",
    "PolicyFileError",
    "TaughtVecEnv",
    "Teacher",
    "TrainingDiverged",
    "evaluate",
    "load_policy",
    "parse_encoder",
    "register_encoder",
    "save_policy",
]

del _envs
