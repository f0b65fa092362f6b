"""Training of the cells of a diagnosis: settings in, tables of evaluated episodes and weights out."""

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
