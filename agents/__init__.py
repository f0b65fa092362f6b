"""Agents: PPO and imitation on one policy with swappable visual encoders."""

from lcd.agents.encoders.convolutional import Encoder, Impala, Impoola, Nature
from lcd.agents.encoders.phase import Phase
from lcd.agents.encoders.pretrained import BACKBONES, Backbone
from lcd.agents.encoders.registry import ENCODERS, EncoderName, import_encoder, parse_encoder, register_encoder
from lcd.agents.encoders.weights import load_weights, read_card, save_backbone
from lcd.agents.evaluation import EndlessEpisode, Episodes, best_tempered, evaluate
from lcd.agents.foreign_teachers import as_teacher, load_model
from lcd.agents.imitation import DAgger, TaughtVecEnv
from lcd.agents.policy import EncoderPolicy
from lcd.agents.policy_file import PolicyFileError, load_policy, save_policy
from lcd.agents.ppo import PPO, TrainingDiverged
from lcd.agents.teacher import Teacher

__all__ = [
    "BACKBONES",
    "ENCODERS",
    "PPO",
    "Backbone",
    "DAgger",
    "Encoder",
    "EncoderName",
    "EncoderPolicy",
    "EndlessEpisode",
    "Episodes",
    "Impala",
    "Impoola",
    "Nature",
    "Phase",
    "PolicyFileError",
    "TaughtVecEnv",
    "Teacher",
    "TrainingDiverged",
    "as_teacher",
    "best_tempered",
    "evaluate",
    "import_encoder",
    "load_model",
    "load_policy",
    "load_weights",
    "parse_encoder",
    "read_card",
    "register_encoder",
    "save_backbone",
    "save_policy",
]
