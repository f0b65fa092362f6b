"""The page "Your own game" does what it says: its file is written, its commands and its script are run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "own-game.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(arguments, folder):
    result = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.costly("docs/own-game.md")
def test_the_page_can_be_followed(tmp_path):
    game, script = blocks("python")
    (tmp_path / "mygame.py").write_text(game)
    commands = [line.split("#")[0].split() for block in blocks("console") for line in block.splitlines()]
    assert [command[1] for command in commands] == ["doctor", "diagnose", "diagnose"]
    assert "problem" not in run(["-m", "lcd", *commands[0][1:]], tmp_path)
    planned = run(["-m", "lcd", *commands[1][1:]], tmp_path)
    assert "The budget of each cell" in planned
    small = script.replace('"quick"', '"smoke", seeds=1')
    assert small != script
    (tmp_path / "script.py").write_text(small)
    printed = run(["script.py"], tmp_path)
    assert re.search(r"-?\d\.\d\d \[-?\d", printed)
    assert (tmp_path / "diagnoses" / "mygame" / "diagnosis.png").is_file()
