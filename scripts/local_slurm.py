"""Start a Slurm of this one machine in a folder, to try ``--executor slurm`` without a cluster.

It needs Debian's packages, and root, for slurmd does: ``apt-get install slurmctld slurmd slurm-client munge``. Nothing
outside the folder is written. The partition `low` is the default; a job in `high` preempts those in it: they are
signalled and have a minute, in which a run takes a checkpoint and its job requeues itself.

Usage::

    python scripts/local_slurm.py /tmp/slurm --cores 2
    export SLURM_CONF=/tmp/slurm/slurm.conf      # what it prints; then sinfo, and lcd diagnose … --executor slurm

It stays until it is interrupted; then Slurm and its jobs end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
FOLDERS = ("/usr/sbin", "/usr/bin")
START_SECONDS = 60.0

LONGEST_PATH = 70
"""Characters of the folder's path: those of a socket are at most 107, and slurmd adds names of jobs and steps."""

CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SlurmctldParameters=preempt_send_user_signal
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=CANCEL GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def program(name: str) -> str | None:
    """Path of one of Slurm's programs, which are not on everybody's path."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS]))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def running_slurm(folder: Path, cores: int = 2) -> Iterator[Path]:
    """A Slurm of this machine, as long as the context lasts.

    Parameters
    ----------
    folder
        An empty folder of root's, for everything that it writes.
    cores
        Cores of its one node; more than the machine has are allowed.

    Yields
    ------
    pathlib.Path
        The configuration, for the environment variable ``SLURM_CONF``.

    Raises
    ------
    ValueError
        If a program is missing, the path is too long, or it does not start.
    """
    if missing := [name for name in PROGRAMS if program(name) is None]:
        raise ValueError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            "apt-get install slurmctld slurmd slurm-client munge."
        )
    folder = folder.absolute()
    if len(str(folder)) > LONGEST_PATH:
        raise ValueError(
            f"{folder} is too long a path for the sockets that Slurm makes in it: choose one of at most {LONGEST_PATH} "
            "characters, such as /tmp/slurm."
        )
    for name in ("", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    configuration = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    configuration.write_text(CONFIGURATION.format(host=host, ports=free_ports(2), folder=folder, cores=cores))
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munged = [
        *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
        *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"),
    ]
    services: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            log = (folder / f"{command[0]}.out").open("wb")
            with log:
                path = str(program(command[0]))
                services.append(
                    subprocess.Popen([path, *command[1:]], stdout=log, stderr=log, env=environment, cwd=folder)
                )
        _await(services, environment, folder)
        yield configuration
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", "--user", str(os.getuid())], env=environment, timeout=20, capture_output=True)
        for service in reversed(services):
            service.terminate()
        for service in services:
            try:
                service.wait(timeout=20)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()


def _await(services: list[subprocess.Popen[bytes]], environment: dict[str, str], folder: Path) -> None:
    """Wait until jobs can be handed over."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if any(service.poll() is not None for service in services):
            break
        asked = subprocess.run(["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True)
        if asked.stdout.split()[:1] in (["idle"], ["mixed"], ["allocated"]):
            return
        time.sleep(0.5)
    raise ValueError(f"Slurm does not start: see the logs in {folder}.")


def main() -> int:
    """Start Slurm and wait for the interrupt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--cores", type=int, default=2, help="of its one node")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        with running_slurm(options.folder, options.cores) as configuration:
            print(f"export SLURM_CONF={configuration}", flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
