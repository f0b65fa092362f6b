"""Agents: PPO and imitation on one policy with swappable visual encoders."""

from lcd.agents.encoders.convolutional import Encoder, Impala, Impoola, Nature
from lcd.agents.encoders.phase import Phase
from lcd.agents.encoders.pretrained import EYES, Eye
from lcd.agents.encoders.registry import ENCODERS, EncoderName, parse_encoder, register_encoder
from lcd.agents.encoders.weights import eye_card, load_weights, save_eye
from lcd.agents.evaluation import Episodes, evaluate
from lcd.agents.imitation import DAgger, TaughtVecEnv
from lcd.agents.policy import EncoderPolicy
from lcd.agents.policy_file import PolicyFileError, load_policy, save_policy
from lcd.agents.ppo import PPO, TrainingDiverged
from lcd.agents.teacher import Teacher

__all__ = [
    "ENCODERS",
    "EYES",
    "PPO",
    "DAgger",
    "Encoder",
    "EncoderName",
    "EncoderPolicy",
    "Episodes",
    "Eye",
    "Impala",
    "Impoola",
    "Nature",
    "Phase",
    "PolicyFileError",
    "TaughtVecEnv",
    "Teacher",
    "TrainingDiverged",
    "evaluate",
    "eye_card",
    "load_policy",
    "load_weights",
    "parse_encoder",
    "register_encoder",
    "save_eye",
    "save_policy",
]
