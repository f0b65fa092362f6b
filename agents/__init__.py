"""Agents: PPO and imitation on one policy with swappable visual encoders."""

import envs as _envs  # first: it keeps the old gym's notice, which SB3 would provoke, from the user's terminal
from agents.egocentric import Egocentric
from agents.encoders import Encoder, Impala, Impoola, Nature
from agents.escape import ChaserFloodfill
from agents.evaluation import Episodes, evaluate
from agents.eyes import EYES, Eye
from agents.floodfill import HeistFloodfill, MazeFloodfill
from agents.imitation import DAgger, TaughtVecEnv
from agents.phase import Phase
from agents.policy import EncoderPolicy
from agents.policy_file import PolicyFileError, load_policy, save_policy
from agents.ppo import PPO, TrainingDiverged
from agents.registry import ENCODERS, EncoderName, parse_encoder, register_encoder
from agents.teacher import Teacher
from agents.wayfinder import Wayfinder
from agents.weights import eye_card, load_weights, save_eye

__all__ = [
    "ENCODERS",
    "EYES",
    "PPO",
    "ChaserFloodfill",
    "DAgger",
    "Egocentric",
    "Encoder",
    "EncoderName",
    "EncoderPolicy",
    "Episodes",
    "Eye",
    "HeistFloodfill",
    "Impala",
    "Impoola",
    "MazeFloodfill",
    "Nature",
    "Phase",
    "PolicyFileError",
    "TaughtVecEnv",
    "Teacher",
    "TrainingDiverged",
    "Wayfinder",
    "evaluate",
    "eye_card",
    "load_policy",
    "load_weights",
    "parse_encoder",
    "register_encoder",
    "save_eye",
    "save_policy",
]

del _envs
