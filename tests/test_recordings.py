"""Recordings from files: npz files, and netCDF files as Brain-Score packages them."""

from __future__ import annotations

import importlib
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from limited import little
from PIL import Image
from tiny_vision import pictures

from lcd.alignment.brainio import image_files, read_assembly
from lcd.alignment.recording_files import read_responses
from lcd.alignment.recordings import Recording, read_recording
from lcd.io.untrusted import UnreadableFileError, read_netcdf

RANDOM = np.random.default_rng(0)
RESPONSES = RANDOM.normal(size=(3, 20, 4))


def test_an_npz_file_is_read_with_and_without_repetitions_and_maps(tmp_path):
    images, labels, groups = pictures(20), np.zeros((20, 8, 8), np.uint8), np.arange(20, dtype=np.int32) // 4
    np.savez(tmp_path / "a.npz", responses=RESPONSES, images=images, labels=labels, groups=groups, other=np.array("x"))
    found = read_recording(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.responses, RESPONSES)
    np.testing.assert_array_equal(found.images, images)
    assert (len(found), found.sites, found.grid, found.clusters.max()) == (20, 4, None, 4)
    np.savez_compressed(tmp_path / "b.npz", responses=RESPONSES[0].astype(np.float32), ceilings=np.full(4, 0.5))
    assert read_recording(tmp_path / "b.npz").responses.shape == (1, 20, 4)
    maps = RANDOM.normal(size=(2, 20, 3, 5))
    np.savez(tmp_path / "c.npz", maps=maps)
    found = read_recording(tmp_path / "c.npz")
    assert (found.responses.shape, found.grid) == ((2, 20, 15), (3, 5))
    np.testing.assert_array_equal(found.responses[1, 7].reshape(3, 5), maps[1, 7])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({}, "must hold one of the arrays responses and maps"),
        ({"responses": RESPONSES, "maps": RESPONSES}, "must hold one of the arrays responses and maps"),
        ({"responses": np.array("text")}, "responses holds <U4, not real numbers"),
        ({"responses": np.zeros(3)}, "must be real numbers of the shape (images, sites)"),
        ({"responses": RESPONSES + 1j}, "complex128, not real numbers"),
        ({"responses": RESPONSES, "images": pictures(19)}, "20 images with responses need images as uint8"),
        ({"responses": RESPONSES, "images": pictures(20)[..., :1]}, "Images have three colours"),
        ({"responses": RESPONSES, "groups": np.zeros(20)}, "groups must be whole numbers, not float64"),
        ({"responses": RESPONSES, "ceilings": np.full(4, 1.5)}, "Ceilings are 4 correlations above 0 and up to 1"),
        (
            {"responses": RESPONSES * [1, 0, 1, 1]},
            "The responses of 1 of 4 sites are constant over the images",
        ),
        ({"responses": np.where(np.arange(4) == 2, np.inf, RESPONSES)}, "A response is infinite"),
        (
            {"responses": np.where(np.arange(4) == 2, np.nan, RESPONSES)},
            "1 of 4 sites were not recorded for every image",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_sentence(tmp_path, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UnreadableFileError) as refused:
        read_recording(tmp_path / "a.npz")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pickle_in_an_npz_file_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", responses=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableFileError, match="responses holds object, not real numbers"):
        read_recording(tmp_path / "a.npz")


def write_assembly(
    path, values, ids, *, regions=None, bins=None, order=("presentation", "neuroid", "time_bin"), **more
):
    """As xarray writes BrainIO's assemblies: dimensions without values, and coordinates along them."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        sizes = dict(zip(("presentation", "neuroid", "time_bin"), values.shape, strict=False))
        dims = [name for name in order if name in sizes]
        for name in dims:
            file.create_dataset(name, (sizes[name],), ">f4").make_scale(
                f"This is a netCDF dimension but not a netCDF variable.{sizes[name]:10}"
            )
        coordinates = {"stimulus_id": ("presentation", list(ids))}
        if regions is not None:
            coordinates["region"] = ("neuroid", list(regions))
        for name, (axis, texts) in coordinates.items():
            file.create_dataset(name, data=texts, dtype=h5py.string_dtype()).dims[0].attach_scale(file[axis])
        if bins is not None:
            for place, name in enumerate(("time_bin_start", "time_bin_end")):
                file.create_dataset(name, data=[each[place] for each in bins]).dims[0].attach_scale(file["time_bin"])
        axes = [list(sizes).index(name) for name in dims]
        data = file.create_dataset("data", data=values.transpose(axes), compression="gzip")
        for place, name in enumerate(dims):
            data.dims[place].attach_scale(file[name])
        for name, value in more.items():
            data.attrs[name] = value


IDS = [f"im{number % 20:02}" for number in range(60)]  # each image three times
VALUES = RANDOM.normal(size=(60, 4))


@pytest.mark.parametrize("order", [("presentation", "neuroid"), ("neuroid", "presentation")])
def test_presentations_of_an_image_are_its_repetitions(tmp_path, order):
    write_assembly(tmp_path / "a.nc", VALUES, IDS, order=order)
    found = read_assembly(tmp_path / "a.nc")
    assert found.names == tuple(sorted(set(IDS)))
    np.testing.assert_array_equal(found.responses, VALUES.reshape(3, 20, 4))


def test_an_image_that_was_presented_less_often_has_missing_repetitions(tmp_path):
    write_assembly(tmp_path / "a.nc", VALUES[:59], IDS[:59])
    found = read_assembly(tmp_path / "a.nc").responses
    assert np.isnan(found[2, 19]).all()
    assert np.isnan(found).sum() == 4


def test_regions_and_time_bins_are_chosen(tmp_path):
    values, bins = RANDOM.normal(size=(60, 4, 3)), [(50, 70), (70, 120), (120, 170)]
    write_assembly(tmp_path / "a.nc", values, IDS, regions=["V4", "IT", "V4", "IT"], bins=bins)
    found = read_assembly(tmp_path / "a.nc", region="IT", time=(70, 170))
    np.testing.assert_allclose(found.responses, values[:, [1, 3], 1:].mean(axis=2).reshape(3, 20, 2))
    for arguments, sentence in (
        ({"region": "IT"}, "has 3 time bins: choose some, such as --time 70,170"),
        ({"region": "V1", "time": (70, 170)}, "no site in the region 'V1': choose one of IT, V4"),
        ({"time": (0, 60)}, "no time bin between 0 and 60 ms: they reach from 50 to 170 ms"),
    ):
        with pytest.raises(UnreadableFileError, match=sentence):
            read_assembly(tmp_path / "a.nc", **arguments)
    write_assembly(tmp_path / "b.nc", values[..., :1], IDS)
    np.testing.assert_array_equal(read_assembly(tmp_path / "b.nc").responses, values[..., 0].reshape(3, 20, 4))
    with pytest.raises(UnreadableFileError, match="does not say when its time bins start"):
        read_assembly(tmp_path / "b.nc", time=(70, 170))
    with pytest.raises(UnreadableFileError, match="names no regions: leave --region out"):
        read_assembly(tmp_path / "b.nc", region="IT")


def test_fill_values_are_missing(tmp_path):
    values = VALUES.copy()
    values[0, 0] = -999.0
    write_assembly(tmp_path / "a.nc", values, IDS, _FillValue=-999.0)
    found = read_assembly(tmp_path / "a.nc").responses
    assert np.isnan(found[0, 0, 0])
    assert np.isnan(found).sum() == 1


def test_images_are_found_by_their_names_or_through_the_table(tmp_path):
    write_assembly(tmp_path / "a.nc", VALUES, IDS)
    (tmp_path / "images").mkdir()
    given = pictures(20, side=12)
    for number, picture in enumerate(given):
        Image.fromarray(picture).save(tmp_path / "images" / f"im{number:02}.png")
    np.testing.assert_array_equal(read_responses(tmp_path / "a.nc", tmp_path / "images").images, given)
    names = [f"im{number:02}" for number in range(20)]
    turned = pd.DataFrame({"image_id": names, "filename": [f"sub/{name}.png" for name in names[::-1]], "object": 0})
    turned.to_csv(tmp_path / "images.csv", index=False)
    found = read_responses(tmp_path / "a.nc", tmp_path / "images", stimuli=tmp_path / "images.csv")
    np.testing.assert_array_equal(found.images, given[::-1])
    (tmp_path / "images" / "im03.png").unlink()
    with pytest.raises(ValueError, match=r"images lacks 1 of 20 images, 'im03' the first of them: unpack all"):
        read_responses(tmp_path / "a.nc", tmp_path / "images")


def test_two_images_are_not_taken_for_one(tmp_path):
    write_assembly(tmp_path / "a.nc", VALUES, IDS)
    (tmp_path / "images").mkdir()
    names = [f"im{number:02}" for number in range(20)]
    for name, picture in zip(names, pictures(20, side=12), strict=True):
        Image.fromarray(picture).save(tmp_path / "images" / f"{name}.png")
    files = [f"set{number % 2}/im{number // 2:02}.png" for number in range(20)]
    pd.DataFrame({"image_id": names, "filename": files}).to_csv(tmp_path / "images.csv", index=False)
    with pytest.raises(ValueError, match=r"Several images of the recording are the file 'im00\.png'"):
        read_responses(tmp_path / "a.nc", tmp_path / "images", stimuli=tmp_path / "images.csv")
    Image.new("RGB", (12, 12)).save(tmp_path / "images" / "im05.jpg")
    with pytest.raises(ValueError, match="holds several images 'im05', with other endings: keep one"):
        read_responses(tmp_path / "a.nc", tmp_path / "images")


def test_images_whose_numbers_sort_otherwise_than_their_names_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", responses=RESPONSES)
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(pictures(20, side=12), start=1):
        Image.fromarray(picture).save(tmp_path / "images" / f"im{number}.png")
    with pytest.raises(
        ValueError, match=r"By name im10\.png comes where by number im2\.png would.*fill the numbers up"
    ):
        read_responses(tmp_path / "a.npz", tmp_path / "images")


def test_images_of_an_npz_file_are_in_the_order_of_their_names_and_brought_to_one_size(tmp_path):
    np.savez(tmp_path / "a.npz", responses=RESPONSES)
    (tmp_path / "images").mkdir()
    given = pictures(20, side=12)
    for number, picture in enumerate(given):
        image = Image.fromarray(picture)
        (image.resize((24, 24)) if number == 7 else image).save(tmp_path / "images" / f"{number:02}.png")
    found = read_responses(tmp_path / "a.npz", tmp_path / "images").images
    same = np.arange(20) != 7
    np.testing.assert_array_equal(found[same], given[same])
    assert found.shape == (20, 12, 12, 3)
    (tmp_path / "images" / "03.png").unlink()
    for arguments, sentence in (
        ({"images": tmp_path / "images"}, "holds 19 images, and there are responses to 20"),
        ({"images": tmp_path / "nowhere"}, "There is no folder"),
        ({"region": "IT"}, "--region goes with a netCDF file"),
        ({"time": (70, 170)}, "--time goes with a netCDF file"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_responses(tmp_path / "a.npz", **arguments)


def test_a_table_of_images_that_cannot_be_one_is_refused(tmp_path):
    for rows, sentence in (
        ({"image_id": ["a"], "object": [1]}, "must have the columns stimulus_id or image_id and filename"),
        ({"image_id": ["a", "a"], "filename": ["b", "c"]}, "names an image twice"),
    ):
        pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(UnreadableFileError, match=sentence):
            image_files(tmp_path / "a.csv")


def test_without_its_package_netcdf_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    with (
        mock.patch.object(importlib, "import_module", side_effect=ImportError("No module named 'h5py'")),
        pytest.raises(UnreadableFileError, match=r"needs the package h5py .*: pip install 'learning-.*\[neural\]'\.$"),
    ):
        read_assembly(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not netCDF-4, which is HDF5"),
        (b"CDF\x01" + bytes(100), "is netCDF-3, where netCDF-4 is read: convert it with nccopy -k nc4"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot be read"),
    ],
)
def test_files_that_are_no_netcdf_are_refused(tmp_path, content, sentence):
    if "cannot" in sentence:
        pytest.importorskip("h5py")
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=sentence):
        read_assembly(tmp_path / "a.nc")


def test_files_that_refer_to_others_or_declare_too_much_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    another, large = "lie in another file", "its variables take"
    for number, sentence in enumerate(("data is a link to somewhere else", another, another, large, large)):
        write_assembly(file := tmp_path / f"{number}.nc", VALUES, IDS)
        secret = tmp_path / "secret.bin"
        secret.write_bytes(bytes(8 * VALUES.size))
        with h5py.File(file, "a") as opened:
            del opened["data"]
            if number == 0:
                opened["data"] = h5py.ExternalLink(str(tmp_path / "1.nc"), "/data")
                continue_with = None
            elif number == 1:
                continue_with = opened.create_dataset("data", VALUES.shape, "f8", external=[(str(secret), 0, 8 * 240)])
            elif number == 2:
                layout = h5py.VirtualLayout(VALUES.shape, "f8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "0.nc"), "data", VALUES.shape)
                continue_with = opened.create_virtual_dataset("data", layout)
            elif number == 3:
                continue_with = opened.create_dataset("data", (60, 2**40), "f8", chunks=(60, 1024))
            else:  # a chunk is read whole, however few of its numbers there are
                most = {"maxshape": (60, None), "chunks": (60, 2**22), "compression": "gzip"}
                continue_with = opened.create_dataset("data", VALUES.shape, "f8", **most)
            if continue_with is not None:
                for place, name in enumerate(("presentation", "neuroid")):
                    continue_with.dims[place].attach_scale(opened[name])
        with pytest.raises(UnreadableFileError, match=sentence), little():
            read_assembly(file)


def test_a_text_that_many_refer_to_is_not_read_as_often(tmp_path):
    """A file of a few megabytes whose texts would take terabytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        texts = file.create_dataset("ids", (2,), h5py.string_dtype())
        texts[0] = "x" * 3_000_000
        repeated = file.create_dataset("stimulus_id", (500_000,), h5py.string_dtype(), fillvalue="y" * 2_000_000)
        assert repeated.shape == (500_000,)
    with pytest.raises(UnreadableFileError, match="texts of /stimulus_id have more than 256 MiB"), little():
        read_netcdf(tmp_path / "a.nc", lambda names: ["stimulus_id"])


def test_what_is_no_assembly_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["data"] = VALUES
    with pytest.raises(
        UnreadableFileError, match="one variable with the dimensions presentation and neuroid, and holds none"
    ):
        read_assembly(tmp_path / "a.nc")
    write_assembly(tmp_path / "b.nc", np.zeros((60, 4)), IDS)
    with pytest.raises(UnreadableFileError, match="The responses of 4 of 4 sites are constant"):
        read_assembly(tmp_path / "b.nc")


def test_damaged_bytes_are_refused_or_still_valid(tmp_path):
    pytest.importorskip("h5py")
    write_assembly(tmp_path / "a.nc", VALUES, IDS)
    whole, refused = (tmp_path / "a.nc").read_bytes(), 0
    for place in np.random.default_rng(0).integers(len(whole), size=60):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "b.nc").write_bytes(changed)
        try:
            assert isinstance(read_assembly(tmp_path / "b.nc"), Recording)
        except UnreadableFileError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5
