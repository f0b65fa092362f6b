"""Learning Challenge Diagnosticator: how much of a game's difficulty is perceptual, and how much is policy learning."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gym_notices import notices

notices.notices.clear()  # Stable-Baselines3 imports the old gym, whose notice is of no use to anybody here

__version__ = "0.1.0"

_HOMES = {
    "diagnose": "lcd.pipeline",
    "Diagnosis": "lcd.diagnosis",
    "load_reference": "lcd.survey.tables",
    "Plan": "lcd.plan",
    "Store": "lcd.store",
    "Survey": "lcd.survey.plan",
    "SurveyTables": "lcd.survey.tables",
    "Taxonomy": "lcd.taxonomy.taxonomy",
}

__all__ = [
    "Diagnosis",
    "Plan",
    "Store",
    "Survey",
    "SurveyTables",
    "Taxonomy",
    "__version__",
    "diagnose",
    "load_reference",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes seconds, and ``lcd --help`` does without."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lcd' has no attribute {name!r}")
