"""Preloads modules and Procgen's assets in the process that worker processes are forked from.

Procgen reads the assets of all its games when the first one is made, which takes longer than a small run; and torch
loads what counts an encoder's weights when it is first used.
"""

from contextlib import suppress

import lcd.experiments.run  # noqa: F401
from lcd.agents import parse_encoder
from lcd.envs import ProcgenBatch, ProcgenOptions
from lcd.envs.procgen.library import ProcgenMissing

parse_encoder("nature:512")
with suppress(ProcgenMissing):  # games of other families need it not
    ProcgenBatch(ProcgenOptions("maze"), num_envs=1).close()
