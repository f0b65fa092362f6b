"""Ways to damage a file; each returns a description of what it did."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HUGE = (10**12, 2**31, 2**63, 10**30, 10**400, -1, 0, 1e308, float("inf"), float("nan"))
NAMES = (
    "nature@/etc/passwd",
    "hf:somebody/model",
    "timm:resnet18",
    "impala:100000,100000,100000",
    "nature:" + "9" * 50,
)
ODD: tuple[Any, ...] = (
    [],
    {},
    None,
    True,
    "text",
    ["maze"],
    "\x1b[31m\n",
    "\ud800",
    "[/]",
    "$x$",
    "../../x",
    *HUGE,
    *NAMES,
)


def damage(file: Path, data: str, draw: random.Random) -> str:
    """Damage a file in place, and tell how.

    Parameters
    ----------
    file
        A good file.
    data
        As in `fuzzing.kinds.Kind`.
    draw
        Chooses the damage.
    """
    ways: list[Callable[[Path, random.Random], str]] = [_flip, _flip, _cut, _fill, _repeat, _no_file]
    if data:
        replace = {"json": _replace_json, "toml": _replace_toml, "safetensors": _replace_metadata}[data]
        ways = [*ways, replace, replace, replace, replace, _nest]
    way = draw.choice(ways)
    return f"{file.name} {way(file, draw)}"


def _flip(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    places = [draw.randrange(len(content)) for _ in range(draw.choice((1, 1, 1, 8, 64)))]
    if draw.random() < 0.5:  # at the beginning, where lengths and kinds are
        places = [place % 256 % len(content) for place in places]
    for place in places:
        content[place] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return f"with flipped bits at {places[:8]}"


def _cut(file: Path, draw: random.Random) -> str:
    content = file.read_bytes()
    kept = draw.choice((0, 1, 8, draw.randrange(len(content)), len(content) - 1))
    file.write_bytes(content[:kept])
    return f"cut to {kept} bytes"


def _fill(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    start, length = draw.randrange(len(content)), draw.choice((1, 8, 100))
    sign = draw.choice((0, 255, 0x2C, 0x22, 0x5B, 0x0A))
    content[start : start + length] = bytes([sign]) * length
    file.write_bytes(content)
    return f"with {length} times {sign} at {start}"


def _repeat(file: Path, draw: random.Random) -> str:
    content = file.read_bytes()
    start = draw.randrange(len(content))
    part = content[start : start + draw.choice((1, 16, 4096))]
    times = draw.choice((2, 1000))
    file.write_bytes(content[:start] + part * times + content[start:])
    return f"with {len(part)} bytes at {start} {times} times"


def _no_file(file: Path, draw: random.Random) -> str:
    """What bears a file's name and is none, or one of nothing but a size."""
    what = draw.choice(("a pipe", "a folder", "zeros without end", "a link to itself", "lost", "a huge hole"))
    file.unlink()
    if what == "a pipe":
        os.mkfifo(file)
    elif what == "a folder":
        file.mkdir()
    elif what == "zeros without end":
        file.symlink_to("/dev/zero")
    elif what == "a link to itself":
        file.symlink_to(file.name)
    elif what == "a huge hole":
        with file.open("wb") as hole:
            hole.truncate(2**40)
    return f"is {what}"


def _nest(file: Path, draw: random.Random) -> str:
    depth = draw.choice((100, 900, 100_000))
    opened = draw.choice(('{"a":', "["))
    closed = {"[": "]", '{"a":': "}"}[opened]
    text = opened * depth + "1" + closed * depth * draw.randrange(2)
    if file.suffix == ".toml":
        file.write_text(f"games = {text}" if draw.random() < 0.5 else "a." * depth + "a = 1")
    elif file.suffix == ".json":
        file.write_text(text)
    else:
        _rewritten(file, lambda metadata: metadata | {draw.choice(sorted(metadata)): text})
    return f"nested {depth} times"


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values are in JSON data."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(value, (*path, key))


def _replaced(data: Any, draw: random.Random) -> tuple[Any, str]:
    """The data with one value that is another, or is gone."""
    places = list(_places(data))
    shallow = [path for path in places if len(path) <= 2]
    path = draw.choice(shallow if draw.random() < 0.6 else places)
    value = draw.choice(ODD)
    if not path:
        return value, f"is {value!r:.40}"
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if draw.random() < 0.2:
        del inner[path[-1]]
        return data, f"without {path}"
    inner[path[-1]] = value
    return data, f"with {value!r:.40} at {path}"


def _replace_json(file: Path, draw: random.Random) -> str:
    data, how = _replaced(json.loads(file.read_text()), draw)
    file.write_text(json.dumps(data))
    return how


def _replace_toml(file: Path, draw: random.Random) -> str:
    key = draw.choice(
        ("games", "preset", "steps", "seeds", "encoder", "evaluations", "num_levels", "appearance", "mode")
    )
    value = draw.choice([value for value in ODD if value is not None])
    text = json.dumps(value) if not isinstance(value, float) else repr(value)
    lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{key} ")]
    file.write_text("\n".join([*lines, f"{key} = {text}"]) + "\n")
    return f"with {key} = {text:.40}"


def _replace_metadata(file: Path, draw: random.Random) -> str:
    how = ""

    def change(metadata: dict[str, str]) -> dict[str, str]:
        nonlocal how
        key = draw.choice([key for key in metadata if key != "sha256"])
        try:
            value, how = _replaced(json.loads(metadata[key]), draw)
            text = json.dumps(value)
        except json.JSONDecodeError:
            text = str(draw.choice(NAMES))
            how = f"is {text:.40}"
        how = f"{key} {how}"
        return metadata | {key: text}

    _rewritten(file, change)
    return how


def _rewritten(file: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Write a file of safetensors again with other metadata, as whoever forges one does: without a seal."""
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = change({key: text for key, text in header["__metadata__"].items() if key != "sha256"})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
