"""What is measured, and which ratios of two speeds are of interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lcd.experiments.presets import PRESETS


@dataclass(frozen=True)
class Contender:
    """Something whose speed is measured.

    Attributes
    ----------
    library
        ``"agents"``, ``"uncached"`` (agents, encoding frames in every epoch), ``"dagger"``, ``"sb3"``, ``"plain"`` or
        ``"product"`` (nothing but matrix products).
    encoder
        Its name; Stable-Baselines3 and the plain PPO know ``"nature"`` and ``"impala"``.
    view
        The learner's view.
    alone
        Whether one process has all threads, or as many processes run at once as there are threads, or as a plan has
        workers on a GPU.
    teacher
        Encoder of the teacher that an imitator asks.
    """

    library: str
    encoder: str = "nature"
    view: str = "pixels"
    alone: bool = True
    teacher: str = "nature"


CONTENDERS = {
    "agents, nature": Contender("agents"),
    "SB3, nature": Contender("sb3"),
    "plain PPO, nature": Contender("plain"),
    "agents, nature, semantic": Contender("agents", view="semantic"),
    "DAgger, nature": Contender("dagger"),
    "DAgger, nature, semantic": Contender("dagger", view="semantic", teacher="egocentric:256"),
    "agents, nature, processes": Contender("agents", alone=False),
    "agents, impala": Contender("agents", "impala"),
    "SB3, impala": Contender("sb3", "impala"),
    "plain PPO, impala": Contender("plain", "impala"),
    "agents, frozen encoder": Contender("agents", "efficientnet_lite0"),
    "agents, frozen encoder, uncached": Contender("uncached", "efficientnet_lite0"),
    "matrix product": Contender("product"),
}


def gpu_contenders() -> dict[str, Contender]:
    """What is measured on a GPU."""
    found = {}
    for encoder in dict.fromkeys(("nature", PRESETS["standard"].encoder, "impala")):
        if encoder in ("nature", "impala"):
            found[f"SB3, {encoder}"] = Contender("sb3", encoder)
            found[f"plain PPO, {encoder}"] = Contender("plain", encoder)
        found[f"agents, {encoder}"] = Contender("agents", encoder)
        found[f"agents, {encoder}, plan"] = Contender("agents", encoder, alone=False)
    return found | {"matrix product": CONTENDERS["matrix product"]}


ALL_CONTENDERS = gpu_contenders() | CONTENDERS


class Comparison(NamedTuple):
    """A ratio of two speeds, and the bound that it should keep."""

    name: str
    numerator: str
    denominator: str
    target: str = ""


COMPARISONS = (
    Comparison("speed against SB3, nature", "agents, nature", "SB3, nature", ">= 3.5"),
    Comparison("speed against SB3, impala", "agents, impala", "SB3, impala", ">= 3.5"),
    Comparison("speed against a plain PPO, nature", "agents, nature", "plain PPO, nature"),
    Comparison("speed against a plain PPO, impala", "agents, impala", "plain PPO, impala"),
    Comparison("cost of the semantic view", "agents, nature", "agents, nature, semantic", "<= 1.3"),
    Comparison("cost of imitation", "agents, nature", "DAgger, nature", "<= 1.2"),
    Comparison(
        "cost of a reference teacher's labels", "agents, nature, semantic", "DAgger, nature, semantic", "<= 1.15"
    ),
    Comparison("runs of a plan at once, nature", "agents, nature, plan", "agents, nature"),
    Comparison("runs of a plan at once, impala", "agents, impala, plan", "agents, impala"),
    Comparison("a process for each thread", "agents, nature, processes", "agents, nature"),
    Comparison("cached features of a frozen encoder", "agents, frozen encoder", "agents, frozen encoder, uncached"),
)
MEMORY_TARGET_MB = 1500
