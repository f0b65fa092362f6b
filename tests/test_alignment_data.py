"""Reference maps from ClickMe, from gaze, from folders and from a game's own state, on small files made here."""

from __future__ import annotations

import io
import struct
import tarfile

import google_crc32c
import numpy as np
import pytest
from PIL import Image

from lcd.alignment.agreement import agreement_table, ceiling
from lcd.alignment.clickme import read_folder, read_npz, read_shards
from lcd.alignment.gaze import gaze_map, read_trial
from lcd.alignment.privileged import collect_references, privileged_maps
from lcd.alignment.references import ReferenceMaps, read_folders
from lcd.alignment.tfrecord import read_examples
from lcd.envs import GAMES, ProcgenOptions, class_names, family_of


def varint(number):
    number &= (1 << 64) - 1
    parts = []
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(**features):
    """An Example on the wire, written by the format's description."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, list):
            feature = field(2, field(1, struct.pack(f"<{len(value)}f", *value)))
        else:
            feature = field(3, field(1, varint(value)))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def masked(content):
    checksum = google_crc32c.value(content)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(content):
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def jpeg(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=95)
    return file.getvalue()


def click(seed):
    random = np.random.default_rng(seed)
    image = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    heat = np.zeros((256, 256), np.uint8)
    heat[64:128, 128:192] = 255
    return image, heat


@pytest.fixture
def shard(tmp_path):
    entries = [click(seed) for seed in range(3)]
    content = [
        record(example(image=jpeg(image), heatmap=jpeg(heat), label=7 + number))
        for number, (image, heat) in enumerate(entries)
    ]
    file = tmp_path / "train-0.tfrecords"
    file.write_bytes(b"".join(content))
    return file


def test_a_shard_is_read_without_tensorflow(shard):
    maps = read_shards([shard])
    assert (maps.images.shape, maps.maps.shape) == ((3, 224, 224, 3), (3, 224, 224))
    assert (maps.source, maps.targets.tolist()) == ("human", [7, 8, 9])
    assert np.abs(maps.images[0, 4, 4].astype(int) - click(0)[0][4, 4]).max() < 12  # JPEG loses a little
    rows, columns = np.unravel_index(maps.maps[0].argmax(), (224, 224))
    assert 56 <= rows <= 112
    assert 112 <= columns <= 168
    assert (maps.maps >= 0).all()


def test_all_kinds_of_features_are_read(tmp_path):
    file = tmp_path / "some.tfrecords"
    file.write_bytes(record(example(text=b"abc", numbers=[1.5, -2.0], whole=-3)))
    (found,) = read_examples(file)
    assert found["text"] == [b"abc"]
    assert found["numbers"].tolist() == [1.5, -2.0]
    assert found["whole"].tolist() == [-3]


@pytest.mark.parametrize("cut", [3, 20, -2])
def test_a_shard_that_is_cut_short_says_so(shard, cut):
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"train-0\.tfrecords is cut short in record"):
        read_shards([shard])


def test_a_damaged_shard_says_which_record(shard):
    content = bytearray(shard.read_bytes())
    content[-40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"Record 2 of .* is damaged"):
        read_shards([shard])
    shard.write_bytes(b"no TFRecord file at all")
    with pytest.raises(ValueError, match="no TFRecord file"):
        read_shards([shard])
    shard.write_bytes(record(example(image=jpeg(click(0)[0]), label=1)))
    with pytest.raises(ValueError, match="lacks image, heatmap or label"):
        read_shards([shard])
    with pytest.raises(ValueError, match="There is no file"):
        read_shards([shard.with_name("none")])


def test_files_of_single_images_are_read_and_never_unpickled(tmp_path):
    image, heat = click(1)
    np.savez(tmp_path / "a.npz", image=image, heatmap=heat, label=5)
    np.savez(tmp_path / "b.npz", image=np.array([{"code": 1}], dtype=object), heatmap=heat, label=5)
    maps = read_npz([tmp_path / "a.npz"], size=64)
    assert (maps.images.shape, maps.maps.shape, maps.targets.tolist()) == ((1, 64, 64, 3), (1, 64, 64), [5])
    with pytest.raises(ValueError, match=r"b\.npz lacks image, heatmap or label, or is damaged"):
        read_npz([tmp_path / "b.npz"])
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"c\.npz"):
        read_npz([tmp_path / "c.npz"])
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    for place in range(0, len(whole), 997):  # whatever byte is wrong, it is a sentence or does no harm
        broken = whole.copy()
        broken[place] ^= 255
        (tmp_path / "d.npz").write_bytes(broken)
        try:
            read_npz([tmp_path / "d.npz"], size=64)
        except ValueError as error:
            assert "d.npz" in str(error)
    np.savez(tmp_path / "e.npz", image=image[..., 0], heatmap=heat, label=5)
    with pytest.raises(ValueError, match=r"e\.npz holds an image of shape"):
        read_npz([tmp_path / "e.npz"])
    with pytest.raises(ValueError, match="hold no image"):
        read_npz([])


def test_colours_and_weights_of_single_images_are_what_they_seem(tmp_path):
    image, heat = click(1)
    for name, array in (("bytes", image), ("shares", image / 255)):
        np.savez(tmp_path / f"{name}.npz", image=array, heatmap=heat, label=5)
    bytes_, shares = (read_npz([tmp_path / f"{name}.npz"]).images for name in ("bytes", "shares"))
    assert np.array_equal(bytes_, shares)
    for array, weights, sentence in (
        (image - 300.0, heat, "negative or not finite"),
        (image, heat - 300.0, "negative or not finite"),
        (image, heat * 1j, "is damaged"),
        (image * 9.0, heat, "end at 255"),
        (image[:0], heat, "holds an image of shape"),
    ):
        np.savez(tmp_path / "odd.npz", image=array, heatmap=weights, label=5)
        with pytest.raises(ValueError, match=sentence):
            read_npz([tmp_path / "odd.npz"])


def test_a_record_of_an_absurd_length_is_a_clear_error(shard):
    for length in (1 << 40, (1 << 64) - 1):
        header = struct.pack("<Q", length)
        shard.write_bytes(header + masked(header) + b"content")
        with pytest.raises(ValueError, match="cut short in record 0"):
            read_shards([shard])


def test_a_shard_whose_checksums_are_right_and_whose_content_is_not(shard):
    content = example(image=jpeg(click(0)[0]), heatmap=jpeg(click(0)[1]), label=1)
    for place in range(0, len(content), max(1, len(content) // 300)):
        broken = bytearray(content)
        broken[place] ^= 255
        shard.write_bytes(record(bytes(broken)))
        try:
            read_shards([shard], size=64)
        except ValueError as error:
            assert "train-0.tfrecords" in str(error)


def test_no_more_of_a_shard_is_read_than_is_asked_for(shard):
    whole = shard.read_bytes()
    shard.write_bytes(whole + b"damaged")
    assert len(read_folder(shard.parent, size=64, largest=2)) == 2


def trial(folder, *, frames=(1, 2, 3), lines=None):
    rows = lines or [
        "frame_id,episode_id,score,duration(ms),unclipped_reward,action,gaze_positions",
        "RZ_1_1,null,null,null,null,0,80.5,100.2,81.0,101.0",
        "RZ_1_2,0,0,50,0,3,null",
        "RZ_1_3,0,0,50,0,2,10.0,20.0",
    ]
    (folder / "1_RZ.txt").write_text("\n".join(rows) + "\n")
    with tarfile.open(folder / "1_RZ.tar.bz2", "w:bz2") as archive:
        for number in frames:
            file = io.BytesIO()
            Image.fromarray(np.full((210, 160, 3), 40 * number, np.uint8)).save(file, "PNG")
            member = tarfile.TarInfo(f"1_RZ/RZ_1_{number}.png")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    return folder / "1_RZ.txt"


def test_gaze_is_read_in_the_layout_of_atari_head(tmp_path):
    maps = read_trial(trial(tmp_path))
    assert (maps.images.shape, maps.maps.shape) == ((2, 210, 160, 3), (2, 210, 160))
    assert (maps.source, maps.targets.tolist()) == ("human", [0, 2])
    assert [image[0, 0, 0] for image in maps.images] == [40, 120]
    assert np.unravel_index(maps.maps[1].argmax(), (210, 160)) == (20, 10)
    assert maps.maps.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    assert gaze_map(np.array([[500.0, -3.0]])).argmax() == 159


def test_gaze_beside_the_screen_is_left_out(tmp_path):
    lines = ["RZ_1_1,0,0,50,0,1,500.0,-3.0", "RZ_1_2,0,0,50,0,1,500.0,-3.0,10.0,20.0", "RZ_1_3,0,0,50,0,2,10.0,20.0"]
    maps = read_trial(trial(tmp_path, lines=lines))
    assert maps.targets.tolist() == [1, 2]
    assert np.allclose(maps.maps[0], maps.maps[1])


def test_neighbouring_frames_of_a_trial_are_one_unit(tmp_path, monkeypatch):
    monkeypatch.setattr("lcd.alignment.gaze.BLOCK", 2)
    lines = [f"RZ_1_{number},0,0,50,0,1,10.0,20.0" for number in range(1, 6)]
    maps = read_trial(trial(tmp_path, lines=lines, frames=range(1, 6)))
    assert maps.groups.tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"frames": (1, 2)}, "The frame RZ_1_3 is not in"),
        ({"lines": ["RZ_1_1,0,0"]}, "Line 1 of .* is not in Atari-HEAD"),
        ({"lines": ["RZ_1_1,0,0,50,0,1,3.0"]}, "Line 1 of .* is not in Atari-HEAD"),
        ({"lines": ["RZ_1_1,0,0,50,0,1,3.0,nan"]}, "Line 1 of .* is not in Atari-HEAD"),
        ({"lines": ["RZ_1_1,0,0,50,0,1,3.0,1e300"]}, "Line 1 of .* is not in Atari-HEAD"),
        ({"lines": ["RZ_1_1,0,0,50,0,1,null"]}, "holds no gaze positions"),
    ],
)
def test_damaged_trials_are_clear_errors(tmp_path, settings, sentence):
    table = trial(tmp_path, **settings)
    with pytest.raises(ValueError, match=sentence):
        read_trial(table)


def test_a_table_that_is_no_text_and_no_frames_at_all_are_clear_errors(tmp_path):
    table = trial(tmp_path)
    with pytest.raises(ValueError, match="largest must be a number of frames above 0"):
        read_trial(table, largest=0)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is no text"):
        read_trial(table)


def test_an_archive_that_is_cut_short_or_missing_is_a_clear_error(tmp_path):
    table = trial(tmp_path)
    archive = table.with_suffix(".tar.bz2")
    archive.write_bytes(archive.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"cannot be read to its end|is not in"):
        read_trial(table)
    archive.unlink()
    with pytest.raises(ValueError, match="beside its table"):
        read_trial(table)


def test_folders_of_images_and_maps_pair_by_name(tmp_path):
    for folder, mode in (("images", "RGB"), ("maps", "L")):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            Image.new(mode, (12, 10), 200).save(tmp_path / folder / f"{name}.png")
    found = read_folders(tmp_path / "images", tmp_path / "maps", "human")
    assert (found.images.shape, found.maps.shape, len(found)) == ((2, 10, 12, 3), (2, 10, 12), 2)
    Image.new("L", (8, 8)).save(tmp_path / "maps" / "b.png")
    with pytest.raises(ValueError, match="different sizes"):
        read_folders(tmp_path / "images", tmp_path / "maps", "human")
    (tmp_path / "maps" / "b.png").unlink()
    with pytest.raises(ValueError, match="b is in one of"):
        read_folders(tmp_path / "images", tmp_path / "maps", "human")
    Image.new("RGB", (12, 10)).save(tmp_path / "images" / "a.jpg")
    with pytest.raises(ValueError, match="have the same name"):
        read_folders(tmp_path / "images", tmp_path / "maps", "human")
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "maps" / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_folders(tmp_path / "images", tmp_path / "maps", "human")


def test_the_maps_of_several_people_give_their_mean_and_the_ceiling_of_their_agreement(tmp_path):
    random = np.random.default_rng(0)
    for number in range(3):
        (tmp_path / "maps" / str(number)).mkdir(parents=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(tmp_path / f"images/{number}.png")
        common = random.integers(0, 200, (16, 16))
        for person in range(4):
            noisy = (common + random.integers(0, 40, (16, 16))).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / f"maps/{number}/{person}.png")
    found = read_folders(tmp_path / "images", tmp_path / "maps", "human")
    assert found.maps.shape == (3, 16, 16)
    assert 0.9 < found.ceilings["spearman"] < 1
    assert found.first(2).ceilings == found.ceilings
    one = np.asarray(Image.open(tmp_path / "maps/0/0.png"), float)
    assert np.abs(found.maps[0] - one).max() > 0
    for number in range(3):
        for person in range(1, 4):
            (tmp_path / f"maps/{number}/{person}.png").unlink()
    assert read_folders(tmp_path / "images", tmp_path / "maps", "human").ceilings == {}


def test_people_who_look_at_different_places_are_no_ceiling():
    apart = np.zeros((3, 2, 20, 20))
    apart[:, 0, :3], apart[:, 1, -3:] = 1, 1
    highest = float(ceiling(apart, "dice").mean())
    assert highest == 0
    table = agreement_table({"map": apart[:, 0]}, apart.mean(axis=1), {"dice": highest, "spearman": -0.1, "iou": 0.5})
    assert table.set_index("measure")["share"].isna().to_dict() == {"spearman": True, "dice": True, "iou": False}


def test_a_map_of_16_bits_keeps_its_shades(tmp_path):
    shades = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    for name, picture in (("images", np.zeros((8, 8, 3), np.uint8)), ("maps", shades)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "one.png")
    found = read_folders(tmp_path / "images", tmp_path / "maps", "human")
    assert np.abs(found.maps[0] - shades / 257).max() <= 1


@pytest.mark.parametrize("game", GAMES)
def test_every_game_has_an_agent_and_something_to_seek_or_shun(game):
    options = ProcgenOptions(game)
    names = {class_names(game)[label] for label in family_of(options).relevant_labels(options)}
    assert len(names) >= 2
    assert not names & {"wall", "explosion", "empty"}
    if game != "plunder":  # the ship that shoots is one of the ships
        assert any("player" in name for name in names)


def test_privileged_maps_lie_where_agent_and_goal_are():
    found = collect_references(ProcgenOptions("maze"), 12, num_envs=4)
    assert (len(found), found.source, found.groups.tolist()) == (12, "privileged", [0, 1, 2, 3] * 3)
    assert found.maps.min() >= 0
    names = {name: label for label, name in class_names("maze").items()}
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 10:14, 10:14], labels[0, 50:52, 50:52], labels[0, 30] = names["player"], names["goal"], names["wall"]
    map_ = privileged_maps(labels, [names["player"], names["goal"]])[0]
    assert map_[5:20, 5:20].sum() == pytest.approx(map_[45:58, 45:58].sum(), rel=0.05)
    assert map_[30, 40:].max() < 1e-3
    assert map_.sum() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "Images are bytes of shape"),
        ({"maps": np.zeros((3, 4, 4), np.float32)}, "2 images need as many maps"),
        ({"maps": np.full((2, 4, 4), np.inf, np.float32)}, "map of image 0 holds a value that is not finite"),
        ({"targets": np.zeros(3, np.int64)}, "2 images need as many targets"),
        ({"groups": np.zeros(1, np.int64)}, "2 images need as many groups"),
    ],
)
def test_references_that_do_not_fit_are_refused(settings, sentence):
    fitting = {"images": np.zeros((2, 4, 4, 3), np.uint8), "maps": np.zeros((2, 4, 4), np.float32), "source": "human"}
    with pytest.raises(ValueError, match=sentence):
        ReferenceMaps(**(fitting | settings))
