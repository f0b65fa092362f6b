"""Agents: PPO and imitation on one policy with swappable visual encoders."""

import envs as _envs  # first: it keeps the old gym's notice, which SB3 would provoke, from the user's terminal
from agents.encoders import ENCODERS, Encoder, Impala, Impoola, Nature, parse_encoder, register_encoder
from agents.evaluation import Episodes, evaluate
from agents.imitation import DAgger, TaughtVecEnv
from agents.policy import EncoderPolicy
from agents.ppo import PPO, TrainingDiverged
from agents.teacher import Teacher, TeacherFileError, load_teacher, save_teacher

__all__ = [
    "ENCODERS",
    "PPO",
    "DAgger",
    "Encoder",
    "EncoderPolicy",
    "Episodes",
    "Impala",
    "Impoola",
    "Nature",
    "TaughtVecEnv",
    "Teacher",
    "TeacherFileError",
    "TrainingDiverged",
    "evaluate",
    "load_teacher",
    "parse_encoder",
    "register_encoder",
    "save_teacher",
]

del _envs
