"""Code of a user's own that runs need, and that a new process imports before it carries one out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lcd.agents.encoders.registry import import_encoder, module_of
from lcd.experiments.improvements import import_improvement
from lcd.experiments.settings import RunSettings
from lcd.io.modules import import_named


@dataclass(frozen=True)
class OwnCode:
    """Encoders and improvements by name, with the modules that make the former known.

    A plan that its user started tells them; the record of a finished run never makes anybody import them.
    """

    modules: tuple[str, ...]
    encoders: tuple[str, ...]
    improvements: tuple[str, ...]

    @classmethod
    def of(cls, runs: Iterable[RunSettings]) -> OwnCode:
        """What runs need whose encoders are known in this process."""
        runs = tuple(runs)
        modules = {run.encoder: module for run in runs if (module := module_of(run.encoder)) is not None}
        improvements = dict.fromkeys(run.improvement for run in runs if run.improvement is not None)
        return cls(tuple(dict.fromkeys(modules.values())), tuple(modules), tuple(improvements))

    def load(self) -> None:
        """Import all of it.

        Raises
        ------
        ImportError, ValueError
            If something cannot be imported here.
        """
        for module in self.modules:
            import_named(module)
        for encoder in self.encoders:
            import_encoder(encoder)
        for improvement in self.improvements:
            import_improvement(improvement)
