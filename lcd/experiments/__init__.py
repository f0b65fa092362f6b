"""Training of the cells of a diagnosis, from settings to tables of evaluated episodes and weights."""

from lcd.experiments.evaluation import Progress
from lcd.experiments.run import RunResult, TeacherScore, learner, train
from lcd.experiments.settings import Evaluation, Hyperparameters, RunSettings

__all__ = [
    "Evaluation",
    "Hyperparameters",
    "Progress",
    "RunResult",
    "RunSettings",
    "TeacherScore",
    "learner",
    "train",
]
