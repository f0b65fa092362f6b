"""Learning Challenge Diagnosticator: how much of a game's difficulty is perceptual, and how much is policy learning."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

with suppress(ImportError):
    from gym_notices import notices

    notices.notices.clear()  # Stable-Baselines3 imports the old gym, whose notice is of no use to anybody here

__version__ = "0.1.0"

_HOMES = {
    "advise": "lcd.studies.advice",
    "align_network": "lcd.studies.aligning",
    "audit": "lcd.studies.audit.audit",
    "bundle": "lcd.studies.bundle.bundle",
    "calibrate": "lcd.studies.calibration.calibration",
    "compare": "lcd.studies.comparison",
    "diagnose": "lcd.studies.diagnosing",
    "Diagnosis": "lcd.studies.diagnosis",
    "examine": "lcd.studies.doctor",
    "harmonize": "lcd.studies.harmonization",
    "harmonize_images": "lcd.studies.harmonization",
    "load_reference": "lcd.studies.survey.tables",
    "open_store": "lcd.experiments.remote_store",
    "perspective": "lcd.studies.perspective.perspective",
    "Plan": "lcd.experiments.plan",
    "Store": "lcd.experiments.store",
    "StoreError": "lcd.experiments.store",
    "predict_responses": "lcd.studies.neural",
    "pretrain": "lcd.studies.pretraining",
    "read_evidence": "lcd.studies.validation.evidence",
    "RunFailed": "lcd.experiments.execution",
    "scaling": "lcd.studies.scaling",
    "survey": "lcd.studies.survey.survey",
    "Survey": "lcd.studies.survey.plan",
    "Sweep": "lcd.studies.calibration.sweep",
    "SurveyTables": "lcd.studies.survey.tables",
    "Taxonomy": "lcd.studies.taxonomy.taxonomy",
    "tracking": "lcd.studies.tracking.tracking",
    "validate": "lcd.studies.validation.validation",
    "Validation": "lcd.studies.validation.plan",
    "visualize": "lcd.studies.visualising",
}

__all__ = [
    "Diagnosis",
    "Plan",
    "RunFailed",
    "Store",
    "StoreError",
    "Survey",
    "SurveyTables",
    "Sweep",
    "Taxonomy",
    "Validation",
    "__version__",
    "advise",
    "align_network",
    "audit",
    "bundle",
    "calibrate",
    "compare",
    "diagnose",
    "examine",
    "harmonize",
    "harmonize_images",
    "load_reference",
    "open_store",
    "perspective",
    "predict_responses",
    "pretrain",
    "read_evidence",
    "scaling",
    "survey",
    "tracking",
    "validate",
    "visualize",
]


def __dir__() -> list[str]:
    """What people use."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes seconds, and ``lcd --help`` does without."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lcd' has no attribute {name!r}")
