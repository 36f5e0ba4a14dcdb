"""Sweeps: a plan of many units, on a SLURM cluster or on this machine. Uses the harness; nothing of it uses this."""

if __name__ != "nnbench.slurm":
    raise ImportError("import nnbench.slurm (pip install -e .), not the folder 'slurm'")
