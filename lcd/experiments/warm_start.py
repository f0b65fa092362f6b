"""Preloads modules and Procgen's assets in the process that worker processes are forked from.

Procgen reads the assets of all its games when the first one is made, which takes longer than a small run.
"""

import lcd.experiments.run  # noqa: F401
from lcd.envs import ProcgenBatch, ProcgenOptions

ProcgenBatch(ProcgenOptions("maze"), num_envs=1).close()
