"""Agents that remember: recurrent networks, and PPO and imitation that are trained across time.

Needs sb3-contrib, which comes with ``pip install 'learning-challenge-diagnosticator[recurrent]'``.
"""

from lcd.agents.memory.imitation import RecurrentDAgger
from lcd.agents.memory.networks import (
    MAPS,
    WITH_ENCODER,
    MemoryNetwork,
    RecurrentMap,
    build_network,
    check_network,
)
from lcd.agents.memory.policy import MemoryPolicy

__all__ = [
    "MAPS",
    "WITH_ENCODER",
    "MemoryNetwork",
    "MemoryPolicy",
    "RecurrentDAgger",
    "RecurrentMap",
    "build_network",
    "check_network",
]
