"""Files that somebody else made, read within limits.

Whatever such a file holds, reading it here takes bounded time and memory, runs no code from it, opens no other file
and asks no network. What is larger, deeper or longer than such files are, what declares more than is there, and what is
no ordinary file (a folder, a pipe, a device) is refused in one sentence: `UnreadableFileError`, a ValueError.
"""

from lcd.io.untrusted.archives import read_members
from lcd.io.untrusted.arrays import read_npz
from lcd.io.untrusted.images import LARGEST_IMAGE, decode_image, read_image
from lcd.io.untrusted.opening import UnreadableFileError, check_file, in_short, memory, opened, read_bytes
from lcd.io.untrusted.tables import parse_csv, read_csv
from lcd.io.untrusted.tensors import LARGEST_WEIGHTS, read_pickled, read_safetensors, read_safetensors_metadata
from lcd.io.untrusted.text import LARGEST_TOML, parse_json, parse_toml, read_json, read_text, read_toml

__all__ = [
    "LARGEST_IMAGE",
    "LARGEST_TOML",
    "LARGEST_WEIGHTS",
    "UnreadableFileError",
    "check_file",
    "decode_image",
    "in_short",
    "memory",
    "opened",
    "parse_csv",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_csv",
    "read_image",
    "read_json",
    "read_members",
    "read_npz",
    "read_pickled",
    "read_safetensors",
    "read_safetensors_metadata",
    "read_text",
    "read_toml",
]
