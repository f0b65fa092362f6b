"""TFRecord files, read without TensorFlow.

A file is a row of records: the length of the content (8 bytes, little endian), its masked checksum (4 bytes), the
content, and that one's masked checksum. The content is an ``Example`` in Protocol Buffers' wire format: a map from
names to lists of bytes, of floating numbers or of whole ones.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from lcd.io.untrusted import opened

Feature = list[bytes] | NDArray[np.float32] | NDArray[np.int64]

_MASK = 0xA282EAD8
LARGEST_FILE, LARGEST_RECORD = 2**40, 2**26
"""Largest size in bytes of a file, which is read record by record, and of a record."""

_LONGEST_VARINT = 63  # bits before the last byte of a whole number
_MOST_NUMBERS = 2**20  # largest number of integers of a feature
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of fields on the wire


def read_examples(path: Path) -> Iterator[dict[str, Feature]]:
    """Read the examples of a file, one at a time.

    Yields
    ------
    dict
        Values by name: a list of bytes, or an array of float32 or int64.

    Raises
    ------
    ValueError
        If there is no such file, it is cut short, or its content is damaged.
    """
    for number, content in enumerate(_records(path)):
        try:
            yield dict(_features(content))
        except (ValueError, IndexError, OverflowError) as error:
            raise ValueError(f"Record {number} of {path} holds no example ({error}): fetch the file again.") from None


def _records(path: Path) -> Iterator[bytes]:
    with opened(path, LARGEST_FILE, remedy="fetch it again") as file:
        size = os.fstat(file.fileno()).st_size
        number = 0
        while header := file.read(12):
            short = ValueError(f"{path} is cut short in record {number}: fetch it again.")
            if len(header) < 12:
                raise short
            if _masked(header[:8]) != struct.unpack("<I", header[8:])[0]:
                raise ValueError(f"Record {number} of {path} is damaged, or this is no TFRecord file: fetch it again.")
            (length,) = struct.unpack("<Q", header[:8])
            if length + 4 > size - file.tell():  # checked before reading: a damaged length may ask for any amount
                raise short
            if length > LARGEST_RECORD:
                raise ValueError(
                    f"Record {number} of {path} has more than {LARGEST_RECORD:,} bytes: leave the file out."
                )
            body = file.read(length + 4)
            if _masked(body[:length]) != struct.unpack("<I", body[length:])[0]:
                raise ValueError(f"Record {number} of {path} is damaged: fetch the file again.")
            yield body[:length]
            number += 1


def _masked(content: bytes) -> int:
    checksum = google_crc32c.value(content)
    return ((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Number, kind and value of each field of a message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            length = {_FIXED32: 4, _FIXED64: 8}[kind]
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if place + length > len(message):
            raise ValueError("a field that is longer than its message")
        yield number, kind, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if shift > _LONGEST_VARINT:
            raise ValueError("a number of more than 64 bits")
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _features(example: bytes) -> Iterator[tuple[str, Feature]]:
    for _, _, features in _fields(example):
        for _, _, entry in _fields(_message(features)):
            parts = {number: content for number, _, content in _fields(_message(entry))}
            yield _message(parts.get(1, b"")).decode(), _values(_message(parts.get(2, b"")))


def _message(content: bytes | int) -> bytes:
    if not isinstance(content, bytes):
        raise ValueError("a number where a message belongs")
    return content


def _values(feature: bytes) -> Feature:
    """The list in a feature: of bytes (1), of floating numbers (2) or of whole ones (3), packed or not."""
    for kind, _, content in _fields(feature):
        parts = [value for _, _, value in _fields(_message(content))]
        if kind == 1:
            return [part for part in parts if isinstance(part, bytes)]
        if kind == 2:
            return np.frombuffer(b"".join(part for part in parts if isinstance(part, bytes)), "<f4").copy()
        numbers = islice((number for part in parts for number in _whole_numbers(part)), _MOST_NUMBERS + 1)
        found = np.array(list(numbers), np.int64)
        if len(found) > _MOST_NUMBERS:
            raise ValueError(f"a feature of more than {_MOST_NUMBERS:,} numbers")
        return found
    return []


def _whole_numbers(part: bytes | int) -> Iterator[int]:
    if isinstance(part, int):
        yield _signed(part)
        return
    place = 0
    while place < len(part):
        value, place = _varint(part, place)
        yield _signed(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
