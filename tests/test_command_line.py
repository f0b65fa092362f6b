import inspect

import pytest
from commands import lcd, lcd_process
from rich.table import Table

from lcd.cli import align as commands_align
from lcd.cli import bundle as commands_bundle
from lcd.cli import calibrate as calibration
from lcd.cli import diagnose as commands_diagnose
from lcd.cli import neural as commands_neural
from lcd.cli import perspective as commands_perspective
from lcd.cli import pretrain as commands_pretrain
from lcd.cli import survey
from lcd.cli import validate as commands_validate
from lcd.cli import visualize as commands_visualize
from lcd.cli.arguments import encoder_names
from lcd.cli.display import verdict_text
from lcd.experiments.job import sentence_of
from lcd.io.console import plain_console
from lcd.io.files import DEFAULT_STORE
from lcd.measurement.intervals import Interval
from lcd.measurement.verdict import Verdict
from lcd.studies.aligning import align_network
from lcd.studies.bundle.bundle import bundle
from lcd.studies.calibration.calibration import calibrate
from lcd.studies.diagnosing import diagnose
from lcd.studies.neural import predict_responses
from lcd.studies.perspective.perspective import perspective
from lcd.studies.pretraining import pretrain
from lcd.studies.survey.survey import survey as survey_function
from lcd.studies.validation.validation import validate
from lcd.studies.visualising import visualize


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diagnose", "starpilto"], ["starpilto", "did you mean starpilot"]),
        (["diagnose", "maze", "--steps", "many"], ["many", "500k"]),
        (["diagnose", "maze", "--steps", "0"], ["0", "at least 1"]),
        (["diagnose", "maze", "--steps", "-5k"], ["at least 1"]),
        (["diagnose", "maze", "--steps", "nan"], ["nan"]),
        (["diagnose", "maze", "--seeds", "0"], ["--seeds"]),
        (["diagnose", "maze", "--preset", "slow"], ["slow", "quick"]),
        (["diagnose", "maze", "--seeds", "100000000"], ["--seeds", "100,000,000", "1,000"]),
        (["diagnose", "maze", "--seeds", "2.5"], ["--seeds", "2.5", "whole number"]),
        (["diagnose", "maze", "--steps", "1e300"], ["1e300", "at most"]),
        (["diagnose", "maze", "--workers", "1000000000"], ["--workers", "1,000,000,000", "1,024"]),
        (["diagnose", "maze", "--threads", "1000000000"], ["--threads", "1,024"]),
        (["diagnose", "maze", "--train-teacher", "--teacher-factor", "1000000"], ["--teacher-factor", "100"]),
        (["diagnose", "maze", "--encoder", "impala:100000,100000"], ["100000,100000", "4,096"]),
        (["diagnose", "lcd/StarPilto-v0"], ["StarPilto", "did you mean starpilot"]),
        (["calibrate", "--seeds", "100000000"], ["--seeds", "100,000,000"]),
        (["calibrate", "--values", ",".join(f"0.{n:04}" for n in range(200))], ["at most 101"]),
        (["survey", "procgen-easy", "--workers", "10000000"], ["--workers", "1,024"]),
        (["watch", "maze", "--max-steps", "1000000000"], ["--max-steps", "20,000"]),
        (["watch", "maze", "--seed", "10000000000000"], ["--seed", "2,147,483,647"]),
        (["pretrain", "maze", "--objective", "autoencoding", "--frames", "100M"], ["frames", "memory"]),
        (["pretrain", "maze", "--objective", "autoencoding", "--epochs", "1000000000"], ["--epochs", "10,000"]),
        (["pretrain", "maze", "--objective", "autoencoding", "--seed", "9999999999"], ["--seed", "2,147,483,647"]),
        (["align", "efficientnet_lite0", "--count", "1000000000"], ["--count", "100,000"]),
        (["perspective", "nature", "--train", "1000000000"], ["--train", "25,000"]),
        (["harmonize", "maze", "--epochs", "1000000000"], ["--epochs", "10,000"]),
        (["teachers", "train", "maze", "--threads", "1000000000"], ["--threads", "1,024"]),
        (["teachers", "train", "maze", "--episodes", "1000000000"], ["--episodes", "65,536"]),
        (["teachers", "train", "maze", "--learning-rate", "nan"], ["learning_rate must be finite", "nan"]),
        (["survey", "/dev/zero"], ["no survey /dev/zero", "a device"]),
        (["watch", "--run", "/dev/zero"], ["/dev/zero", "a device"]),
        (["align", "/dev/zero"], ["/dev/zero", "a device"]),
        (["perspective", "/dev/zero"], ["/dev/zero", "a device"]),
        (["diagnose", "maze", "--teacher", "/dev/zero"], ["/dev/zero", "a device"]),
        (["diagnose", "maze", "--encoder", "nature@/dev/zero"], ["/dev/zero", "a device"]),
        (["pretrain", "maze", "--objective", "autoencoding", "--agent", "/dev/zero"], ["/dev/zero", "a device"]),
        (["diagnose", "maze", "--encoder", "resnet"], ["resnet", "impala"]),
        (["diagnose", "maze", "--encoder", "impala:16,x"], ["16,x"]),
        (["diagnose", "maze", "--encoder", "egocentric"], ["egocentric", "label maps only"]),
        (["diagnose", "Breakout-v5"], ["Breakout-v5", "did you mean ALE/Breakout-v5"]),
        (["watch", "--teacher", "mase"], ["mase", "did you mean maze"]),
        (["watch"], ["name a game", "--run"]),
        (["watch", "maze", "--teacher", "maze"], ["--teacher maze excludes a game"]),
        (["watch", "maze", "--run", "nowhere"], ["no weights in nowhere", "finished run"]),
        (["watch", "--run", "nowhere", "--mode", "hard"], ["--mode hard is for a reference teacher", "leave it out"]),
        (["survey", "nowhere"], ["no survey nowhere", "procgen-easy"]),
        (["taxonomy", "nowhere"], ["nowhere holds no diagnoses"]),
        (["report", "nowhere"], ["nowhere holds no diagnoses"]),
        (["teachers", "train", "mase"], ["mase", "did you mean maze"]),
        (["teachers", "train", "maze", "--steps", "few"], ["few", "500k"]),
        (["diagnose", "maze", "--teacher", "nowhere.safetensors"], ["nowhere.safetensors", "check the path"]),
        (["diagnose", "maze", "--teacher-factor", "3"], ["--teacher-factor", "use it with", "--train-teacher"]),
        (["diagnose", "maze", "--mode", "memory"], ["memory", "easy or hard"]),
        (["diagnose", "maze", "--device", "tpu"], ["tpu", "cpu"]),
        (["diagnose", "maze", "--appearance", "plain"], ["plain", "no-backgrounds"]),
        (["calibrate", "--dials", "colour"], ["Unknown difficulty factor 'colour'", "clutter"]),
        (["calibrate", "--values", "0,2"], ["clutter", "from 0 to 1, not 2.0"]),
        (["calibrate", "--values", "a"], ["numbers from 0 to 1", "'a'"]),
        (["calibrate", "--values", "0"], ["two or more different settings"]),
        (["calibrate", "--encoder", "vgg"], ["vgg", "small"]),
        (["diagnose", "maze", "--encoder", "nature@lost.safetensors"], ["no file of weights lost.safetensors"]),
        (["diagnose", "maze", "--encoders", "random,impala:16,x"], ["Unknown encoder 'x'"]),
        (["calibrate", "--encoder", "nature@lost.safetensors"], ["no file of weights lost.safetensors"]),
        (["report", "procgen-easy", "--out", "."], [". is a folder: name a file"]),
        (["report", "procgen-easy", "--out", "/dev/null/page.html"], ["/dev/null", "name another file"]),
        (["diagnose", "maze", "--store", "/dev/null"], ["/dev/null is a file", "with --store"]),
        (["survey", "procgen-easy", "--store", "/dev/null"], ["/dev/null is a file", "with --store"]),
        (["calibrate", "--store", "/dev/null/runs"], ["written to /dev/null", "/dev/null/runs with --store"]),
        (["harmonize", "maze", "--store", "/dev/null"], ["/dev/null is a file", "with --store"]),
        (["teachers", "train", "maze", "--folder", "/dev/null"], ["/dev/null is a file", "with --folder"]),
        (["taxonomy", "procgen-easy", "--out", "/dev/null/map"], ["written to /dev/null", "/dev/null/map with --out"]),
        (["watch", "maze", "--out", "film.mp4"], ["film.mp4 must end in .gif", "name it film.gif"]),
        (["watch", "maze", "--out", "."], [". is a folder: name a file"]),
        (["pretrain", "maze", "--objective", "autoencoding", "--out", "."], [". is a folder: name a file"]),
        (
            ["pretrain", "maze", "--objective", "autoencoding", "--out", "my.backbone"],
            ["my.backbone", "name it my.safetensors"],
        ),
        (["report", "procgen-easy", "--out", "page.pdf"], ["page.pdf must end in .html or .htm", "name it page.html"]),
        (["harmonize", "maze", "--out", "."], [". is a folder: name a file"]),
        (["align", "efficientnet_lite0", "--out", "."], [". is a folder: name a file"]),
        (["perspective", "nature", "--out", "."], [". is a folder: name a file"]),
        (["neural", "nature", "nowhere.npz"], ["no file nowhere.npz", "check the path"]),
        (["neural", "nature", "/dev/zero"], ["/dev/zero", "a device"]),
        (["neural", "nature", "a.npz", "--method", "lasso"], ["lasso", "pls, ridge"]),
        (["neural", "nature", "a.npz", "--folds", "1"], ["--folds", "1 is out of range"]),
        (["neural", "nature", "a.npz", "--components", "5,x"], ["'x' is no number of components"]),
        (["neural", "nature", "a.npz", "--components", "0"], ["components", "at least 1"]),
        (["neural", "nature", "a.nc", "--time", "170,70"], ["170,70", "as in 70,170"]),
        (["neural", "nature", "a.npz", "--over", "neurons"], ["neurons", "both, images, sites"]),
        (["bundle", "--python", "2.7"], ["--python '2.7'", "3.10, 3.11"]),
        (["bundle", "--platform", "win32"], ["--platform 'win32'", "x86_64-manylinux_2_28"]),
        (["bundle", "--have", "numpy,torch>=2"], ["--have 'torch>=2'", "NAME==VERSION"]),
        (["bundle", "--source", "nowhere"], ["nowhere is no wheel", "--source"]),
        (["bundle", "--constraints", "nowhere.txt"], ["nowhere.txt", "--constraints"]),
    ],
)
def test_bad_input_is_one_sentence_with_status_2_and_leaves_nothing_behind(tmp_path, arguments, words):
    refused = lcd(*arguments, cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert "Traceback" not in refused.stderr
    assert all(word in refused.stderr for word in words), refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_process_ends_with_the_sentence_and_the_status(tmp_path):
    result = lcd_process("diagnose", "starpilto", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "Error: Unknown game 'starpilto': did you mean starpilot?\n"


def test_a_folder_of_another_plan_or_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    result = lcd("diagnose", "maze", "--preset", "smoke", "--out", "mine", cwd=tmp_path)
    assert result.returncode == 2
    assert "mine" in result.stderr
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"

    from lcd.experiments.plan import Plan, plan_game
    from lcd.experiments.presets import PRESETS
    from lcd.studies.output import OutputFolder

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".plan.123.json").write_text("{")  # left by a process that was killed
    OutputFolder(tmp_path / "old").claim(Plan((plan_game("maze", PRESETS["standard"]),)).as_dict())
    result = lcd("diagnose", "maze", "--preset", "smoke", "--out", "old", cwd=tmp_path)
    assert result.returncode == 2
    assert "belongs to another plan" in result.stderr
    assert "1146880" in result.stderr or "budget" in result.stderr, result.stderr
    edited = Plan((plan_game("maze", PRESETS["standard"]),)).as_dict()
    for run in edited["games"][0]["runs"]:
        run["game_version"] = "mine 2"
    with pytest.raises(ValueError, match=r"_version was '[^']*' and is 'mine 2'\): take the change back"):
        OutputFolder(tmp_path / "old").check(edited)


def test_a_pickle_as_teacher_is_refused_without_being_read_as_one(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / "teacher.safetensors").write_bytes(pickle.dumps(Bomb()))
    result = lcd("diagnose", "maze", "--teacher", "teacher.safetensors", cwd=tmp_path)
    assert result.returncode == 2
    assert "teacher.safetensors" in result.stderr
    assert not (tmp_path / "exploded").exists()


@pytest.mark.usefixtures("short_timing")
def test_dry_run_prints_the_plan_with_its_time_and_writes_nothing(tmp_path, tiny_preset):
    result = lcd("diagnose", "maze", "--preset", tiny_preset, "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "8 runs" in result.stdout
    assert "imitation" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("short_timing")
def test_dry_run_counts_the_runs_with_other_eyes_and_teaches_none(tmp_path, tiny_preset):
    names = "scratch,random,small:32,slow-features"
    result = lcd("diagnose", "maze", "--preset", tiny_preset, "--encoders", names, "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "20 runs" in result.stdout  # 8 of the diagnosis, 2 seeds x 2 ways to learn x 3 encoders
    assert all(name in result.stdout for name in ("random", "small:32", "slow-features"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (commands_diagnose.command, diagnose),
        (survey.command, survey_function),
        (commands_align.command, align_network),
        (commands_bundle.command, bundle),
        (commands_perspective.command, perspective),
        (commands_neural.command, predict_responses),
        (commands_visualize.command, visualize),
        (commands_pretrain.command, pretrain),
        (commands_validate.command, validate),
    ],
)
def test_a_command_and_its_function_have_the_same_options_and_defaults(command, function):
    of_command, of_function = (
        {name: each.default for name, each in inspect.signature(made).parameters.items()}
        for made in (command, function)
    )
    for only_prints in ("dry_run", "budget", "evidence"):
        assert not of_command.pop(only_prints, None)
    for tells in ("listener", "report", "progress"):
        of_function.pop(tells, None)
    if "mode" in of_command:
        of_command["distribution_mode"] = of_command.pop("mode")
    assert of_command.keys() == of_function.keys()
    lists = {name for name, default in of_function.items() if default == ()}  # "" in a command, names at commas
    assert {of_command[name] for name in lists} <= {""}
    files = {"out"}  # a command always writes
    for name in of_function.keys() - lists - files:
        assert of_command[name] == of_function[name], name


@pytest.mark.parametrize("entrance", [calibrate, calibration.command])
def test_runs_are_kept_in_the_same_folder_however_they_are_asked_for(entrance):
    assert inspect.signature(entrance).parameters["store"].default is DEFAULT_STORE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("random,impala:16,32,autoencoding", ("random", "impala:16,32", "autoencoding")),
        ("impala:8,16@encoder.safetensors, nature+frozen", ("impala:8,16@encoder.safetensors", "nature+frozen")),
        ("nature:64+tuned=1e-4,", ("nature:64+tuned=1e-4",)),
        ("", ()),
    ],
)
def test_names_of_encoders_keep_their_numbers(text, found):
    assert encoder_names(text) == found


def test_help_and_games_are_quick_and_quiet(tmp_path):
    assert "diagnose" in lcd("--help", cwd=tmp_path).stdout
    games = lcd_process("games", cwd=tmp_path)
    assert games.stderr == ""
    assert games.stdout.count("lcd/") == 18


def test_brackets_in_paths_and_sentences_are_printed(tmp_path, capsys):
    assert "a[b].gif" in lcd("watch", "maze", "--max-steps", "2", "--out", "a[b].gif", cwd=tmp_path).stdout
    unknown = Interval(0.5, float("nan"), float("nan"), over="nothing")
    table = Table("demand", title="[none]")
    table.add_row(str(unknown))
    plain_console().print(table, verdict_text(Verdict("inconclusive", f"P = {unknown}.")))
    said = capsys.readouterr().out
    assert ("[none]" in said, said.count("[no interval]")) == (True, 2)


def test_no_disk_space_is_said_plainly():
    import errno

    assert "no space left on the disk" in sentence_of(OSError(errno.ENOSPC, "No space left on device"))
