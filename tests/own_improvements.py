"""Improvements as users write them, in a module that worker processes can import."""

from functools import partial

from lcd.agents import PPO
from lcd.experiments.improvements import Improvement


class SlowPPO(PPO):
    """PPO whose steps are smaller by a factor."""

    def __init__(self, *arguments, factor=1.0, learning_rate=5e-4, **settings):
        super().__init__(*arguments, learning_rate=learning_rate * factor, **settings)


SLOWER = Improvement("slower", "policy", "takes smaller steps", "mine", partial(SlowPPO, factor=0.5))
PATIENT = Improvement("patient", "policy", "counts later rewards", "mine", hyperparameters={"gamma": 0.9999})
TINY = Improvement("tiny", "perceptual", "has a tiny encoder", "mine", architecture="own_encoders:Tiny")
SAME = Improvement("same", "perceptual", "has the same encoder", "mine", architecture="nature")
NOTHING = Improvement("nothing", "policy", "changes nothing", "mine")
BOTH = Improvement("both", "policy", "changes two things", "mine", SlowPPO, {"gamma": 0.9})
UNKIND = Improvement("unkind", "luck", "helps", "mine", SlowPPO)
NO_PPO = Improvement("none", "policy", "learns with a dictionary", "mine", dict)
HIDDEN = Improvement("hidden", "policy", "makes a dictionary", "mine", lambda **settings: {})
LISTED = Improvement("listed", "policy", "has a list", "mine", hyperparameters=[("gamma", 0.9)])
NUMBERED = Improvement("numbered", "perceptual", "has a number", "mine", encoder=3)
NO_OBJECTIVE = Improvement("nonsense", "perceptual", "is pretrained on nothing", "mine", encoder="nonsense")
NO_LEARNER = Improvement("none", "policy", "learns with a number", "mine", 3)
NUMBER = 3
