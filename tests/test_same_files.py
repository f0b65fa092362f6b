"""The same content is the same file, whichever process writes it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import write_everything


@pytest.mark.costly("analyses/*.py", "analyses/templates/*", "pyproject.toml")  # figures are found by name
def test_the_same_content_is_the_same_file_in_every_process(tmp_path):
    for number in ("1", "2"):
        command = [sys.executable, write_everything.__file__, str(tmp_path / number)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": number}, timeout=400)
    names = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert len(names) > 15
    once, again = ({name: (tmp_path / number / name).read_bytes() for name in names} for number in ("1", "2"))
    differing = [str(name) for name in names if once[name] != again[name]]
    assert differing == []
