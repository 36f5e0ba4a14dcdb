"""Sweeps on a SLURM cluster. The dispatcher is not written yet; the package marks its place."""

if __name__ != "nnbench.slurm":
    raise ImportError("import nnbench.slurm (pip install -e .), not the folder 'slurm'")
