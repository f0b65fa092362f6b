"""A Slurm of shell scripts: jobs are processes of this machine, and submissions are refused when a test says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SBATCH = r"""#!/bin/sh
cd "${0%/*}"
echo asked >> asked
number=$(wc -l < asked)
if [ -e refuses ] || [ -e refuses-$number ]; then
    while read -r file; do mkdir -p "${file%/*}"; touch "$file"; done < written
    echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
    exit 1
fi
[ -e holds ] || (
    script=$(cat "$1")
    export SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_JOB_NODELIST=here SLURM_PROCID=0 SLURM_LOCALID=0
    last=$(echo "$script" | sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p')
    if [ -n "$last" ]; then
        export SLURM_ARRAY_JOB_ID=$number
        for task in $(seq 0 "$last"); do SLURM_JOB_ID=$number SLURM_ARRAY_TASK_ID=$task sh -c "$script" & done
    else
        SLURM_JOB_ID=$number sh -c "$script" &
    fi
) > /dev/null 2>&1
echo "Submitted batch job $number"
"""

SCRIPTS = {
    "sbatch": SBATCH,
    "srun": '#!/bin/sh\nshift 5  # its options\nexec "$@"\n',
    "squeue": "#!/bin/sh\nexit 1\n",
    "scancel": "#!/bin/sh\nexit 0\n",
}


class ScriptedSlurm:
    """Slurm's commands as scripts.

    Parameters
    ----------
    folder
        Where they are written; it must come first in the `PATH`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, script in SCRIPTS.items():
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        self.write_meanwhile(())

    @property
    def asked(self) -> int:
        """Number of submissions, refused ones among them."""
        file = self.folder / "asked"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def hold(self) -> None:
        """Take jobs and begin none."""
        (self.folder / "holds").touch()

    def refuse(self, *numbers: int) -> None:
        """Refuse the submissions with these numbers, from 1, or all from now on."""
        for name in [f"refuses-{number}" for number in numbers] or ["refuses"]:
            (self.folder / name).touch()

    def accept(self) -> None:
        """Refuse no longer."""
        (self.folder / "refuses").unlink()

    def write_meanwhile(self, files: Iterable[Path]) -> None:
        """Make files during each submission that is refused, as other jobs and drivers do."""
        (self.folder / "written").write_text("".join(f"{file}\n" for file in files))
