"""Readers of untrusted files.

Reading takes bounded time and memory whatever a file contains, runs no code from it, opens no other file and uses no
network. Files that exceed the limits, declare more than they contain, or are no regular files (a folder, a pipe, a
device) are refused with `UnreadableFileError`, a ValueError with a message of one sentence.
"""

from lcd.io.untrusted.archives import read_members, unpack_files
from lcd.io.untrusted.arrays import read_npz
from lcd.io.untrusted.images import LARGEST_IMAGE, decode_image, read_image
from lcd.io.untrusted.netcdf import Variable, read_netcdf
from lcd.io.untrusted.opening import UnreadableFileError, check_file, in_short, memory, opened, read_bytes
from lcd.io.untrusted.tables import parse_csv, read_csv
from lcd.io.untrusted.tensors import (
    LARGEST_WEIGHTS,
    portable,
    read_pickled,
    read_safetensors,
    read_safetensors_metadata,
)
from lcd.io.untrusted.text import LARGEST_TOML, parse_json, parse_toml, read_json, read_text, read_toml

__all__ = [
    "LARGEST_IMAGE",
    "LARGEST_TOML",
    "LARGEST_WEIGHTS",
    "UnreadableFileError",
    "Variable",
    "check_file",
    "decode_image",
    "in_short",
    "memory",
    "opened",
    "parse_csv",
    "parse_json",
    "parse_toml",
    "portable",
    "read_bytes",
    "read_csv",
    "read_image",
    "read_json",
    "read_members",
    "read_netcdf",
    "read_npz",
    "read_pickled",
    "read_safetensors",
    "read_safetensors_metadata",
    "read_text",
    "read_toml",
    "unpack_files",
]
