"""Weights of an eye, in files that hold no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lcd.agents.encoders.convolutional import Encoder
from lcd.agents.encoders.pretrained import Classifier
from lcd.io.limits import short
from lcd.io.untrusted import (
    LARGEST_WEIGHTS,
    UnreadableFileError,
    check_file,
    parse_json,
    read_pickled,
    read_safetensors,
    read_safetensors_metadata,
)

FORMAT = "lcd-eye-1"

SEAL = "sha256"
"""Entry of a file's metadata that tells whether it was damaged."""

_WITH_CARDS = (FORMAT, "lcd-policy-1")
"""Formats of files that have a card."""

LARGEST_WEIGHT = 1e9
"""Beyond what any training gives."""

_OF_POLICIES = "features_extractor.network.0."
"""What stands before the names of an eye's weights in the file of a policy."""

_OF_CLASSIFIERS = "module.model."
"""What stands before the names of a classifier's weights in an eye around it."""

_WRITE_AGAIN = "write the file again"
_FETCH_AGAIN = "fetch or write it again"


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file that `check_sealed` can tell from a damaged one.

    Its header is sorted, which the library writes in an order of its own each time: the same tensors are the same file.
    """
    header, content = _split(save(tensors, metadata))
    header.setdefault("__metadata__", {})[SEAL] = _seal(header, content)
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def check_sealed(path: Path) -> None:
    """Refuse a safetensors file that is not what `write_tensors` wrote; one that it did not write has no seal.

    Raises
    ------
    ValueError
        If it is no whole safetensors file, or has a seal and something else in it has changed.
    """
    try:
        header, content = _split(path.read_bytes())
        metadata = header.get("__metadata__", {})
        whole = SEAL not in metadata or metadata[SEAL] == _seal(header, content)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch or write it again.") from None
    if not whole:
        raise ValueError(f"{path} is damaged, for it is not what was written: write or fetch it again.")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a whole safetensors file, and what its tensors hold."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _seal(header: dict[str, Any], content: bytes) -> str:
    """SHA-256 of a file's tensors and of what its header says beside the seal."""
    metadata = {name: text for name, text in header.get("__metadata__", {}).items() if name != SEAL}
    described = json.dumps(header | {"__metadata__": metadata}, sort_keys=True)
    return hashlib.sha256(described.encode() + content).hexdigest()


def not_finite(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Name of a tensor that holds what is no number, if there is one."""
    return next((name for name, value in weights.items() if not torch.isfinite(value).all()), None)


def save_eye(encoder: Encoder, path: Path, architecture: str, card: dict[str, Any]) -> None:
    """Write the weights of an encoder's eye with a card that says how it learned to see.

    Parameters
    ----------
    encoder
        The encoder.
    path
        File to write.
    architecture
        Its name, see `lcd.agents.encoders.registry.parse_encoder`.
    card
        JSON data.
    """
    weights = {name: value.contiguous() for name, value in encoder.eye.state_dict().items()}
    write_tensors(weights, path, {"format": FORMAT, "encoder": architecture, "card": json.dumps(card)})


def save_classifier(classifier: Classifier, path: Path, card: dict[str, Any]) -> None:
    """Write what a classifier has become: ``NAME@FILE`` then names its eye, or where one is asked for the classifier.

    Parameters
    ----------
    classifier
        The classifier.
    path
        File to write.
    card
        JSON data.
    """
    weights = {_OF_CLASSIFIERS + name: value.contiguous() for name, value in classifier.model.state_dict().items()}
    write_tensors(weights, path, {"format": FORMAT, "encoder": classifier.name, "card": json.dumps(card)})


def load_classifier(text: str) -> Classifier:
    """A classifier by its name, or ``NAME@FILE`` with the weights that `save_classifier` wrote.

    Raises
    ------
    ValueError
        If there is no such classifier, or the weights are missing or do not fit.
    """
    name, at, file = text.partition("@")
    classifier = Classifier(name)
    if at:
        found = _read(Path(file))
        weights = {key.removeprefix(_OF_CLASSIFIERS): value for key, value in found.items()}
        if (damaged := not_finite(weights)) is not None:
            raise ValueError(f"The weights in {file} are damaged: {damaged} holds what is no number. Fetch them again.")
        try:
            classifier.model.load_state_dict(weights)
        except RuntimeError:
            raise ValueError(f"The weights in {file} are not those of the classifier {name}: name another.") from None
    return classifier


def eye_card(path: Path) -> dict[str, Any]:
    """The card in a file that `save_eye` or `lcd.agents.save_policy` wrote; empty for another kind of file.

    Raises
    ------
    ValueError
        If the file is one of theirs, and its card is none; or an entry is of another kind than it must be, see
        `checked_card`.
    """
    name = f"The card in {path}"
    try:
        metadata = read_safetensors_metadata(path)
    except UnreadableFileError:
        return {}
    check_sealed(path)
    try:
        card = parse_json(metadata.get("card", "{}"), name, remedy=_WRITE_AGAIN)
    except UnreadableFileError:
        if metadata.get("format") in _WITH_CARDS:
            raise
        return {}
    return checked_card(card, name) if isinstance(card, dict) or metadata.get("format") in _WITH_CARDS else {}


def checked_card(card: Any, name: str) -> dict[str, Any]:
    """A card whose entries are of the kinds that readers rely on: ``run`` and others that it has are objects or texts.

    Parameters
    ----------
    card
        JSON data.
    name
        What the message calls it.

    Raises
    ------
    ValueError
        If it is no object, its ``run`` is none, or its ``game`` or ``objective`` is no text.
    """
    if not isinstance(card, dict):
        raise ValueError(f"{name} must be an object, not {short(card)}: {_WRITE_AGAIN}.")
    for key, kind, word in (("run", dict, "an object"), ("game", str, "a text"), ("objective", str, "a text")):
        if key in card and not isinstance(card[key], kind):
            raise ValueError(f"{name} must have {word} under {key!r}, not {short(card[key])}: {_WRITE_AGAIN}.")
    run = card.get("run", {})
    for key in ("game", "view", "learning"):
        if not isinstance(run.get(key, ""), str):
            raise ValueError(f"{name} must have a text under 'run', {key!r}, not {short(run[key])}: {_WRITE_AGAIN}.")
    weight = run.get("harmonizer", 0.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError(f"{name} must have a number under 'run', 'harmonizer', not {short(weight)}: {_WRITE_AGAIN}.")
    return card


def load_weights(encoder: Encoder, path: Path) -> None:
    """Put weights into an encoder's eye.

    Parameters
    ----------
    encoder
        Its eye is changed in place.
    path
        What `save_eye` or `lcd.agents.save_policy` wrote, any safetensors file, or one of ``torch.save`` that loads
        without running code, with weights by the names that the eye's module gives them, whatever stands before all of
        these.

    Raises
    ------
    ValueError
        If the file is missing, damaged, would run code, or its weights do not fit.
    """
    found = _read(path)
    eye_card(path)  # which is asked for once hours are spent, and must be one
    of_eye = {name.removeprefix(_OF_POLICIES): value for name, value in found.items() if name.startswith(_OF_POLICIES)}
    wanted = encoder.eye.state_dict()
    weights = _by_name(wanted, of_eye or found)
    if missing := sorted(wanted.keys() - weights.keys()):
        raise ValueError(
            f"The weights in {path} do not fit this encoder: {missing[0]} is not among them. "
            "Name the architecture that they were made with, as in impala:16,32,32@weights.safetensors."
        )
    for name, value in wanted.items():
        if value.is_floating_point() and not weights[name].is_floating_point():
            raise ValueError(f"The weights in {path} are damaged: {name} holds what is no number. Fetch them again.")
        if weights[name].shape != value.shape:  # before a number is looked at: a shape may declare any amount
            raise ValueError(
                f"The weights in {path} do not fit this encoder: {name} has the shape {tuple(weights[name].shape)} "
                f"instead of {tuple(value.shape)}."
            )
        if value.is_floating_point() and not (weights[name].abs() <= LARGEST_WEIGHT).all():
            raise ValueError(f"The weights in {path} are damaged: {name} holds what is no number. Fetch them again.")
    encoder.eye.load_state_dict({name: weights[name].to(value.dtype) for name, value in wanted.items()})


def _by_name(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Weights by the names that are wanted, where a file's differ in nothing but what stands before them all."""
    if wanted.keys() <= found.keys():
        return found
    names = list(wanted)
    folders = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, folders)]
    for depth in range(len(shared) + 1):
        before = "".join(f"{part}." for part in shared[:depth])
        first = names[0].removeprefix(before)
        for prefix in (key.removesuffix(first) for key in found if key.endswith(first)):
            renamed = {name: prefix + name.removeprefix(before) for name in names}
            if all(key in found for key in renamed.values()):
                return {name: found[key] for name, key in renamed.items()}
    return found


def _read(path: Path) -> dict[str, torch.Tensor]:
    check_file(path, LARGEST_WEIGHTS, what="file of weights", remedy=_FETCH_AGAIN)
    if path.suffix.lower() == ".safetensors":
        tensors, _ = read_safetensors(path, remedy=_FETCH_AGAIN)
        check_sealed(path)
        return tensors
    found = read_pickled(path, remedy="fetch it again, or convert it to safetensors where you trust it")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    weights = (
        {name: value for name, value in found.items() if isinstance(name, str) and _is_plain(value)}
        if isinstance(found, dict)
        else {}
    )
    if not weights:
        raise ValueError(f"{path} holds no weights by name: write a state_dict, best as safetensors.")
    return weights


def _is_plain(value: object) -> bool:
    """Whether something is a tensor whose numbers are there, and all of them."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
