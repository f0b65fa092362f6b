"""Teachers that a user gives: policy files, models of Stable-Baselines3, and objects that a module makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lcd.agents import Teacher, load_policy
from lcd.agents.foreign_teachers import as_teacher, is_model_file, load_model
from lcd.agents.imitation import prepare
from lcd.agents.policy_file import LARGEST, UntrustedPolicyError
from lcd.envs import GameOptions, family_of
from lcd.envs.views import SEMANTIC
from lcd.experiments.settings import IMPORTED
from lcd.io.files import checksum
from lcd.io.limits import short
from lcd.io.modules import import_named, source_of
from lcd.io.untrusted import check_file


@dataclass(frozen=True)
class GivenTeacher:
    """A teacher that is given.

    Attributes
    ----------
    path
        Its file, as `lcd.agents.save_policy` or a model of Stable-Baselines3 writes it; None for one that is imported.
    checksum
        SHA-256 of the file, or the identity of one that is imported; runs with another teacher are other runs.
    name
        Its name in reports.
    view
        Name of the view that it acts on.
    encoder
        Name of the encoder by which it sees frames, for a policy file; None for others.
    """

    path: Path | None
    checksum: str
    name: str
    view: str = SEMANTIC.name
    encoder: str | None = None

    @classmethod
    def from_file(cls, path: Path, name: str | None = None) -> GivenTeacher:
        """Read the checksum of a file; the name is its path unless one is given.

        Raises
        ------
        ValueError
            If there is no such file.
        """
        check_file(path, LARGEST, what="teacher file")
        return cls(path, checksum(path), name or str(path))

    @classmethod
    def from_text(cls, text: Path | str) -> GivenTeacher:
        """A file's path, or ``module:name`` for what a module makes, whose labels are not known yet.

        Raises
        ------
        ValueError
            If there is no such file.
        """
        if names_an_object(text):
            return cls(None, str(text), str(text))
        return cls.from_file(Path(text))

    def load(self, options: GameOptions) -> tuple[Teacher, dict[str, Any]]:
        """The teacher, and its card; an empty one where it has none.

        Raises
        ------
        ValueError
            If it cannot be read or imported, or is no teacher.
        """
        if self.path is None:
            return import_teacher(self.name, options), {}
        try:
            return read_teacher(self.path)
        except UntrustedPolicyError:
            raise ValueError(
                f"The teacher {self.path} has an encoder that only a file which you trust may name, a class or a hub's "
                "model: give what loads it (--teacher my_module:teacher), a function that returns "
                "lcd.agents.load_policy(PATH, trust=True)[0]."
            ) from None

    def check(self) -> None:
        """Check that the file has not changed since it was read.

        Raises
        ------
        ValueError
            If it has changed or is missing.
        """
        if self.path is not None and (not self.path.is_file() or checksum(self.path) != self.checksum):
            raise ValueError(
                f"The teacher {self.path} is gone or has changed since the run was planned: start the command again."
            )


def names_an_object(text: Path | str) -> bool:
    """Whether a text is ``module:name`` and no file."""
    module, colon, name = str(text).partition(":")
    named = colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))
    return bool(named) and not Path(text).exists()


def is_teacher(found: Any) -> bool:
    """Whether an object, and not the class of one, has a method by which teachers act."""
    return not isinstance(found, type) and any(hasattr(found, each) for each in ("log_probabilities", "predict"))


def read_teacher(path: Path, *, trust: bool = False) -> tuple[Teacher, dict[str, Any]]:
    """Read a teacher and its card from a policy file, or from a model of Stable-Baselines3, which has none.

    Raises
    ------
    ValueError
        If it is neither.
    """
    return (load_model(path), {}) if is_model_file(path) else load_policy(path, trust=trust)


def import_teacher(name: str, options: GameOptions) -> Teacher:
    """Make a teacher from ``module:name``: an object with `log_probabilities` or `predict`, or what makes one.

    Raises
    ------
    ValueError
        If there is none, making it fails, or it is no teacher.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_named(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"The teacher {short(name)} cannot be found: {error}.") from None
    if not is_teacher(found) and callable(found):
        try:
            found = found()
        except (Exception, SystemExit) as error:  # of many types: it is the user's code
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ValueError(f"Making the teacher {name} fails ({reason}).") from error
    try:
        teacher = as_teacher(found, int(family_of(options).action_space(options).n))
    except ValueError as error:
        raise ValueError(f"The teacher {short(name)}: {error}") from None
    prepare(teacher, torch.device("cpu"))  # where it is tried; a learner takes it to its own device
    return teacher


def checksum_of(name: str, teacher: Teacher) -> str:
    """Checksum of the source of a teacher's module, and of its weights where it is a network, 12 digits."""
    content = source_of(name.partition(":")[0])
    if isinstance(teacher, nn.Module):
        for key, value in sorted(teacher.state_dict().items()):
            content += key.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return checksum(content)[:12]


def load_imported(identity: str, options: GameOptions) -> Teacher:
    """The teacher of a run whose identity is ``module:name#SOURCE-LABELS``.

    Raises
    ------
    ValueError
        If it cannot be made, or its source or weights are others than when the run was planned.
    """
    name, _, known = identity.partition(IMPORTED)
    teacher = import_teacher(name, options)
    if checksum_of(name, teacher) != known.partition("-")[0]:
        raise ValueError(f"The teacher {name} has changed since the run was planned: start the command again.")
    return teacher
