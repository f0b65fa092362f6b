"""Files that somebody else made are read within limits, or refused in one sentence; nothing else is opened or asked."""

from __future__ import annotations

import bz2
import io
import json
import os
import struct
import tarfile
import warnings
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import little
from PIL import Image

from lcd.io.untrusted import (
    UnreadableFileError,
    decode_image,
    parse_csv,
    parse_json,
    parse_toml,
    read_bytes,
    read_csv,
    read_image,
    read_json,
    read_members,
    read_npz,
    read_pickled,
    read_safetensors,
    read_text,
    read_toml,
)

ONE_SENTENCE = r"^[^\n]+\.$"
FEW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def refused(words="", **limits):
    with little(**limits), pytest.raises(UnreadableFileError, match=ONE_SENTENCE) as caught:
        yield
    assert words in str(caught.value)
    assert "memory" not in str(caught.value)


READERS = {
    "bytes": lambda path: read_bytes(path, 2**20),
    "text": read_text,
    "json": read_json,
    "toml": read_toml,
    "csv": read_csv,
    "npz": lambda path: read_npz(path, ["image"]),
    "image": lambda path: read_image(path, "RGB"),
    "archive": lambda path: list(read_members(path, ["a"])),
    "safetensors": read_safetensors,
    "pickled": read_pickled,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "lost", "inside a file", "long name", "hole"])
def test_what_is_no_ordinary_file_of_a_possible_size_is_refused_and_not_waited_for(tmp_path, read, kind):
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to("file")
    elif kind == "inside a file":
        path.write_text("text")
        path = path / "file"
    elif kind == "long name":
        path = tmp_path / ("n" * 300)
    elif kind == "hole":
        with path.open("wb") as file:
            file.truncate(2**40)
    with refused(str(path)):
        read(path)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@FEW
@given(content=st.binary(max_size=500))
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path, read, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        read(path)
    except UnreadableFileError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


WHOLE = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
)


@FEW
@given(data=JSON, ascii_only=st.booleans())
def test_json_comes_back_as_it_was(data, ascii_only):
    assert parse_json(json.dumps(data, ensure_ascii=ascii_only), "it") == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("9" * 25, "64 bits"),
        ("9" * 100_000, "64 bits"),
        (str(2**63), "64 bits"),
        ('"\\ud800"', "half of a character"),
        ('"\\udc00\\ud800"', "half of a character"),
        ("[" + "[]," * 3_000_000 + "0]", "2,000,000 lists"),
        ("", "JSON"),
        ("{", "JSON"),
    ],
)
def test_json_that_nobody_writes_is_refused(text, words):
    with refused(words):
        parse_json(text, "it")


def test_json_may_be_as_deep_as_said_and_may_hold_backslashes():
    assert parse_json("[" * 64 + "]" * 64, "it")
    assert parse_json('"C:\\\\udata \\ud83d\\ude00"', "it") == "C:\\udata \U0001f600"
    assert parse_json(str(-(2**63)), "it") == -(2**63)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 30_000,
        "a = " + "[" * 30_000 + "]" * 30_000,
        "a" + ".a" * 30_000 + " = 1",
        "[a" + ".a" * 30_000 + "]",
        "\n".join(f"{'a.' * 199}b{number} = 1" for number in range(160)),
        "a = {" * 10_000,
        "a = 1\na = 2",
        "a = " + "[" * 100 + "]" * 100,
    ],
)
def test_toml_that_nobody_writes_is_refused(text):
    with refused("TOML", seconds=30):
        parse_toml(text, "it")


def test_a_table_comes_back_as_pandas_reads_it():
    table = pd.DataFrame({"game": ["maze", "a,b"], "step": [0, 2**40], "return": [1.5, np.nan]})
    read = parse_csv(table.to_csv(index=False).encode(), "it", dtype={"game": str})
    pd.testing.assert_frame_equal(read, table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"," * 10_000_000, "1,000 values"),
        (b"a\n" + b"1," * 10_000_000, "1,000 values"),
        (b"a,b\n1,2,3\n", "table"),
        (b"a,b\n1,2\n1,2,3\n", "table"),
        (b'a,b\n"1,2\n', "table"),
        (b"", "table"),
        (b"a\n\xff\xfe\n", "table"),
        (b"a,b,a\n1,2,3\n", "two columns are named 'a'"),
        (b'\xef\xbb\xbf"a,b",c,"a,b"\n1,2,3\n', "two columns are named 'a,b'"),
        (b"\x1f\x8b" + zlib.compress(b"a\n1\n"), "table"),
    ],
)
def test_a_table_that_nobody_writes_is_refused(content, words):
    with refused(words):
        parse_csv(content, "it")


@pytest.mark.parametrize("value", ["9" * 400, "1e999", "zero", "", "1.5"])
def test_a_value_of_another_type_is_refused(value):
    with refused("table"), warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_csv(f"step,b\n{value},1\n".encode(), "it", dtype={"step": "int64"})


def npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(shape, dtype="|u1", data=b"", version=b"\x01\x00"):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", ">i4", "float64", "bool"])
def test_arrays_come_back(tmp_path, dtype, order):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", image=array, other=[{}])
        found = read_npz(tmp_path / "a.npz", ["image"])["image"]
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy((10**12,)), "declares"),
        (npy((2**40, 2**40)), "declares"),
        (npy((-1, -5), data=b"12345"), "declares"),
        (npy((10**400,)), "cannot be read"),
        (npy((3,), data=b"12"), "declares"),
        (npy((3,), data=b"1234"), "declares"),
        (npy((1,), "|O", b"\x80\x04N."), "not real numbers"),
        (npy((1,), [("a", "<i4")], b"1234"), "not real numbers"),
        (npy((1,), "<U1", b"1234"), "not real numbers"),
        (npy((1,), data=b"1", version=b"\x09\x00"), "version"),
        (npy("(" * 4000 + ")" * 4000), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_an_array_that_is_not_what_it_declares_is_refused(tmp_path, content, words):
    with refused(words):
        read_npz(npz(tmp_path / "a.npz", {"image.npy": content}), ["image"])


def test_an_array_that_grows_when_it_is_unpacked_is_refused(tmp_path):
    path = npz(tmp_path / "a.npz", {"image.npy": npy((2**30,), data=bytes(2**30))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**21
    with refused("at most 512 MiB", more=2**28):
        read_npz(path, ["image"])


def png(width, height, data=b""):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_images_come_back_and_sixteen_bits_are_brought_to_eight():
    pixels = np.random.default_rng(0).integers(256, size=(5, 7, 3)).astype(np.uint8)
    assert np.array_equal(decode_image(saved(Image.fromarray(pixels), "PNG"), "RGB", "it"), pixels)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    assert np.array_equal(decode_image(saved(deep, "PNG"), "L", "it"), pixels[..., 0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(60_000, 60_000, zlib.compress(bytes(10**6))), "as an image"),
        (png(10_000, 10_000, zlib.compress(bytes(10**6))), "more than 33,554,432"),
        (png(2**31 - 1, 1), "as an image"),
        (png(0, 0), "as an image"),
        (png(4, 4), "as an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "as an image"),
        (saved(Image.new("RGB", (4, 4)), "GIF"), "as an image"),
        (saved(Image.new("RGB", (4, 4)), "TIFF"), "as an image"),
    ],
)
def test_images_that_grow_or_are_of_another_kind_are_refused(content, words):
    with refused(words, more=2**28):
        decode_image(content, "RGB", "it")


@FEW
@given(
    places=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8), kind=st.booleans()
)
def test_a_damaged_image_is_an_image_or_is_refused(places, kind):
    content = bytearray(saved(Image.fromarray(np.eye(32, dtype=np.uint8) * 255), "PNG" if kind else "JPEG"))
    for place, value in places:
        content[place % len(content)] = value
    try:
        assert decode_image(bytes(content), "L", "it").dtype == np.uint8
    except UnreadableFileError as error:
        assert "\n" not in str(error)


def packed(path, members):
    with tarfile.open(path, "w:bz2") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_members_of_an_archive_are_read_and_others_passed_over(tmp_path):
    path = packed(tmp_path / "a.tar.bz2", [("x/a.png", b"one"), ("x/b.png", b"two"), ("../../c.png", b"three")])
    assert dict(read_members(path, ["a", "c"])) == {"a": b"one", "c": b"three"}


def test_an_archive_that_grows_is_refused(tmp_path):
    path = packed(tmp_path / "a.tar.bz2", [(f"{number}.png", bytes(2**25)) for number in range(8)])
    assert path.stat().st_size < 2**14
    with refused("come out of it", seconds=30):
        list(read_members(path, ["nothing"]))


@pytest.mark.parametrize("size", [2**40, 2**27, -1])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_member_that_declares_more_than_there_is_is_refused(tmp_path, size, kind):
    member = tarfile.TarInfo("a.png")
    member.size, member.type = size, kind
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with refused("cannot be read to its end"):
        list(read_members(tmp_path / "a.tar.bz2", ["a"]))


def test_weights_that_are_packed_or_run_code_are_refused(tmp_path):
    torch.save({"a": torch.zeros(2**24)}, tmp_path / "whole.pt")
    assert read_pickled(tmp_path / "whole.pt")["a"].numel() == 2**24
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole:
        members = {info.filename: whole.read(info) for info in whole.infolist()}
    npz(tmp_path / "packed.pt", members, zipfile.ZIP_DEFLATED)
    with refused("damaged"):
        read_pickled(tmp_path / "packed.pt")

    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(Runs(), tmp_path / "runs.pt")
    with refused("without running code"):
        read_pickled(tmp_path / "runs.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("length", [2**63, 2**40, 2**27])
def test_a_header_that_is_longer_than_such_headers_is_refused(tmp_path, length):
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with refused("safetensors"):
        read_safetensors(tmp_path / "a.safetensors")
