"""What must be equal in two diagnoses of the same runs."""

from __future__ import annotations

from typing import Any

OF_TIME = ("core_hours", "finished")


def without_times(diagnosis: dict[str, Any]) -> dict[str, Any]:
    """A diagnosis as data of JSON, but for what tells when its runs were made and how long they took."""
    settings = {name: value for name, value in diagnosis["settings"].items() if name not in OF_TIME}
    settings["runs"] = [{key: run[key] for key in run if key not in OF_TIME} for run in settings["runs"]]
    assert diagnosis["settings"]["core_hours"] > 0
    return diagnosis | {"settings": settings}
