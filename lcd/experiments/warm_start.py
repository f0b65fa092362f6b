"""Preloads modules and Procgen's assets in the process that worker processes are forked from.

Procgen reads the assets of all its games when the first one is made, which takes longer than a small run.
"""

from contextlib import suppress

import lcd.experiments.run  # noqa: F401
from lcd.envs import ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.library import ProcgenMissing

with suppress(ProcgenMissing):  # games of other families need it not
    ProcgenBatch(ProcgenOptions("maze"), num_envs=1).close()
