"""Files of encoder weights, which hold no code."""

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
from lcd.agents.encoders.pretrained import Classifier, ModuleEncoder
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

FORMAT = "lcd-encoder-1"

SEAL = "sha256"
"""Metadata key of the checksum that detects damage."""

POOLS = "pools"
"""Metadata key that says whether the features of a model of the Hugging Face hub are its pooled output."""

_WITH_CARDS = (FORMAT, "lcd-eye-1", "lcd-policy-1")
"""Formats of files that hold a card; the second is what the first was called before."""

LARGEST_WEIGHT = 1e9
"""Largest absolute weight that is not taken for damage."""

_POLICY_PREFIX = "features_extractor.network.0."
"""Prefix of the backbone's weights in the file of a policy."""

_CLASSIFIER_PREFIX = "module.model."
"""Prefix of a classifier's weights in a backbone made of it."""

_WRITE_AGAIN = "write the file again"
_FETCH_AGAIN = "fetch or write it again"


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file with a checksum that `check_sealed` verifies.

    The header is sorted, so that equal tensors give equal files; the library's own order varies.
    """
    header, content = _split(save(tensors, metadata))
    header.setdefault("__metadata__", {})[SEAL] = _seal(header, content)
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text, content):
            file.write(part)


def check_sealed(path: Path) -> None:
    """Verify the checksum of a safetensors file; a file of another program has none and passes.

    Raises
    ------
    ValueError
        If it is not a whole safetensors file, or its content does not match its checksum.
    """
    try:
        header, content = _split(path.read_bytes())
        metadata = header.get("__metadata__", {})
        whole = SEAL not in metadata or metadata[SEAL] == _seal(header, content)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch or write it again.") from None
    if not whole:
        raise ValueError(f"{path} is damaged: its content does not match its checksum. Write or fetch it again.")


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and tensor bytes of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), memoryview(data)[end:]


def _seal(header: dict[str, Any], content: memoryview) -> str:
    """SHA-256 of a file's tensors and of its header without the checksum."""
    metadata = {name: text for name, text in header.get("__metadata__", {}).items() if name != SEAL}
    described = json.dumps(header | {"__metadata__": metadata}, sort_keys=True)
    digest = hashlib.sha256(described.encode())
    digest.update(content)
    return digest.hexdigest()


def not_finite(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor with a value that is not finite, or None."""
    return next((name for name, value in weights.items() if not torch.isfinite(value).all()), None)


def within(values: torch.Tensor, largest: float) -> bool:
    """Whether values are finite and none is larger than a limit; whole numbers are in any case."""
    return not values.is_floating_point() or bool((values.abs() <= largest).all())


def save_backbone(encoder: Encoder, path: Path, architecture: str, card: dict[str, Any]) -> None:
    """Write the weights of an encoder's backbone with a card that describes its training.

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
    weights = {name: value.contiguous() for name, value in encoder.backbone.state_dict().items()}
    described = {"format": FORMAT, "encoder": architecture, "card": json.dumps(card)}
    if isinstance(encoder, ModuleEncoder) and encoder.pools is not None:
        described[POOLS] = json.dumps(encoder.pools)
    write_tensors(weights, path, described)


def save_classifier(classifier: Classifier, path: Path, card: dict[str, Any]) -> None:
    """Write a classifier's weights; ``NAME@FILE`` then names it as an encoder or a classifier.

    Parameters
    ----------
    classifier
        The classifier.
    path
        File to write.
    card
        JSON data.
    """
    weights = {_CLASSIFIER_PREFIX + name: value.contiguous() for name, value in classifier.model.state_dict().items()}
    write_tensors(weights, path, {"format": FORMAT, "encoder": classifier.name, "card": json.dumps(card)})


def load_classifier(text: str) -> Classifier:
    """Load a classifier by its name, or ``NAME@FILE`` with weights that `save_classifier` wrote.

    Raises
    ------
    ValueError
        If there is no such classifier, or the weights are missing or do not fit.
    """
    name, at, file = text.partition("@")
    classifier = Classifier(name)
    if at:
        found = _read(Path(file))
        weights = {key.removeprefix(_CLASSIFIER_PREFIX): value for key, value in found.items()}
        if (damaged := not_finite(weights)) is not None:
            raise ValueError(f"The weights in {file} are damaged: {damaged} is not finite. Fetch them again.")
        try:
            classifier.model.load_state_dict(weights)
        except RuntimeError:
            raise ValueError(f"The weights in {file} are not those of the classifier {name}: name another.") from None
    return classifier


def read_pools(path: Path) -> bool | None:
    """Whether the weights in a file were trained with the pooled output of their model; None where it does not say.

    Raises
    ------
    ValueError
        If it says something else.
    """
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    try:
        metadata = read_safetensors_metadata(path)
    except UnreadableFileError:
        return None  # `load_weights` says what is wrong
    return checked_pools(metadata, path)


def checked_pools(metadata: Mapping[str, str], path: Path) -> bool | None:
    """The entry of a file's metadata under `POOLS`; None without one.

    Raises
    ------
    ValueError
        If it is neither true nor false.
    """
    if POOLS not in metadata:
        return None
    pools = parse_json(metadata[POOLS], f"{POOLS} in {path}", remedy=_WRITE_AGAIN)
    if type(pools) is not bool:
        raise ValueError(f"{POOLS} in {path} is true or false, not {short(pools)}: {_WRITE_AGAIN}.")
    return pools


def read_card(path: Path) -> dict[str, Any]:
    """Read the card of a file that `save_backbone` or `lcd.agents.save_policy` wrote; empty for other files.

    Raises
    ------
    ValueError
        If the file is damaged, or its card is not valid, see `checked_card`.
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
    """Check the types of a card's entries.

    Parameters
    ----------
    card
        JSON data.
    name
        Name of the card in the message.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ValueError
        If the card or its ``run`` is not an object, or its ``game`` or ``objective`` is not a string.
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
    """Load weights into an encoder's backbone.

    Parameters
    ----------
    encoder
        Its backbone is changed in place.
    path
        A file of `save_backbone` or `lcd.agents.save_policy`, any safetensors file, or one of ``torch.save`` that loads
        without running code. Weights are matched by the names of the backbone's module, after any common prefix.

    Raises
    ------
    ValueError
        If the file is missing, damaged, would run code, or its weights do not fit.
    """
    found = _read(path)
    read_card(path)  # it is needed after hours of training, so it is checked here
    of_policy = {
        name.removeprefix(_POLICY_PREFIX): value for name, value in found.items() if name.startswith(_POLICY_PREFIX)
    }
    wanted = encoder.backbone.state_dict()
    weights = _by_name(wanted, of_policy or found)
    own = of_policy or (found if _is_backbone(path) else {})
    if len(own) > len(wanted) == len(wanted.keys() & weights.keys()):
        raise ValueError(
            f"The weights in {path} are those of a larger encoder, with {len(own)} tensors instead of {len(wanted)}: "
            "name the architecture that they were made with, as in impala:16,32,32@weights.safetensors."
        )
    if missing := sorted(wanted.keys() - weights.keys()):
        raise ValueError(
            f"The weights in {path} do not fit this encoder: {missing[0]} is not among them. "
            "Name the architecture that they were made with, as in impala:16,32,32@weights.safetensors."
        )
    for name, value in wanted.items():
        if value.is_floating_point() and not weights[name].is_floating_point():
            raise ValueError(f"The weights in {path} are damaged: {name} is not floating-point. Fetch them again.")
        if weights[name].shape != value.shape:  # before any value is read: a shape may declare any size
            raise ValueError(
                f"The weights in {path} do not fit this encoder: {name} has the shape {tuple(weights[name].shape)} "
                f"instead of {tuple(value.shape)}."
            )
        read = weights[name]  # masks are infinite on purpose, and so in the new module as well
        if not within(read, LARGEST_WEIGHT) and not torch.equal(read.to(value.dtype), value):
            raise ValueError(
                f"The weights in {path} are damaged: {name} has a value that is not finite, or beyond "
                f"{LARGEST_WEIGHT:g}. Fetch them again."
            )
    encoder.backbone.load_state_dict({name: weights[name].to(value.dtype) for name, value in wanted.items()})


def _is_backbone(path: Path) -> bool:
    """Whether a file holds a backbone that `save_backbone` wrote, and nothing else."""
    return path.suffix.lower() == ".safetensors" and read_safetensors_metadata(path).get("format") == FORMAT


def _by_name(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Weights under the wanted names, where the file's names differ in a common prefix only."""
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
        raise ValueError(f"{path} holds no named weights: write a state_dict, best as safetensors.")
    return weights


def _is_plain(value: object) -> bool:
    """Whether a value is a dense tensor in the processor's memory whose storage is complete."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
