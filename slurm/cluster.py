"""What SLURM says: whether it answers, which jobs live, how long an array may be. `sacct` is never asked."""

import os
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nnbench.slurm.records import Job, SweepError, UnderWay

USUAL_ARRAY = 1000
"""Jobs per array where the cluster does not say; many allow no more."""

_ASK_S = 60.0


def slurm_answers() -> bool:
    """True where a SLURM controller does; the commands alone may be installed without one."""
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=5).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def longest_array() -> int:
    """Jobs per array that the cluster allows (MaxArraySize); where it allows no arrays, 1."""
    try:
        asked = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=_ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return USUAL_ARRAY
    stated = re.search(r"^MaxArraySize\s*=\s*(\d+)", asked.stdout, re.MULTILINE)
    return max(1, int(stated[1])) if stated else USUAL_ARRAY


def alive(jobs: Sequence[Job]) -> dict[str, UnderWay]:
    """Id to `running` or `queued` of those jobs that are. Raises SweepError where SLURM does not answer."""
    states: dict[str, UnderWay] = {}
    if any(job.cluster == "slurm" for job in jobs):
        states = _slurm_jobs()
    here = socket.gethostname()
    for job in jobs:
        if job.cluster == "local" and job.host == here and _is_running(int(job.id)):
            states[job.id] = "running"
    return {job.id: states[job.id] for job in jobs if job.id in states}


def _slurm_jobs() -> dict[str, UnderWay]:
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i|%T"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S)
        answer, error = asked.stdout, asked.stderr if asked.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as caught:
        answer, error = "", str(caught)
    if error:
        raise SweepError(
            f"jobs of this sweep were submitted to SLURM, and squeue does not answer ({' '.join(error.split())}): run "
            "this on a login node"
        )
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 1]  # a site may add words of its own
    return {job: "running" if state in ("RUNNING", "COMPLETING") else "queued" for job, state in rows}


def _is_running(pid: int) -> bool:
    """True for a living submitit controller; the number may have gone to somebody else since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"submitit" in command and pid != os.getpid()
