"""What is written: the same content is the same file, all of it or none is there, and damage is noticed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from synthetic_survey import diagnosis

from lcd.agents import parse_encoder, save_backbone
from lcd.agents.encoders.weights import check_sealed, load_weights, read_card
from lcd.io.checksums import SUMS, Contents, write_together
from lcd.io.files import held, is_partial, locked, replacing
from lcd.studies.output import OutputFolder
from lcd.studies.survey.columns import FILES
from lcd.studies.survey.tables import SurveyTables


def encoder():
    from lcd.envs import ProcgenOptions
    from lcd.envs.family import policy_spaces

    kind, arguments = parse_encoder("small")
    torch.manual_seed(0)
    return kind(policy_spaces(ProcgenOptions("maze"), "pixels")[0], **arguments)


def test_a_packed_table_does_not_tell_its_process(tmp_path):
    OutputFolder(tmp_path).write(diagnosis("maze", 0.1, 0.2))
    assert not (tmp_path / "episodes.csv.gz").read_bytes()[3] & 8  # the header's flag for a name


def test_results_that_do_not_all_fit_on_the_disk_leave_the_earlier_ones(tmp_path):
    class TooLarge(pd.DataFrame):
        def to_csv(self, path, **options):
            Path(path).write_text("begun")
            raise OSError(errno.ENOSPC, "No space left on device")

    folder = OutputFolder(tmp_path)
    folder.write_results({"first": pd.DataFrame({"a": [1]}), "second": pd.DataFrame({"a": [1]})}, {"f.png": Figure()})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"first.csv", "second.csv", "f.png", SUMS}
    with pytest.raises(OSError, match=r"second\.csv"):
        folder.write_results({"first": pd.DataFrame({"a": [2]}), "second": TooLarge()}, {"f.png": Figure()})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_written_at_once_to_one_file_is_whole(tmp_path):
    """Threads have one process number, and so may processes in containers."""

    def write(text):
        with replacing(tmp_path / "file.txt") as path:
            path.write_text(text * 1000)
            path.write_text(text * 1000)

    with ThreadPoolExecutor(8) as many:
        list(many.map(write, "abcdefgh" * 20))
    assert len(set((tmp_path / "file.txt").read_text())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def write(folder, text):
    write_together(folder, {name: lambda path: path.write_text(text) for name in ("a.csv", "b.csv.gz", "c.json")})


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(5))
def test_a_process_that_is_killed_leaves_all_files_old_or_all_new(tmp_path, before, call):
    write_together(tmp_path, {"other.csv": lambda path: path.write_text("kept")})
    write(tmp_path, "old")
    if not (child := os.fork()):
        replace, calls = Path.replace, iter(range(100))

        def die(path, target):
            now = next(calls) == call
            if now and before:
                os._exit(9)
            replace(path, target)
            if now:
                os._exit(9)

        Path.replace = die
        write(tmp_path, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (9 if call < 4 else 0)
    contents = Contents.read(tmp_path, ["a.csv", "b.csv.gz", "c.json"])
    contents.check("restore it")
    expected = b"old" if call == 0 and before else b"new"
    assert set(contents.files.values()) == {expected}
    write(tmp_path, "newest")
    assert "other.csv" in contents.sums
    assert len(list(tmp_path.iterdir())) == 5  # nothing lies about


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    write(tmp_path, "old")
    with pytest.raises(TypeError):
        write_together(
            tmp_path, {"a.csv": lambda path: path.write_text("new"), "c.json": lambda path: path.write_text(3)}
        )
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv.gz", "c.json", SUMS}
    assert set(Contents.read(tmp_path, ["a.csv", "c.json"]).files.values()) == {b"old"}


def test_the_checksums_are_those_that_every_system_can_verify(tmp_path):
    write(tmp_path, "old")
    command = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "a.csv").write_text("new")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


def flipped(data, place):
    changed = bytearray(data)
    changed[place // 8 % len(data)] ^= 1 << place % 8
    return bytes(changed)


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_a_bit_that_flips_in_a_table_is_noticed_or_changes_nothing(tmp_path, name):
    SurveyTables.of([diagnosis("heist", 0.1, 0.2), diagnosis("maze", 0.1, 0.2)]).write(tmp_path)
    expected, whole = SurveyTables.read(tmp_path), (tmp_path / name).read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(2**31, size=12):
        (tmp_path / name).write_bytes(flipped(whole, int(place)))
        try:
            found = SurveyTables.read(tmp_path)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert name == SUMS  # a file's name in the list, say
            assert all(getattr(found, table).equals(getattr(expected, table)) for table in FILES.values())
    assert refused == 12 or name == SUMS
    (tmp_path / name).write_bytes(whole)
    SurveyTables.kept(tmp_path)


@pytest.mark.parametrize("digit", [b"1", b"4"])
def test_a_digit_that_changes_in_a_diagnosis_is_noticed(tmp_path, digit):
    OutputFolder(tmp_path / "maze").write(diagnosis("maze", 0.1, 0.2))
    file = tmp_path / "maze" / "diagnosis.json"
    whole = file.read_bytes()
    assert len(SurveyTables.read(tmp_path).games) == 1
    place = whole.rindex(b'"score": 0.') + 12
    file.write_bytes(whole[:place] + (digit if whole[place : place + 1] != digit else b"5") + whole[place + 1 :])
    with pytest.raises(ValueError, match=rf"diagnosis\.json has changed .*make the diagnosis again, or remove {SUMS}"):
        SurveyTables.read(tmp_path)
    (tmp_path / "maze" / SUMS).unlink()  # it was meant
    assert len(SurveyTables.read(tmp_path).games) == 1


def test_processes_with_other_temporary_folders_wait_for_each_other(tmp_path):
    """As `make` gives them."""
    (tmp_path / "other").mkdir()
    code = "import sys, pathlib, lcd.io.files as f\nwith f.locked(pathlib.Path(sys.argv[1])): print(1)"
    command = [sys.executable, "-c", code, str(tmp_path / "kept")]
    environment = os.environ | {"TMPDIR": str(tmp_path / "other")}
    with locked(tmp_path / "kept"):
        waiting = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
    assert waiting.communicate(timeout=60)[0] == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert is_partial(tmp_path / ".lock")


def test_a_lock_is_let_go_when_its_holder_is_killed(tmp_path):
    if not (child := os.fork()):
        holding = held(tmp_path / "x.lock")
        holding.__enter__()
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert (tmp_path / "x.lock").exists()
    with held(tmp_path / "x.lock", wait=False) as free:
        assert free
        with held(tmp_path / "x.lock", wait=False) as second:
            assert not second
    assert not (tmp_path / "x.lock").exists()


def test_a_flipped_bit_of_an_eye_is_noticed(tmp_path):
    file = tmp_path / "encoder.safetensors"
    save_backbone(encoder(), file, "small", {"objective": "slow-features"})
    whole, expected = file.read_bytes(), encoder().backbone.state_dict()
    header = int.from_bytes(whole[:8], "little")
    for place in np.random.default_rng(0).integers(2**31, size=20):
        for among in (
            8 * 8 + int(place) % (8 * header),
            8 * (8 + header) + int(place) % (8 * (len(whole) - 8 - header)),
        ):
            file.write_bytes(flipped(whole, among))
            read = encoder()
            try:
                load_weights(read, file)
                assert read_card(file) in ({"objective": "slow-features"}, {})
            except ValueError as error:
                assert str(file) in str(error)
            else:
                assert all(torch.equal(value, expected[name]) for name, value in read.backbone.state_dict().items())


@pytest.mark.parametrize(
    "content", [b"", b"12345678", b"\x02" + 7 * b"\0" + b"[]", b"\x10\x27" + 6 * b"\0" + b"[" * 10_000]
)
def test_what_is_no_file_of_tensors_is_one_clear_sentence(tmp_path, content):
    (tmp_path / "encoder.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]*encoder\.safetensors is not a whole safetensors file [^\n]*\.$"):
        check_sealed(tmp_path / "encoder.safetensors")


def test_a_flipped_bit_in_weights_that_torch_saved_is_noticed(tmp_path):
    file = tmp_path / "encoder.pt"
    torch.save(encoder().backbone.state_dict(), file)
    load_weights(encoder(), file)
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, 4 * len(whole)))  # in the midst of the numbers
    with pytest.raises(ValueError, match=r"encoder\.pt is damaged"):
        load_weights(encoder(), file)
